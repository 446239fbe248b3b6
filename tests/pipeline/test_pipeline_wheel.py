"""The wheel turns for a reason, within its bounds, and once however many servers look."""

import time
from typing import Any

import pytest

from sartor.core.errors import NotFoundError
from sartor.core.task import Task
from sartor.core.traffic import Exchange, Feedback
from sartor.pipeline.bookings import Booking, book
from sartor.pipeline.run import run
from sartor.pipeline.wheel import look, turn
from tests.pipeline.conftest import BODY


@pytest.fixture
def live(shop, rows_folder):
    def make(**wheel: Any):
        task = Task.model_validate({**BODY, "wheel": wheel})
        assert run(shop, task, rows_folder).decision.verdict == "ship"
        return shop

    return make


def label(shop, count: int, *, source: str = "human", business: bool = False) -> None:
    """People say of some exchanges what was right."""
    mark, log, at = shop.store.traffic.mark, shop.store.traffic.log("w0"), time.time()
    for number in range(count):
        ident, case = f"chatcmpl-{source}-{number}", mark(f"case {number}")
        log.append(
            Exchange(
                ident, at, "default", "", "desk", "desk", task="desk", label="card", business=case if business else ""
            )
        )
        said = Feedback(f"f-{source}-{number}", at, "default", "demonstration", "card", source=source)
        said.exchange, said.business = ("", case) if business else (ident, "")
        log.append_feedback(said, sync=False)
    log.flush()
    log.close()


def test_enough_labels_start_one_run(live):
    shop = live(after_labels=20)
    label(shop, 19)
    (standing,) = look(shop)
    assert (standing.labels, standing.reasons) == (19, ())
    assert turn(shop) == []
    label(shop, 5, source="judge")  # a judge is no person
    assert look(shop)[0].labels == 19
    label(shop, 3, business=True)  # known by the case, joined late; two of them are spoken of already
    assert look(shop)[0].labels == 19
    label(shop, 20)
    (done,) = turn(shop)
    assert done["why"] == ["20 labels since the last run"]
    job = shop.store.jobs.get(done["job"])
    assert (job.kind, job.task, job.who, job.state) == ("learn", "desk", "wheel", "queued")
    assert turn(shop) == []
    (standing,) = look(shop)
    assert (standing.labels, standing.runs_today) == (0, 1)
    assert "a run is under way" in standing.held


def test_bounds_of_runs_and_money_hold_it(live):
    shop = live(after_labels=1, budget_per_month=10.0, most_runs_per_day=1)
    book(shop, Booking("labelling", "desk", money=10.5))
    label(shop, 2)
    (standing,) = look(shop, task="desk")
    assert standing.reasons == ("2 labels since the last run",)
    assert standing.spent == pytest.approx(10.5, abs=0.1)
    assert "the budget is 10.00" in standing.held[0]
    assert turn(shop) == []
    book(shop, Booking("adjustment", "desk", money=-5.0))
    assert len(turn(shop)) == 1


def test_a_schedule_comes_round(live):
    shop = live(schedule="0 3 * * *")
    (standing,) = look(shop)
    assert standing.next_time is not None
    assert 0 < standing.next_time - time.time() <= 86_400
    assert standing.reasons == ()
    (later,) = look(shop, now=standing.next_time + 1)
    assert later.reasons == ("the schedule '0 3 * * *' says so",)


def test_an_unknown_task_is_named(live):
    with pytest.raises(NotFoundError, match="'dask'"):
        look(live(), task="dask")


@pytest.mark.parametrize("schedule", ["0 3 * *", "61 * * * *", "every night", "* * * * * *", "0 0 31 2 *"])
def test_a_schedule_that_names_no_time_is_refused(schedule):
    from sartor.core.errors import AskError
    from sartor.pipeline.check import check_plugins

    with pytest.raises(AskError, match=r"can't be read|no day that ever comes") as refused:
        check_plugins(Task.model_validate({**BODY, "wheel": {"schedule": schedule}}))
    assert refused.value.code == "bad_schedule"


def test_a_job_that_failed_for_good_is_news(shop, rows_folder):
    from sartor.core.jobs import JobRequest
    from sartor.pipeline.notify import list_notices
    from sartor.pipeline.work import run_here

    hook = {"webhook": "https://ops.example.org/x", "secret": "HOOK"}
    run(shop, Task.model_validate({**BODY, "wheel": {"notify": [hook]}}), rows_folder)
    wrong = JobRequest(kind="run", args={"task": "name: other\n", "folder": str(rows_folder)}, task="desk")
    assert run_here(shop, wrong).state == "failed"
    (notice,) = list_notices(shop, task="desk")
    assert notice["what"] == "sartor.failed"
    assert "run of 'desk' is failed" in notice["title"]
