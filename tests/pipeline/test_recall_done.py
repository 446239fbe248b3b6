"""A recall carried out: names move, nothing of it is served or released, tasks are made again, and it is proven."""

from pathlib import Path

import pytest
from recall_house import BAD, SOURCES, filled, opened, task, write_sources

from benchmarks._oracle import descendants, live_names
from sartor.core.errors import NotFoundError, RefusedError
from sartor.core.records import Decision
from sartor.core.route import Route, Upstream
from sartor.pipeline import stock
from sartor.pipeline.access import verify_audit
from sartor.pipeline.approvals import approve
from sartor.pipeline.decide import replay
from sartor.pipeline.recall import lift, recall, wait_for
from sartor.pipeline.recall_kept import list_recalls, show
from sartor.pipeline.recall_proof import all_routes_back, prove
from sartor.pipeline.routes import declare_route, show_route
from sartor.pipeline.run import run
from sartor.pipeline.serve import Handles
from sartor.pipeline.upstreams import declare_upstream
from sartor.pipeline.workshop import Workshop
from sartor.registry.quarantine import is_quarantined
from sartor.registry.releases import release
from sartor.store.ledger import Change
from sartor.store.verify import verify

GIANT = {
    "name": "giant",
    "base_url": "https://giant.example/v1",
    "price": {"input_million": 1, "output_million": 2, "currency": "EUR"},
}


ESCALATES = {"wrong": 5, "escalate": {"to": "giant", "price": 1, "error_rate": 0.05}}


@pytest.fixture
def full(tmp_path: Path) -> Workshop:
    shop = filled(tmp_path)
    yield shop
    shop.store.close()


def test_a_source_is_taken_back_made_again_and_proven(full: Workshop, tmp_path: Path) -> None:
    ledger = full.store.ledger
    bad = {name: ledger.resolve(f"{name}@live") for name in ("later", "always")}
    done = recall(full, "source", "bad.csv", why="the licence was withdrawn")
    # At once: the last clean version answers, and where there is none, a clear refusal.
    assert Handles(full).resolve("later").version == "later@v1"
    assert Handles(full).resolve("clean").version == "clean@v1"
    for name in ("always", "always@v1", "later@v2"):
        with pytest.raises(RefusedError, match="was recalled"):
            Handles(full).resolve(name)
    assert all(is_quarantined(ledger, pointer.digest) for pointer in bad.values())
    # Nothing of it can come back by a release, a rollback or a restore.
    judged = ledger.get(bad["later"].decision)
    assert isinstance(judged, Decision)
    with pytest.raises(RefusedError, match="was recalled"):
        release(ledger, judged)
    with pytest.raises(RefusedError, match="was recalled"):
        stock.rollback(full, "always", "")
    # What still answers is clean, though nothing was made again yet.
    assert prove(full, done["recall"])["clean"]
    jobs = wait_for(full, done["recall"])
    assert {job.task: job.state for job in jobs} == {"always": "succeeded", "later": "succeeded"}
    told = show(full, done["recall"])
    assert told["proof"]["verdict"] == "ship"
    assert {job["task"]: job["version"] for job in told["jobs"]} == {"always": "always@v2", "later": "later@v3"}
    assert Handles(full).resolve("always").version == "always@v2"
    tainted = descendants(full.store.root, lambda row: row["source"] == BAD)
    live = {name: at for name, at in live_names(full.store.root).items() if name.endswith(("@live", "@previous"))}
    assert not set(live.values()) & set(tainted)
    assert replay(full, done["recall"]).reached == "ship"
    assert verify_audit(full)["newest"] > 0
    assert [line["in_force"] for line in list_recalls(full)] == [True]


def test_rows_that_were_recalled_stay_out_of_the_next_run_until_that_is_lifted(full: Workshop, tmp_path: Path) -> None:
    done = recall(full, "source", "bad.csv", rebuild=False)
    assert done["jobs"] == []
    made = run(full, task("later", ["a", "b", "bad"]), tmp_path)
    assert made.dataset.counts["train"] < 400
    assert made.dataset.digest not in descendants(full.store.root, lambda row: row["source"] == BAD)
    lifted = lift(full, done["recall"][:12], "settled")
    assert lifted["freed"] == 4
    again = run(full, task("later", ["a", "b", "bad"]), tmp_path)
    assert again.dataset.digest in descendants(full.store.root, lambda row: row["source"] == BAD)


def test_where_there_is_no_clean_version_the_giant_answers_until_there_is(full: Workshop) -> None:
    declare_upstream(full, Upstream.model_validate(GIANT), "x")
    cascade = {"use": "cascade", "local": "always@v1", "to": "giant", "by": "threshold", "threshold": 0.5}
    declare_route(full, Route.model_validate({"name": "front", "task": "always", "policy": cascade}))
    done = recall(full, "source", "bad.csv")
    assert show_route(full, "front")["policy"] == "giant"
    assert show_route(full, "always")["policy"] == "giant"
    assert full.store.ledger.resolve("always@live") is None
    wait_for(full, done["recall"])
    assert show_route(full, "front")["policy"] == cascade | {"local": "always@live"}
    with pytest.raises(NotFoundError):
        show_route(full, "always")
    assert Handles(full).resolve("always").version == "always@v2"


def test_what_people_approve_later_takes_its_route_back(full: Workshop, tmp_path: Path) -> None:
    declare_upstream(full, Upstream.model_validate(GIANT), "x")
    waits = task("always", ["a", "bad"], wheel={"ship": "approve"}, value=ESCALATES)
    assert run(full, waits, tmp_path).version
    done = recall(full, "source", "bad.csv")
    assert show_route(full, "always")["policy"] == "giant"
    (job,) = [job for job in wait_for(full, done["recall"]) if job.task == "always"]
    assert job.result["waits"]
    assert all_routes_back(full) == []
    assert approve(full, "always")["released"]
    assert all_routes_back(full) == ["always"]
    assert Handles(full).resolve("always").variant == job.result["variant"]
    assert prove(full, done["recall"])["clean"]


def test_a_task_whose_only_source_it_was_needs_data(full: Workshop, tmp_path: Path) -> None:
    assert run(full, task("only", ["bad"]), tmp_path).version
    done = recall(full, "licence", "CC0-1.0")
    jobs = {job.task: job for job in wait_for(full, done["recall"])}
    assert jobs["only"].result["state"] == "needs data"
    assert "only source" in jobs["only"].result["says"]
    assert jobs["later"].result["version"] == "later@v3"
    with pytest.raises(RefusedError, match="was recalled"):
        Handles(full).resolve("only")


def test_a_name_that_moved_meanwhile_makes_the_recall_look_again(
    full: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sartor.pipeline import recall as module

    looked = []

    def slow(shop: Workshop, kind: str, value: str) -> object:
        found = plan(shop, kind, value)
        if not looked:
            first = shop.store.ledger.resolve("later@previous")
            shop.store.ledger.move_many([Change("later@live", first.digest, found.moves.tasks[-1].from_)], decision="x")
        looked.append(kind)
        return found

    plan = module.plan
    monkeypatch.setattr(module, "plan", slow)
    done = recall(full, "source", "bad.csv", rebuild=False)
    assert len(looked) == 2
    assert [move["task"] for move in done["moves"]["tasks"]] == ["always"]


def test_a_person_is_erased_from_rows_files_and_traffic_and_the_store_stays_whole(tmp_path: Path) -> None:
    shop = opened(tmp_path)
    mark = shop.store.traffic.mark("mallory@example.com")
    write_sources(tmp_path)
    lines = (tmp_path / "b.csv").read_text().splitlines()
    subjects = [mark if number % 11 == 0 else "" for number in range(len(lines) - 1)]
    with_subject = [f"{lines[0]},subject", *(f"{line},{who}" for line, who in zip(lines[1:], subjects, strict=True))]
    (tmp_path / "b.csv").write_text("\n".join(with_subject) + "\n")
    for name in ("clean", "later"):
        assert run(shop, task(name, SOURCES[name]), tmp_path).version
    theirs = [line.split(",")[0] for line, who in zip(lines[1:], subjects, strict=True) if who]
    assert len(theirs) == 20
    done = recall(shop, "subject", "mallory@example.com", tenant="default")
    kept = b"".join(path.read_bytes() for path in (shop.store.root / "vault").rglob("*") if path.is_file())
    assert mark.encode() not in kept
    jobs = wait_for(shop, done["recall"])
    assert {job.state for job in jobs} == {"succeeded"}, [job.error for job in jobs]
    assert not descendants(shop.store.root, lambda row: dict(row["extra"]).get("subject") == mark)
    assert prove(shop, done["recall"])["clean"]
    assert verify(shop.store) == []
    assert verify_audit(shop)["newest"] > 0
    named = [line for line in Path(shop.store.root / "ledger.db").read_bytes().split(b"\n") if b"mallory" in line]
    assert named == []
    shop.store.close()


def test_unknown_recalls_are_answered_with_the_known(full: Workshop) -> None:
    done = recall(full, "variant", "later@v2")
    assert done["jobs"] == []
    with pytest.raises(NotFoundError, match=done["recall"][:12]):
        show(full, "feedfeed")
