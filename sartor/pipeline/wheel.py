"""When the wheel turns by itself: at set times, on enough labels, on drift; within the task's bounds of runs and money.

Looks only at what is on record, so that any number of servers may look at once: of two who find the same reason, one
submits the run and the other is given the same one. Does no work itself; jobs do.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sartor.core.jobs import JobRequest
from sartor.core.records import Report
from sartor.core.task import Task
from sartor.core.traffic import NANO
from sartor.pipeline.approvals import WAITING
from sartor.pipeline.bookings import Scope, entries
from sartor.pipeline.serve import contract_of
from sartor.pipeline.work import submit
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import LIVE, task_names

DAY = 86_400.0
LEARN = "learn"
WHO = "wheel"
"""Who has asked for what starts by itself."""


@dataclass(frozen=True)
class Standing:
    """How a task's wheel stands."""

    task: str
    since: float
    """When the live variant was released or the last run was asked for, whichever is later."""
    labels: int
    """Labels that people have given since."""
    drift: tuple[str, ...]
    """What has drifted since, in words."""
    next_time: float | None
    """When it turns by its schedule; None: at no set time."""
    runs_today: int
    spent: float
    """Money of this month, in the currency of the books."""
    waiting: bool
    """Whether a candidate waits for people."""
    reasons: tuple[str, ...]
    """Why it should turn now."""
    held: tuple[str, ...]
    """Why it does not, though there is a reason."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"turns": bool(self.reasons) and not self.held}


def look(shop: Workshop, *, task: str = "", now: float | None = None) -> list[Standing]:
    """How the wheel of a task stands, or of every task that is live; starts nothing.

    Raises:
        NotFoundError: no such task.
    """
    now = time.time() if now is None else now
    named = [_contract(shop, task)] if task else list(_live_tasks(shop))
    shop.store.traffic.index.catch_up()
    return [_look(shop, found, now) for found in named]


def turn(shop: Workshop, *, task: str = "", now: float | None = None) -> list[dict[str, Any]]:
    """Start what there is a reason for; what each task's wheel did, and why.

    Raises:
        NotFoundError: no such task.
    """
    done = []
    for standing in look(shop, task=task, now=now):
        if not standing.reasons or standing.held:
            continue
        job = submit(
            shop,
            JobRequest(
                kind=LEARN,
                args={"task": standing.task, "why": list(standing.reasons)},
                task=standing.task,
                once=f"{LEARN} {standing.task}",
                who=WHO,
            ),
        )
        done.append({"task": standing.task, "job": job.id, "why": list(standing.reasons)})
    return done


def _live_tasks(shop: Workshop) -> Iterator[Task]:
    ledger = shop.store.ledger
    for name in task_names(ledger):
        if ledger.resolve(name + LIVE):
            yield _contract(shop, name)


def _contract(shop: Workshop, name: str) -> Task:
    return Task.model_validate(contract_of(shop, name).contract)


def _look(shop: Workshop, task: Task, now: float) -> Standing:
    wheel, runs = task.wheel, shop.store.jobs.find(kind=LEARN, task=task.name, limit=100)
    since = max([_released(shop, task.name), *(run.created for run in runs)])
    labels = shop.store.traffic.index.labelled_since(None, task.name, since)
    drift = _drift(shop, task.name, since)
    due = next_due(wheel.schedule, since) if wheel.schedule else None
    reasons = [
        *([f"the schedule '{wheel.schedule}' says so"] if due is not None and due <= now else []),
        *([f"{labels:,} labels since the last run"] if wheel.after_labels and labels >= wheel.after_labels else []),
        *([f"drift: {what}" for what in drift] if wheel.on_drift == "learn" else []),
    ]
    today = sum(run.created > now - DAY for run in runs if run.who == WHO)
    spent = spent_since(shop, task.name, month_start(now))
    waiting = shop.store.ledger.resolve(task.name + WAITING)
    is_waiting = waiting is not None and waiting.digest is not None
    held = (
        _said(today >= wheel.most_runs_per_day, f"{today} runs in the last day; {wheel.most_runs_per_day} are allowed"),
        _over_budget(shop, wheel.budget_per_month, spent),
        _said(any(not run.has_ended for run in runs), "a run is under way"),
        _said(is_waiting, "a candidate waits for people"),
    )
    return Standing(
        task.name, since, labels, drift, due, today, spent, is_waiting, tuple(reasons), tuple(filter(None, held))
    )


def _said(true: bool, why: str) -> str:  # noqa: FBT001 - reads as a sentence
    return why if true else ""


def _over_budget(shop: Workshop, budget: float | None, spent: float) -> str:
    over = budget is not None and spent >= budget
    return _said(over, f"{spent:.2f} {shop.currency} are spent this month, and the budget is {budget or 0.0:.2f}")


def _released(shop: Workshop, name: str) -> float:
    """When what is live went live, in seconds since 1970."""
    live = shop.store.ledger.resolve(name + LIVE)
    return datetime.fromisoformat(live.moved).timestamp() if live else 0.0


def _drift(shop: Workshop, name: str, since: float) -> tuple[str, ...]:
    """What drift reports since then have raised alarms about."""
    reports = shop.store.ledger.find(Report, task=name, purpose="drift", limit=20)
    late = [r for r in reports if datetime.fromisoformat(r.created).timestamp() > since]
    said = [str(alarm.get("says", alarm.get("watch", ""))) for r in late for alarm in r.facts.get("alarms", ())]
    return tuple(dict.fromkeys(said))


def spent_since(shop: Workshop, name: str, since: float) -> float:
    """Money that a task's runs, labels and judges have cost since then, in the currency of the books."""
    found, _ = entries(shop, Scope(task=name, since=since))
    return sum(entry.money for entry in found) / NANO


def month_start(now: float) -> float:
    """The first moment of the calendar month, UTC."""
    at = datetime.fromtimestamp(now, UTC)
    return datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()


def next_due(schedule: str, after: float) -> float:
    """When a schedule comes round next.

    Raises:
        AskError: it can't be parsed.
        MissingExtraError: nothing here reads schedules.
    """
    from sartor.pipeline.schedule import next_time

    return next_time(schedule, after)
