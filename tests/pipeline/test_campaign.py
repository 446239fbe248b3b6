"""One change over many tasks: planned, done as jobs a few at a time, shown on a board, summed up; nothing twice."""

import json
from pathlib import Path

import pytest
from recall_house import filled, task

from sartor.core.errors import AskError, ConflictError, NotFoundError
from sartor.core.jobs import JobRequest, Later
from sartor.core.records import Decision, Report, Run, Variant
from sartor.pipeline.alteration import Alteration, altered
from sartor.pipeline.campaign import (
    board,
    campaign_job,
    cancel_campaign,
    list_campaigns,
    pause_campaign,
    resume_campaign,
    start_campaign,
    wait_here,
)
from sartor.pipeline.campaign_plan import Campaign, campaign_of, plan_campaign, read_campaign
from sartor.pipeline.work import KINDS, Attempt, run_here
from sartor.pipeline.workshop import Workshop

DEARER = Campaign(name="dearer", settings={"value.escalate.price": 2, "candidates.0.size": "medium"})


@pytest.fixture
def full(tmp_path: Path) -> Workshop:
    shop = filled(tmp_path)
    yield shop
    shop.store.close()


def test_a_plan_says_what_it_touches_and_what_it_costs(full: Workshop) -> None:
    before = full.store.ledger.count(Run)
    found = plan_campaign(full, DEARER)
    assert found["tasks"] == 3
    assert found["cpu_seconds"] > 0
    assert found["cost"] == pytest.approx(found["cpu_seconds"] * full.second_price)
    assert full.store.ledger.count(Run) == before
    some = plan_campaign(full, DEARER.model_copy(update={"tasks": ("l*", "clean")}))
    assert [part["task"] for part in some["parts"]] == ["clean", "later"]
    unset = Campaign(name="x", settings={"value.nobody.price": 1})
    with pytest.raises(AskError, match=r"no place 'value\.nobody\.price'"):
        plan_campaign(full, unset)
    with pytest.raises(AskError, match="does not use minilm"):
        plan_campaign(full, Campaign(name="x", bases={"minilm": "static-minilm"}))
    with pytest.raises(NotFoundError, match="minilm"):
        plan_campaign(full, Campaign(name="x", bases={"minlm": ""}))
    with pytest.raises(NotFoundError, match="always, clean, later"):
        plan_campaign(full, Campaign(name="x", tasks=("nobody-*",)))


def test_each_task_is_made_gated_and_released_once(full: Workshop) -> None:
    job = start_campaign(full, DEARER, here=True)
    with pytest.raises(ConflictError, match="under way"):
        start_campaign(full, DEARER)
    found = wait_here(full, job.id)
    assert found["state"] == "succeeded"
    assert found["states"] == {"better": 0, "same": 3, "worse": 0, "needs data": 0, "failed": 0}
    assert {line["task"]: line["version"] for line in found["parts"]} == {
        "always": "always@v2",
        "clean": "clean@v2",
        "later": "later@v3",
    }
    (report,) = full.store.ledger.find(Report, purpose="campaign")
    assert report.facts["states"] == found["states"]
    assert report.digest == found["report"]
    # The same again makes nothing, decides nothing, and says the same of each.
    counts = [full.store.ledger.count(kind) for kind in (Variant, Decision)]
    again = wait_here(full, start_campaign(full, DEARER.model_copy(update={"name": "again"}), here=True).id)
    assert [full.store.ledger.count(kind) for kind in (Variant, Decision)] == counts
    assert again["states"]["failed"] == 0
    assert [line["name"] for line in list_campaigns(full)] == ["again", "dearer"]


def test_a_campaign_waits_pauses_goes_on_and_is_cancelled(full: Workshop) -> None:
    job = start_campaign(full, DEARER.model_copy(update={"at_once": 1}))
    leases = full.store.leases
    assert board(full, "dearer")["states"]["not begun"] == 3
    pause_campaign(full, "dearer")
    assert full.store.jobs.get(job.id).state == "paused"
    resume_campaign(full, "dearer")
    _once(full, job.id)
    # One at a time: the first is asked for, and the campaign gives its place back.
    assert board(full, job.id)["states"] | {"better": 0} == {
        "better": 0, "same": 0, "worse": 0, "needs data": 0, "failed": 0, "queued": 1, "not begun": 2,
    }  # fmt: skip
    (part,) = full.store.jobs.find(part_of=job.id)
    run_here(full, JobRequest(**{name: getattr(part, name) for name in JobRequest.__dataclass_fields__}))
    assert board(full, job.id)["ended"] == 1
    full.store.jobs.resume(job.id)
    _once(full, job.id)
    assert len(full.store.jobs.find(part_of=job.id)) == 2
    cancel_campaign(full, job.id)
    cancel_campaign(full, job.id)
    found = board(full, job.id)
    assert found["state"] == "cancelled"
    assert found["states"]["cancelled"] == 1
    assert found["money"]["released"] == 1
    assert leases.claim("w", ["cpu"], kinds=KINDS) is None
    with pytest.raises(ConflictError):
        resume_campaign(full, job.id)
    with pytest.raises(NotFoundError, match="dearer"):
        board(full, "cheaper")


def _once(shop: Workshop, ident: str) -> None:
    """One attempt at a campaign's job, as a worker makes it."""
    mine = shop.store.leases.claim("w", ["cpu"], kinds=KINDS, only=ident)
    assert mine is not None
    with pytest.raises(Later) as later:
        campaign_job(shop, Attempt(shop.store.leases, mine, lambda _, work: work()))
    shop.store.leases.give_back(mine, later.value.why, seconds=later.value.seconds)


def test_a_campaign_is_read_from_a_file_and_from_options(tmp_path: Path) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text("name: retire\ntasks: ['icd-*']\nbases: {minilm: static-minilm}\nat_once: 3\n")
    assert read_campaign(file).bases == {"minilm": "static-minilm"}
    file.write_text("name: retire\nbase: minilm\n")
    with pytest.raises(AskError, match="base"):
        read_campaign(file)
    made = campaign_of("", ("*",), {"minilm": ""}, ["gate.margin=0.1"])
    assert made.name == "minilm to nothing, gate.margin=0.1"
    assert made.settings == {"gate.margin": 0.1}
    with pytest.raises(AskError, match="key=value"):
        campaign_of("", ("*",), {}, ["gate.margin"])


def test_a_floor_that_is_not_made_is_not_asked_for_by_name() -> None:
    body = task("t", ["a"], candidates=[{"recipe": "head", "base": "one"}, {"recipe": "linear", "name": "cheap"}])
    plain = altered(body, Alteration(bases={"one": "two"}))
    assert [c.title for c in plain.candidates] == ["head:two", "cheap"]
    assert "floor" not in plain.gate.model_fields_set
    named = body.model_copy(update={"gate": body.gate.model_copy(update={"floor": "head:one"})})
    assert altered(named, Alteration(bases={"one": "two"})).gate.floor == "head:two"
    gone = altered(named, Alteration(bases={"one": ""}))
    assert [c.title for c in gone.candidates] == ["cheap"]
    assert gone.gate.floor == "linear"
    blend = {"recipe": "blend", "of": ["cheap", "head:one"], "name": "both"}
    mixed = task("t", ["a"], candidates=[*(json.loads(c.model_dump_json()) for c in body.candidates), blend])
    assert altered(mixed, Alteration(bases={"one": "two"})).candidates[-1].of == ("cheap", "head:two")
    assert [c.title for c in altered(mixed, Alteration(bases={"one": ""})).candidates] == ["cheap"]
    alone = task("t", ["a"], candidates=[{"recipe": "head", "base": "one"}])
    assert [c.title for c in altered(alone, Alteration(bases={"one": ""})).candidates] == ["linear"]
