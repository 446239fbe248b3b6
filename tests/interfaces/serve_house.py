"""`sartor serve` as a process of its own, an upstream for it on loopback, and clients."""

import http.client
import http.server
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}


@dataclass
class Giant:
    """An upstream that answers at once, or once it may."""

    port: int = 0
    asked: int = 0
    hold: threading.Event | None = None
    """While set and not fired, answers wait."""
    waiting: threading.Event = field(default_factory=threading.Event)
    """Fired when an answer waits."""


@contextmanager
def giant() -> Iterator[Giant]:
    found = Giant()

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            found.asked += 1
            if found.hold is not None:
                found.waiting.set()
                found.hold.wait(30)
            message = {"role": "assistant", "content": "It is on its way."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            head = {"id": "x", "object": "chat.completion", "created": 1, "model": "giant-1"}
            body = json.dumps(head | {"choices": [choice], "usage": USAGE}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that went away is no news."""

    with Server(("127.0.0.1", 0), Answer) as server:
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@dataclass
class Serving:
    """A server that runs."""

    process: "subprocess.Popen[str]"
    port: int
    admin: int

    def chat(self, model: str, text: str = "my card is lost", **fields: Any) -> tuple[int, dict[str, Any]]:
        """Status and JSON of one answer, on a connection of its own."""
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        return self.ask("POST", CHAT, body | fields)

    def ask(self, method: str, path: str, body: Any = None, *, port: int = 0) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=30)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            said = answer.read()
            return answer.status, json.loads(said) if "json" in answer.headers["content-type"] else said.decode()
        finally:
            connection.close()

    def metrics(self) -> str:
        status, text = self.ask("GET", "/metrics", port=self.admin)
        assert status == 200, text
        return str(text)

    def children(self) -> dict[str, int]:
        """Name of each process of the server -> its id."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = stat.read_bytes().split(b"\0")
                parent = int((stat.parent / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if parent == self.process.pid and len(words) > 3 and words[2] == b"sartor.interfaces.worker":
                found[json.loads(words[3])["name"]] = int(stat.parent.name)
        return found

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and what was said on stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def environment(home: Path, **more: str) -> Mapping[str, str]:
    return os.environ | {
        "SARTOR_HOME": str(home),
        "SARTOR_KEY": str(home.parent / "signing.key"),
        "SARTOR_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        **more,
    }


@contextmanager
def serving(home: Path, *arguments: str, **more: str) -> Iterator[Serving]:
    """A server on free ports, killed at the end if it still runs."""
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(home, **more)
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    if not all(lines):
        _, said = process.communicate()
        raise AssertionError(f"it ended with {process.returncode}: {said}")
    ports = [int(line.split()[-1].removesuffix("/v1").rpartition(":")[2]) for line in lines]
    try:
        yield Serving(process, *ports)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@dataclass
class Client:
    """Asks again and again on one kept connection, in a thread."""

    serving: Serving
    model: str
    stop: threading.Event = field(default_factory=threading.Event)
    acknowledged: list[str] = field(default_factory=list)
    """Ids of good answers."""
    refused: list[tuple[int, Any]] = field(default_factory=list)
    cut: int = 0
    """Connections that broke under a request."""

    def run(self) -> None:
        body = json.dumps({"model": self.model, "messages": [{"role": "user", "content": "my card is lost"}]})
        connection = http.client.HTTPConnection("127.0.0.1", self.serving.port, timeout=30)
        while not self.stop.is_set():
            try:
                connection.request("POST", CHAT, body)
                answer = connection.getresponse()
                said = json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                self.cut += 1
                connection.close()
                continue
            if answer.status == 200:
                self.acknowledged.append(said["id"])
            else:
                self.refused.append((answer.status, said))
            time.sleep(0.002)
        connection.close()


@contextmanager
def clients(serving: Serving, model: str, count: int) -> Iterator[list[Client]]:
    found = [Client(serving, model) for _ in range(count)]
    threads = [threading.Thread(target=client.run) for client in found]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        for client in found:
            client.stop.set()
        for thread in threads:
            thread.join(timeout=60)


def until(true: Any, seconds: float = 30.0) -> None:
    """Wait until it is."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it never came"
        time.sleep(0.02)
