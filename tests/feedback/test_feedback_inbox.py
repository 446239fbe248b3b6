"""Feedback: kept before it is acknowledged, once, by id or business key, in any order; what is wrong is named."""

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sartor.core.access import Caller
from sartor.core.errors import AskError, ConflictError, NotFoundError, SartorError, StoreError
from sartor.core.task import FeedbackMetric
from sartor.core.traffic import Exchange
from sartor.feedback.inbox import Inbox
from sartor.store.opening import Store, open_store
from sartor.store.traffic.bounds import Limits
from sartor.store.traffic.log import TrafficLog

METRICS = {
    "resolved": FeedbackMetric(type="boolean"),
    "refund": FeedbackMetric(type="number", better="lower"),
    "queue": FeedbackMetric(type="label"),
}
ACME = Caller(tenant="acme", role="application", key="k1")
ASKED = {"exchange_id": "chatcmpl-1", "metric": "resolved", "value": True, "id": "f1"}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    with closing(open_store(tmp_path / "store", ledger_url=url)) as opened:
        yield opened


@pytest.fixture
def log(store: Store) -> Iterator[TrafficLog]:
    log = store.traffic.log("w0", Limits(gather=0.001, retry=0.01))
    yield log
    log.close()


@pytest.fixture
def send(store: Store, log: TrafficLog) -> Callable[..., dict[str, Any]]:
    """Sends a feedback to the inbox of the store."""
    inbox = Inbox(
        log,
        store.traffic.index,
        mark=store.traffic.mark,
        redact=lambda text: text.replace("a@b.org", "[EMAIL]"),
        labels_of=lambda task: ("card", "cash") if task == "triage" else (),
    )

    def sent(body: dict[str, Any], caller: Caller = ACME) -> dict[str, Any]:
        return asyncio.run(inbox.receive(caller, body, METRICS))

    return sent


def happened(store: Store, log: TrafficLog, number: int = 1, **changes: Any) -> None:
    facts = {"id": f"chatcmpl-{number}", "at": 1.0 * number, "tenant": "acme", "key": "k1", "route": "triage"}
    log.append(Exchange(**facts | {"model": "triage", "task": "triage"} | changes))
    log.flush()


def outcome(store: Store, number: int = 1) -> dict[tuple[str, str], Any]:
    store.traffic.index.catch_up()
    return {o.id: o.feedback for o in store.traffic.index.outcomes("acme", "triage")}[f"chatcmpl-{number}"]


def test_feedback_of_a_known_exchange_is_joined(store: Store, log: TrafficLog, send: Callable[..., Any]) -> None:
    happened(store, log)
    assert send(ASKED) == {"object": "feedback", "id": "f1", "joined": True}
    assert send(ASKED)["joined"] is True  # again: the same one
    made = send({"inference_id": "chatcmpl-1", "metric_name": "refund", "value": 3, "source": "LLM_JUDGE"})
    assert made["id"].startswith("fb-")
    send({"exchange_id": "chatcmpl-1", "metric": "demonstration", "value": "cash", "rationale": "says a@b.org"})
    assert outcome(store) == {
        ("resolved", "human"): True,
        ("refund", "judge"): 3,
        ("demonstration", "human"): "cash",
    }
    assert store.traffic.index.feedback_of("acme", "chatcmpl-1")[-1].rationale == "says [EMAIL]"
    assert len(store.traffic.index.feedback_of("acme", "chatcmpl-1")) == 3


def test_feedback_that_comes_first_is_kept_told_so_and_joined_later(
    store: Store, log: TrafficLog, send: Callable[..., Any]
) -> None:
    assert send(ASKED)["joined"] is False
    by_key = {"business_key": "order 7", "metric": "refund", "value": 12.5}
    assert send(by_key)["joined"] is False
    happened(store, log, business=store.traffic.mark("order 7"))
    assert outcome(store) == {("resolved", "human"): True, ("refund", "human"): 12.5}
    assert send(by_key)["joined"] is True


def test_the_business_key_may_come_with_a_later_feedback(
    store: Store, log: TrafficLog, send: Callable[..., Any]
) -> None:
    happened(store, log)
    assert send({"business_key": "order 8", "metric": "refund", "value": 1})["joined"] is False
    assert send({"exchange_id": "chatcmpl-1", "business_key": "order 8", "metric": "correct", "value": False})["joined"]
    assert outcome(store) == {("refund", "human"): 1, ("correct", "human"): False}


def test_the_same_id_with_something_else_to_say_is_refused(
    store: Store, log: TrafficLog, send: Callable[..., Any]
) -> None:
    send(ASKED)
    with pytest.raises(ConflictError, match="'f1' is there already") as caught:
        send(ASKED | {"value": False})
    assert caught.value.param == "id"
    send(ASKED | {"value": False}, Caller(tenant="other", role="application"))  # ids are each tenant's own
    happened(store, log)
    assert outcome(store) == {("resolved", "human"): True}


def test_another_tenants_exchange_is_as_unknown_as_none(
    store: Store, log: TrafficLog, send: Callable[..., Any]
) -> None:
    happened(store, log, business=store.traffic.mark("order"))
    other = Caller(tenant="other", role="application", key="k2")
    foreign = send(ASKED | {"id": "x"}, other)
    nothing = send(ASKED | {"id": "y", "exchange_id": "chatcmpl-none"}, other)
    by_key = send({"id": "z", "business_key": "order", "metric": "resolved", "value": True}, other)
    assert foreign["joined"] is nothing["joined"] is by_key["joined"] is False
    # Labels of a foreign task are not told either.
    send(ASKED | {"id": "w", "metric": "demonstration", "value": "no label of triage"}, other)
    assert outcome(store) == {}


WRONG = {
    "not a boolean": ({"value": 1}, AskError, "'value' must be a boolean, as the metric 'resolved' is; got '1'"),
    "null": ({"value": None}, AskError, "must be a boolean"),
    "not a number": ({"metric": "refund", "value": True}, AskError, "must be a number, as the metric 'refund' is"),
    "not finite": ({"metric": "refund", "value": float("nan")}, AskError, "must be a number"),
    "not bounded": ({"metric": "refund", "value": 10**400}, AskError, "must be a number"),
    "not a label": ({"metric": "demonstration", "value": "cart"}, AskError, "Did you mean 'card'?"),
    "not a text": ({"metric": "comment", "value": {"a": 1}}, AskError, "must be a text, as the metric 'comment' is"),
    "no metric": ({"metric": "resolve", "value": True}, NotFoundError, "Did you mean 'resolved'?"),
    "no value": ({"value": ...}, AskError, "has no 'value'"),
    "no exchange": ({"exchange_id": ...}, AskError, "name it by 'exchange_id'"),
    "wrong exchange": ({"exchange_id": 7}, AskError, "'exchange_id' must be a text; got '7'"),
    "wrong source": ({"source": "ROBOT"}, AskError, "'source' must be one of code, human, judge, llm_judge, outcome"),
    "source no text": ({"source": ["x"]}, AskError, "'source' must be one of"),
    "too long": ({"rationale": "x" * 9000}, AskError, "may have 8192 characters, not 9,000"),
    "wrong tags": ({"tags": {"a": 1}}, AskError, "'tags' must be an object"),
    "tags no object": ({"tags": [1]}, AskError, "'tags' must be an object"),
    "unknown field": ({"valeu": 1}, AskError, "has no field 'valeu'. Did you mean 'value'?"),
    "twice": ({"inference_id": "chatcmpl-1"}, AskError, "are the same field"),
}


def test_what_is_wrong_is_named_and_nothing_of_it_is_kept(
    store: Store, log: TrafficLog, send: Callable[..., Any]
) -> None:
    happened(store, log)
    for name, (changes, kind, says) in WRONG.items():
        body = {k: v for k, v in (ASKED | changes).items() if v is not ...}
        with pytest.raises(kind) as caught:
            send(body)
        assert says in caught.value.message, name
        assert caught.value.param, name
    assert outcome(store) == {}
    for value in (2**70, -(2**63) - 5, 0.1):
        send({"exchange_id": "chatcmpl-1", "metric": "refund", "value": value, "source": "code", "id": str(value)})
        assert outcome(store)["refund", "code"] == pytest.approx(value)


def test_feedback_that_could_not_be_written_is_not_acknowledged(
    store: Store, log: TrafficLog, send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(StoreError) as caught:
            send(ASKED)
    assert caught.value.http_status == 507
    assert isinstance(caught.value, SartorError)
    while True:
        try:
            assert send(ASKED)["joined"] is False
            break
        except StoreError:
            continue
    assert store.traffic.index.feedback("acme", "f1") is not None


def test_tags_by_which_people_who_label_decide_are_theirs(send: Callable[..., dict[str, Any]]) -> None:
    for tag in ("settles", "sample"):
        body = ASKED | {"tags": {tag: "random"}, "id": f"f-{tag}"}
        with pytest.raises(SartorError, match=f"The tag '{tag}' is for people who label"):
            send(body)
        assert send(body, Caller(tenant="acme", role="operator", key="k2"))["id"] == f"f-{tag}"
