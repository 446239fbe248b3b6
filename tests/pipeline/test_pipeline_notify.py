"""News goes out signed, is tried again while its target is down or hangs, and is given up in the end."""

import base64
import hashlib
import hmac
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sartor.core.task import Task
from sartor.pipeline import notify
from sartor.pipeline.notify import deliver, list_notices, tell
from sartor.store.notices import LATER, Notices
from tests.pipeline.conftest import BODY

SECRET = "whsec_" + base64.b64encode(b"a secret of the receiver").decode()


@dataclass
class Hook:
    """A receiver of webhooks."""

    url: str = ""
    status: int = 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(found.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield found
    server.shutdown()
    server.server_close()


def task_with(**place: Any) -> Task:
    return Task.model_validate({**BODY, "wheel": {"notify": [place]}})


@pytest.fixture
def house(shop):
    return replace(shop, environment={"HOOK": SECRET})


def test_a_webhook_is_signed_and_sent_once(house, hook):
    task = task_with(webhook=hook.url, secret="HOOK", allow_private=True)
    assert tell(house, task, "decision", "desk: ship", of="d1", verdict="ship") == 1
    assert tell(house, task, "decision", "told again by a step that was repeated", of="d1", verdict="ship") == 1
    assert tell(house, task, "labels", "nobody asked for this", of="d1") == 0
    assert deliver(house).sent == 1
    assert deliver(house).sent == 0
    ((headers, body),) = hook.got
    assert json.loads(body)["data"] == {"verdict": "ship"}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(b"a secret of the receiver", signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
    (notice,) = list_notices(house)
    assert (notice["state"], notice["attempts"], notice["to"]) == ("sent", 1, hook.url)
    assert SECRET not in json.dumps(notice)


def test_it_is_tried_again_and_given_up_in_the_end(house, hook):
    hook.status = 500
    tell(house, task_with(webhook=hook.url, secret="HOOK", allow_private=True), "failed", "a run failed", of="job-1")
    now = Notices(house.store.ledger.database).all()[0].created
    for wait in (0.0, *LATER):
        now += wait
        assert deliver(house, now=now - 1.0).failed == 0
        assert deliver(house, now=now + 1.0).failed == 1
        now += 1.0
    (notice,) = list_notices(house)
    assert (notice["state"], notice["attempts"]) == ("given up", len(LATER) + 1)
    assert "answered 500" in notice["error"]
    assert len({headers["webhook-id"] for headers, _ in hook.got}) == 1
    assert deliver(house, now=now + 1e9).failed == 0


def test_a_target_that_hangs_holds_nobody_up_for_long(house, monkeypatch):
    monkeypatch.setattr(notify, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        tell(house, task_with(webhook=url, secret="HOOK", allow_private=True), "drift", "something drifted", of="r1")
        assert deliver(house).failed == 1
    (notice,) = list_notices(house)
    assert notice["state"] == "waiting"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"webhook": "http://127.0.0.1:9/", "secret": "HOOK"}, "private or loopback"),
        ({"webhook": "http://169.254.169.254/", "secret": "HOOK", "allow_private": True}, "never asked"),
        ({"webhook": "http://127.0.0.1:9/", "secret": "NONE", "allow_private": True}, "NONE, which is not set"),
        ({"mail": "ann@example.org"}, "names no mail server"),
    ],
)
def test_what_can_never_arrive_is_given_up_at_once(house, place, says):
    tell(house, task_with(**place), "decision", "news", of="d1")
    assert deliver(house).failed == 1
    (notice,) = list_notices(house)
    assert notice["state"] == "given up"
    assert says in notice["error"]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({}, "either a 'webhook' or a 'mail'"),
        ({"webhook": "https://a.example", "mail": "a@b"}, "either"),
        ({"webhook": "https://a.example"}, "secret"),
    ],
)
def test_a_place_is_one_and_signed(place, says):
    with pytest.raises(ValueError, match=says):
        task_with(**place)


def test_mail_goes_through_the_server_that_is_named(shop):
    got: list[bytes] = []

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 hello\r\n")
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    message = b""
                    while (part := self.rfile.readline()) != b".\r\n":
                        message += part
                    got.append(message)
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"smtp://127.0.0.1:{server.server_address[1]}?from=sartor@example.org"
        house = replace(shop, environment={notify.SMTP: url})
        tell(house, task_with(mail="ann@example.org"), "approval", "desk waits\nfor you", of="d1", candidate="desk@v2")
        assert deliver(house).sent == 1
        server.shutdown()
    (message,) = got
    assert b"Subject: [sartor] desk: desk waits for you" in message
    assert b"candidate: desk@v2" in message
