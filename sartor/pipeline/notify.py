"""News of the wheel to where a task wants it: signed webhooks and mail, kept in the store first and sent by the keeper.

A webhook is signed as the Standard Webhooks specification (version 1) says: HMAC-SHA256 over `id.timestamp.body`. It is
sent at least once; its id stays the same, so that who receives it twice can tell.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import smtplib
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from sartor.core.canonical import digest
from sartor.core.errors import AskError, SartorError
from sartor.core.jobs import Job
from sartor.core.route import Timing
from sartor.core.task import Task
from sartor.core.wheel import Notify
from sartor.gateway.addresses import check_url
from sartor.gateway.wire.client import BrokenError, Pool, Waits
from sartor.pipeline.serve import contract_of
from sartor.pipeline.workshop import Workshop
from sartor.store.notices import Notice, Notices

What = Literal["decision", "approval", "drift", "failed", "labels"]
SECONDS = 10.0
"""For one try; who hangs is tried again later."""
SMTP = "SARTOR_SMTP_URL"
"""Variable with the mail server: `smtp://user:password@host:587?from=me@example.org`, or `smtps://`."""


@dataclass(frozen=True)
class Delivered:
    """What one round of sending came to."""

    sent: int = 0
    failed: int = 0


def tell(shop: Workshop, task: Task, what: What, title: str, *, of: str, **about: Any) -> int:
    """Keep a piece of news for each place that wants it; the keeper sends it. Returns for how many places.

    Args:
        title: one line for people.
        of: what it is about (a decision's digest, a job's id): told twice of the same, it is sent once.
        about: JSON with the particulars: names and figures, never what users said.
    """
    notices = Notices(shop.store.ledger.database)
    places = [place for place in task.wheel.notify if what in place.on]
    for place in places:
        body = {"type": f"sartor.{what}", "task": task.name, "title": title, "at": time.time(), "data": about}
        target = place.model_dump(mode="json")
        ident = f"msg_{digest([task.name, what, of, target])[:24]}"
        notices.add(Notice(ident, task.name, target, body, time.time()))
    return len(places)


def tell_failure(shop: Workshop, job: Job) -> None:
    """Send the news that a task's job has failed for good."""
    if job.state not in ("failed", "dead") or not job.task:
        return
    with suppress(SartorError):  # a task that is not there has nobody to tell
        task = Task.model_validate(contract_of(shop, job.task).contract)
        says = f"{job.kind} of '{job.task}' is {job.state}: {job.error}"[:500]
        tell(
            shop, task, "failed", says, of=f"{job.id}/{job.attempts}", job=job.id, code=job.code, attempts=job.attempts
        )


def deliver(shop: Workshop, now: float | None = None) -> Delivered:
    """Send what is due; what fails is tried again later, and given up in the end with its reason kept."""
    notices = Notices(shop.store.ledger.database)
    sent = failed = 0
    for notice in notices.due(time.time() if now is None else now):
        try:
            _send(shop, notice)
        except AskError as error:  # trying again would not help
            notices.failed(notice, error.message, for_good=True)
            failed += 1
        except (SartorError, BrokenError, OSError, smtplib.SMTPException) as error:
            notices.failed(notice, str(error), now=now)
            failed += 1
        else:
            notices.arrived(notice.id)
            sent += 1
    return Delivered(sent, failed)


def list_notices(shop: Workshop, *, task: str = "", limit: int = 100) -> list[dict[str, Any]]:
    """News of a task, or of all, newest first, and how each fared."""
    found = Notices(shop.store.ledger.database).all(task=task, limit=limit)
    return [
        {
            "id": notice.id,
            "task": notice.task,
            "what": notice.body["type"],
            "title": notice.body["title"],
            "to": notice.target.get("webhook") or notice.target.get("mail"),
            "state": notice.state,
            "attempts": notice.attempts,
            "error": notice.error,
            "created": notice.created,
        }
        for notice in found
    ]


def _send(shop: Workshop, notice: Notice) -> None:
    place = Notify.model_validate(notice.target)
    if place.mail:
        _mail(shop.environment.get(SMTP, ""), place.mail, notice)
        return
    secret = shop.environment.get(place.secret, "")
    if not secret:
        raise AskError(
            f"The webhook {place.webhook} of task '{notice.task}' is signed with the secret in the environment "
            f"variable {place.secret}, which is not set here. Set it where the server runs.",
            code="no_secret",
        )
    asyncio.run(_post(place, notice, secret))


async def _post(place: Notify, notice: Notice, secret: str) -> None:
    origin, path = check_url(place.webhook, allow_private=place.allow_private)
    body = json.dumps(dict(notice.body), ensure_ascii=False).encode()
    headers = {
        "host": origin.authority,
        "content-type": "application/json",
        "content-length": str(len(body)),
        "user-agent": "sartor",
        **signature(notice.id, int(time.time()), body, secret),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST {path or '/'} HTTP/1.1\r\n{lines}\r\n".encode() + body
    timing = Timing(connect=min(2.0, SECONDS), first_token=SECONDS, total=SECONDS)
    pool = Pool()
    try:
        answer = await pool.ask(origin, request, Waits(timing, asyncio.get_running_loop().time() + SECONDS))
    finally:
        pool.close()
    if not 200 <= answer.status < 300:
        raise SartorError(f"{place.webhook} answered {answer.status}.", code="webhook_refused")


def signature(ident: str, at: int, body: bytes, secret: str) -> dict[str, str]:
    """The headers by which the receiver knows that a webhook is ours.

    Args:
        at: seconds since 1970; the receiver refuses what is too old.
        secret: plain text, or base64 after `whsec_`.
    """
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signed = hmac.new(key, f"{ident}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": ident,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }


def _mail(server: str, to: str, notice: Notice) -> None:
    url = urlsplit(server)
    if url.scheme not in ("smtp", "smtps") or not url.hostname:
        raise AskError(
            f"News of task '{notice.task}' goes to {to} by mail, and {SMTP} names no mail server. Set it where the "
            "server runs, e.g. smtp://user:password@host:587?from=me@example.org",
            code="no_mail_server",
        )
    message = EmailMessage()
    message["Subject"] = f"[sartor] {notice.body['task']}: {notice.body['title']}"[:200].replace("\n", " ")
    message["From"] = parse_qs(url.query).get("from", [f"sartor@{url.hostname}"])[0]
    message["To"] = to
    message["Message-ID"] = f"<{notice.id}@sartor>"
    message.set_content(_text(notice.body))
    trusted = ssl.create_default_context()
    with _connected(url.hostname, url.port or 0, trusted if url.scheme == "smtps" else None) as client:
        client.ehlo()
        if url.scheme == "smtp" and client.has_extn("starttls"):
            client.starttls(context=trusted)
        if url.username:
            client.login(unquote(url.username), unquote(url.password or ""))
        client.send_message(message)


def _connected(host: str, port: int, trusted: ssl.SSLContext | None) -> smtplib.SMTP:
    if trusted is not None:
        return smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=trusted)
    return smtplib.SMTP(host, port, timeout=SECONDS)


def _text(body: Mapping[str, Any]) -> str:
    about = "\n".join(f"{name}: {value}" for name, value in body["data"].items())
    return f"{body['title']}\n\n{about}\n"
