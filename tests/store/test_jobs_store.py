"""Jobs and leases on both databases: what is durable, whose turn it is, and what a worker that only slept may write."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from sartor.core.errors import ConflictError, NotFoundError
from sartor.core.jobs import Job, JobRequest, Stopped
from sartor.core.records import Variant
from sartor.store import schema
from sartor.store.backup import backup, restore
from sartor.store.doctor import examine
from sartor.store.ledger import Change
from sartor.store.opening import Store, open_store

KINDS = ("make", "other")


def claim(store: Store, worker: str = "w", **how: Any) -> Job:
    job = store.leases.claim(worker, ["cpu"], kinds=KINDS, **how)
    assert job is not None
    return job


@pytest.fixture
def store(opener: Callable[..., Store]) -> Store:
    return opener()


def test_a_job_is_kept_when_submit_returns_and_comes_back_whole(opener: Callable[..., Store]) -> None:
    asked = JobRequest(
        "make", {"a": [1, {"b": "ü"}]}, task="t", tenant="acme", queue="gpu", priority=3, once="w", not_before=5.0,
        most_attempts=7, who="ann", waits_for="job-x",
    )  # fmt: skip
    job = opener().jobs.submit(asked)
    again = opener().jobs.get(job.id)
    assert again == job
    assert (again.args, again.once, again.state, again.attempts) == (asked.args, "w", "queued", 0)
    assert (again.queue, again.tenant, again.most_attempts, again.waits_for) == ("gpu", "acme", 7, "job-x")
    assert [event.message for event in opener().jobs.events(job.id)] == ["asked for by ann"]


def test_asking_with_the_same_word_gives_the_job_that_has_not_ended(store: Store) -> None:
    first = store.jobs.submit(JobRequest("make", once="train:t"))
    assert store.jobs.submit(JobRequest("make", once="train:t")).id == first.id
    held = claim(store)
    assert store.jobs.submit(JobRequest("make", once="train:t")).id == first.id
    store.leases.succeed(held, {"x": 1})
    second = store.jobs.submit(JobRequest("make", once="train:t"))
    assert second.id != first.id
    assert store.jobs.submit(JobRequest("make", once="train:t", tenant="acme")).id not in (first.id, second.id)
    assert len({store.jobs.submit(JobRequest("make")).id for _ in range(3)}) == 3


def test_many_who_ask_at_once_with_one_word_get_one_job(store: Store) -> None:
    found: list[str] = []

    def ask() -> None:
        found.append(store.jobs.submit(JobRequest("make", once="w")).id)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


def test_a_waiting_job_is_cancelled_at_once_and_twice_is_once(store: Store) -> None:
    job = store.jobs.submit(JobRequest("make", once="w"))
    assert store.jobs.ask(job.id, "cancel", who="ann").state == "cancelled"
    assert store.jobs.ask(job.id, "cancel").state == "cancelled"
    assert store.leases.claim("w", ["cpu"], kinds=KINDS) is None
    assert store.jobs.submit(JobRequest("make", once="w")).id != job.id
    assert [e.message for e in store.jobs.events(job.id)][1:] == ["asked to cancel by ann"]


def test_a_running_job_is_told_and_stops_where_it_looks(store: Store) -> None:
    job = store.jobs.submit(JobRequest("make"))
    held = claim(store)
    store.leases.look(held)
    assert store.jobs.ask(job.id, "pause").asked == "pause"
    assert store.jobs.ask(job.id, "cancel").asked == "cancel"
    assert store.jobs.ask(job.id, "pause").asked == "cancel"  # what is to be cancelled is not saved by a pause
    with pytest.raises(Stopped) as stopped:
        store.leases.look(held)
    assert stopped.value.why == "cancel"
    assert store.leases.stop(held, "cancel").state == "cancelled"


def test_pause_and_resume_waiting_or_running(store: Store) -> None:
    waiting, running = (store.jobs.submit(JobRequest("make")) for _ in range(2))
    assert store.jobs.ask(waiting.id, "pause").state == "paused"
    held = claim(store)
    assert held.id == running.id
    store.jobs.ask(running.id, "pause")
    assert store.jobs.resume(running.id).asked == ""  # before it was noticed
    store.leases.look(held)
    store.jobs.ask(running.id, "pause")
    assert store.leases.stop(held, "pause").state == "paused"
    assert store.leases.claim("w", ["cpu"], kinds=KINDS) is None
    for job in (running, waiting):
        assert store.jobs.resume(job.id).state == "queued"
    assert claim(store).id == waiting.id
    assert claim(store).attempts == 2
    assert store.jobs.get(running.id).failures == 0


def test_what_has_ended_is_tried_again_only_where_that_makes_sense(store: Store) -> None:
    job = store.jobs.submit(JobRequest("make", once="w"))
    with pytest.raises(ConflictError, match="only one that failed, died or was cancelled"):
        store.jobs.retry(job.id)
    failed = store.leases.fail(claim(store), "no rows", "no_rows", None)
    assert (failed.state, failed.error, failed.code, failed.failures) == ("failed", "no rows", "no_rows", 1)
    for change in ("pause", "resume"):
        with pytest.raises(ConflictError, match="sartor jobs retry"):
            store.jobs.ask(job.id, "pause") if change == "pause" else store.jobs.resume(job.id)
    other = store.jobs.submit(JobRequest("make", once="w"))
    with pytest.raises(ConflictError, match=other.id):
        store.jobs.retry(job.id)
    store.jobs.ask(other.id, "cancel")
    again = store.jobs.retry(job.id)
    assert (again.state, again.failures, again.error, again.ended) == ("queued", 0, "", None)
    assert store.jobs.submit(JobRequest("make", once="w")).id == job.id  # it has its word again
    store.leases.succeed(claim(store), {"n": 1})
    with pytest.raises(ConflictError, match="succeeded"):
        store.jobs.retry(job.id)
    assert store.jobs.get(job.id).result == {"n": 1}


def test_a_job_that_fails_for_a_while_waits_longer_and_dies_in_the_end(store: Store) -> None:
    job = store.jobs.submit(JobRequest("make", most_attempts=2))
    first = store.leases.fail(claim(store), "The disk is full.", "store_full", 30.0)
    assert (first.state, first.failures) == ("queued", 1)
    assert first.not_before > time.time() + 20
    assert store.leases.claim("w", ["cpu"], kinds=KINDS) is None
    store.jobs.resume(job.id)  # now, not later
    dead = store.leases.fail(claim(store), "The disk is full.", "store_full", 30.0)
    assert (dead.state, dead.failures, dead.attempts) == ("dead", 2, 2)
    says = [event.message for event in store.jobs.events(job.id)]
    assert "The disk is full. Again in 30 s." in says
    assert says[-1] == "tried 2 times, and not again before somebody asks for it"
    assert store.jobs.retry(job.id).state == "queued"


def test_tenants_take_turns_then_priority_then_age(store: Store) -> None:
    def ask(tenant: str, priority: int = 0) -> str:
        return store.jobs.submit(JobRequest("make", tenant=tenant, priority=priority)).id

    flood = [ask("big") for _ in range(4)]
    late, urgent = ask("small"), ask("small", priority=5)
    order = [claim(store).id for _ in range(6)]
    assert order == [flood[0], urgent, flood[1], late, flood[2], flood[3]]


def test_only_what_is_due_known_and_of_its_queue_is_taken(store: Store) -> None:
    ask = store.jobs.submit
    ask(JobRequest("make", not_before=time.time() + 60))
    ask(JobRequest("unheard-of"))
    gpu = ask(JobRequest("make", queue="gpu"))
    assert store.leases.claim("w", ["cpu"], kinds=KINDS) is None
    assert store.leases.claim("w", [], kinds=KINDS) is None
    found = store.leases.claim("w", ["cpu", "gpu"], kinds=KINDS)
    assert found is not None
    assert found.id == gpu.id


def test_a_job_of_another_version_is_left_alone_and_says_why(store: Store) -> None:
    job = store.jobs.submit(JobRequest("make"))
    with store.ledger.database.write() as connection:
        connection.execute(update(schema.job).values(contract="0"))
    assert store.leases.claim("w", ["cpu"], kinds=KINDS) is None
    assert store.leases.mark_strangers() == [job.id]
    assert store.leases.mark_strangers() == []  # said once
    stands = store.jobs.get(job.id)
    assert stands.code == "other_contract"
    assert f"sartor jobs resume {job.id}" in stands.error
    assert store.jobs.resume(job.id).error == ""
    assert claim(store).id == job.id


def test_who_falls_silent_loses_its_jobs_and_takes_a_worker_down_only_so_often(store: Store) -> None:
    job = store.jobs.submit(JobRequest("make", most_attempts=2))
    since = store.leases.enter("a", ["cpu"])
    held = claim(store, "a")
    assert store.leases.beat("a", since, [job.id])[job.id].attempts == 1
    assert store.leases.reap(60.0) == []
    time.sleep(0.05)
    assert store.leases.reap(0.01) == [job.id]
    assert store.jobs.get(job.id).failures == 1
    with pytest.raises(Stopped):
        store.leases.succeed(held, {})
    store.leases.enter("b", ["cpu"])
    taken = claim(store, "b")
    assert (taken.id, taken.attempts) == (job.id, 2)
    assert store.leases.beat("a", since, [job.id]) == {}
    assert [hand.jobs for hand in store.leases.hands()] == [(), (job.id,)]
    assert store.leases.enter("b", ["cpu"]) > since  # b was killed and is back: what it had is free, or dead
    dead = store.jobs.get(job.id)
    assert (dead.state, dead.code) == ("dead", "worker_lost")


def test_a_name_belongs_to_whoever_took_it_last(store: Store) -> None:
    first = store.leases.enter("w", ["cpu"])
    time.sleep(0.01)
    second = store.leases.enter("w", ["gpu"])
    with pytest.raises(ConflictError, match="took the name 'w'"):
        store.leases.beat("w", first)
    store.leases.leave("w", first)  # not its row any more
    assert [hand.queues for hand in store.leases.hands()] == [("gpu",)]
    store.leases.leave("w", second)
    assert store.leases.hands() == []


def test_nothing_is_written_for_an_attempt_that_is_over(store: Store, make: Callable[..., Variant]) -> None:
    store.jobs.submit(JobRequest("make"))
    store.leases.enter("sleeper", ["cpu"])
    held = claim(store, "sleeper")
    fenced = store.fenced(held)
    mine = fenced.ledger.put(make(1))
    fenced.ledger.move_many([Change("t@live", mine, None)], decision="d")
    time.sleep(0.02)
    store.leases.reap(0.01)
    late = make(2)

    def writes() -> list[Callable[[], object]]:
        return [
            lambda: fenced.ledger.put(late),
            lambda: fenced.ledger.put_many([late, make(3)]),
            lambda: fenced.ledger.point("t@live", late.digest, expected=mine, decision="d"),
            lambda: fenced.jobs.submit(JobRequest("make")),
            lambda: fenced.leases.note(held, "late", 1, 2),
            lambda: store.leases.note(held, "late", 1, 2, [("info", "late", {})]),
            lambda: store.leases.give_back(held, "late"),
            lambda: store.leases.fail(held, "late", "late", 1.0),
        ]

    def refused() -> int:
        count = 0
        for write in writes():
            with pytest.raises(Stopped) as stopped:
                write()
            count += stopped.value.why == "lost"
        return count

    assert refused() == 8  # nobody has it
    second = claim(store, "other")
    assert refused() == 8  # another has it
    assert store.fenced(second).ledger.put(make(4))
    assert store.ledger.count(Variant, task="triage") == 2
    stands = store.ledger.resolve("t@live")
    assert stands is not None
    assert stands.digest == mine
    assert "late" not in [event.message for event in store.jobs.events(held.id)]
    assert fenced.ledger.get(mine).digest == mine  # it may still read


def test_lists_are_narrowed_and_paged_and_unknown_ids_are_named(store: Store) -> None:
    parent = store.jobs.submit(JobRequest("other", task="t"))
    parts = store.jobs.submit_many([JobRequest("make", task=f"t{n}", waits_for=parent.id) for n in range(3)])
    assert [job.id for job in store.jobs.find(part_of=parent.id)] == [job.id for job in reversed(parts)]
    assert [job.id for job in store.jobs.find(after=parts[1].id)] == [parts[0].id, parent.id]
    assert [job.id for job in store.jobs.find(kind="other")] == [parent.id]
    assert [job.id for job in store.jobs.find(task="t1", state="queued")] == [parts[1].id]
    assert store.jobs.find(tenant="nobody") == []
    assert len(store.jobs.find(state=("queued", "running"), limit=2)) == 2
    store.leases.succeed(claim(store, only=parts[2].id), {})
    assert store.jobs.counts(part_of=parent.id) == {"queued": 2, "succeeded": 1}
    with pytest.raises(NotFoundError, match="There is no job 'job-0'"):
        store.jobs.ask("job-0", "cancel")
    with pytest.raises(NotFoundError, match=parent.id):
        store.jobs.get("job-0")


def test_what_a_job_says_is_numbered_and_goes_on_from_any_place(store: Store) -> None:
    job = store.jobs.submit(JobRequest("make"))
    held = claim(store)
    store.leases.note(held, "step", 1, 3, [("info", "a", {"n": 1}), ("warning", "b", {})])
    store.jobs.say(job.id, "from outside", level="error", why="x")
    events = store.jobs.events(job.id)
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert [event.message for event in store.jobs.events(job.id, after=3)] == ["b", "from outside"]
    assert events[2].data == {"n": 1}
    stands = store.jobs.get(job.id)
    assert (stands.step, stands.done, stands.total) == ("step", 1, 3)


def test_workers_that_claim_at_once_never_get_the_same_job(opener: Callable[..., Store]) -> None:
    store = opener()
    store.jobs.submit_many([JobRequest("make", tenant=f"t{n % 3}") for n in range(24)])
    found: list[str] = []

    def work(name: str) -> None:
        while (job := store.leases.claim(name, ["cpu"], kinds=KINDS)) is not None:
            found.append(job.id)
            store.leases.succeed(job, {})

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = store.leases.claim("last", ["cpu"], kinds=KINDS)  # skipped while another one looked at it
    assert left is None
    assert len(found) == len(set(found)) == 24
    assert store.jobs.counts() == {"succeeded": 24}


def test_a_backup_brings_jobs_along_and_what_was_running_goes_on(opener: Callable[..., Store], tmp_path: Path) -> None:
    store = opener()
    done, running, waiting = (store.jobs.submit(JobRequest("make", {"n": n}, once=f"w{n}")) for n in range(3))
    store.leases.enter("w", ["cpu"])
    store.leases.succeed(claim(store), {"n": 1})
    assert claim(store).id == running.id
    backup(store, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "new")
    new = open_store(tmp_path / "new")
    assert [new.jobs.get(job.id) for job in (done, running, waiting)] == [
        store.jobs.get(job.id) for job in (done, running, waiting)
    ]
    assert new.jobs.events(running.id) == store.jobs.events(running.id)
    assert new.leases.hands() == []
    assert new.leases.reap(15.0) == [running.id]
    assert [claim(new).id for _ in range(2)] == [running.id, waiting.id]
    assert new.jobs.submit(JobRequest("make", once="w2")).id == waiting.id
    assert new.jobs.submit(JobRequest("make", once="w0")).id != done.id
    new.close()


def test_the_doctor_tells_of_jobs_that_nobody_does_or_that_wait_for_a_person(store: Store) -> None:
    def said() -> list[str]:
        return [s.says for s in examine(store, deep=False) if s.what == "jobs"]

    assert said() == ["none was ever asked for"]
    store.jobs.submit(JobRequest("make", most_attempts=1))
    assert said() == ["1 queued", "1 wait and nobody works on them. Start one: sartor worker"]
    store.leases.enter("w", ["cpu"])
    assert said() == ["1 queued"]
    store.leases.fail(claim(store), "x", "x", 0.0)
    assert said()[1] == "1 were tried as often as they may be and wait: sartor jobs list --state dead"


def test_a_store_of_before_there_were_jobs_is_brought_up_and_takes_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(Path(__file__).parents[1] / "fixtures" / "store-0.1", home)
    store = open_store(home)
    job = store.jobs.submit(JobRequest("make", once="w"))
    assert claim(store).id == job.id
    store.close()
