"""A release that waits: who may speak, what counts, and that the last word needed makes it live."""

from dataclasses import replace

import pytest

from sartor.core.errors import ConflictError, NotFoundError, RefusedError
from sartor.core.records import Decision
from sartor.core.task import Task
from sartor.pipeline.approvals import approve, list_waiting, may_release, reject, request
from sartor.pipeline.run import decide_on, inspect_all, make_all, open_hall
from sartor.pipeline.stock import rollback
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import register_many
from tests.pipeline.conftest import BODY


def judged(shop: Workshop, folder, approvals: int) -> tuple[Task, Decision]:
    """A candidate that passed the gate, registered and waiting."""
    task = Task.model_validate({**BODY, "wheel": {"ship": "approve", "approvals": approvals}})
    place = open_hall(shop, task, folder)
    variants = make_all(place, task.candidates)
    verdict = decide_on(place, variants, inspect_all(place, variants))
    register_many(shop.store.ledger, list(variants.values()))
    assert verdict.decision.verdict == "ship"
    request(shop, task, verdict.decision)
    return task, verdict.decision


def test_one_yes_makes_it_live(shop, rows_folder):
    task, decision = judged(shop, rows_folder, 1)
    assert not may_release(shop, task, decision)
    (waiting,) = list_waiting(shop)
    assert (waiting["task"], waiting["decision"], waiting["needed"]) == ("desk", decision.digest, 1)
    assert shop.store.ledger.resolve("desk@live") is None
    done = approve(shop, "desk", why="looks right", decision=decision.digest[:12])
    assert done["released"]
    live = shop.store.ledger.resolve("desk@live")
    assert live is not None
    assert (live.digest, live.decision) == (decision.candidate, decision.digest)
    assert list_waiting(shop) == []
    with pytest.raises(NotFoundError, match="release that waits"):
        approve(shop, "desk")


def test_four_eyes_are_two_other_people(shop, rows_folder):
    task, decision = judged(shop, rows_folder, 2)
    with pytest.raises(RefusedError, match="tester asked for this release"):
        approve(shop, "desk")
    ann, ben = replace(shop, who="ann"), replace(shop, who="ben")
    assert not approve(ann, "desk")["released"]
    with pytest.raises(RefusedError, match="ann has approved"):
        approve(ann, "desk")
    assert list_waiting(shop)[0]["approved_by"] == ["ann"]
    assert not may_release(shop, task, decision)
    assert approve(ben, "desk") == {
        "task": "desk",
        "decision": decision.digest,
        "approved_by": ["ann", "ben"],
        "released": True,
    }
    words = shop.store.ledger.find(Decision, task="desk", verb="approval")
    assert sorted(word.who for word in words) == ["ann", "ben"]
    assert all(word.signature and decision.digest in word.cites for word in words)


def test_a_no_ends_it_and_stays_on_record(shop, rows_folder):
    _, decision = judged(shop, rows_folder, 2)
    ann = replace(shop, who="ann")
    approve(ann, "desk")
    assert reject(replace(shop, who="ben"), "desk", why="wrong on refunds")["rejected_by"] == "ben"
    assert shop.store.ledger.resolve("desk@live") is None
    assert list_waiting(shop) == []
    (no,) = [w for w in shop.store.ledger.find(Decision, task="desk", verb="approval") if w.verdict == "hold"]
    assert no.reasons == ("wrong on refunds",)
    assert decision.digest in no.cites


def test_another_decision_than_the_one_that_was_looked_at_is_not_approved(shop, rows_folder):
    judged(shop, rows_folder, 1)
    with pytest.raises(ConflictError, match="not 000000000000"):
        approve(shop, "desk", decision="0" * 12)
    with pytest.raises(NotFoundError, match="nothing"):
        approve(shop, "nothing")


def test_what_went_live_otherwise_waits_no_more(shop, rows_folder):
    from sartor.registry.releases import release

    _, decision = judged(shop, rows_folder, 1)
    release(shop.store.ledger, decision)  # as if killed between going live and clearing the name
    assert list_waiting(shop) == []
    with pytest.raises(NotFoundError):
        approve(shop, "desk")
    with pytest.raises(NotFoundError):
        rollback(shop, "desk", "there is none before")


def test_who_may_not_approve_only_lets_it_wait(shop, rows_folder):
    from sartor.pipeline.run import settle

    task = Task.model_validate(BODY)
    place = open_hall(shop, task, rows_folder)
    variants = make_all(place, task.candidates)
    verdict = decide_on(place, variants, inspect_all(place, variants))
    assert settle(place, variants, verdict, asked_by_approver=False) == ""
    assert [waiting["task"] for waiting in list_waiting(shop)] == ["desk"]
    assert settle(place, variants, verdict) == "desk@v1"
    assert list_waiting(shop) == []


def test_who_runs_a_task_has_approved_it_but_not_where_two_must(shop, rows_folder):
    from sartor.pipeline.run import run

    task = Task.model_validate({**BODY, "wheel": {"approvals": 2}})
    result = run(shop, task, rows_folder)
    assert (result.decision.verdict, result.version) == ("ship", "")
    assert shop.store.ledger.resolve("desk@live") is None
    assert list_waiting(shop)[0]["decision"] == result.decision.digest
    for who in ("ann", "ben"):
        approve(replace(shop, who=who), "desk")
    assert shop.store.ledger.resolve("desk@live") is not None
    one = Task.model_validate({**BODY, "name": "other", "wheel": {"approvals": 1}})
    assert run(shop, one, rows_folder).version == "other@v1"
