"""Watch a task's traffic for drift since the live variant's release: inputs, answers, and what became of them.

Nothing is remembered between two looks but what can be made again: every look reads the traffic index, and what is
watched of each input is kept by content, block by block. What is compared: the variant's validation rows for inputs
and answers; the first window that was told for feedback and value, which rows do not have.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np

from sartor.core.errors import NotFoundError
from sartor.core.predict import Floats
from sartor.core.records import Dataset, Report, Variant
from sartor.core.rows import Snapshot
from sartor.core.task import Task
from sartor.evaluation.answers import Answers
from sartor.evaluation.terms import Terms
from sartor.feedback.drift import Alarm, Series, Watched, alarms, look
from sartor.pipeline.answer import answer, read_answers
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.drift_prior import shift_of
from sartor.pipeline.drift_views import OUT_OF_SCOPE, STRANGENESS, STRONG, Seen, Sighted, seen_of, sight_of
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.notify import tell
from sartor.pipeline.serve import contract_of, variant_named
from sartor.pipeline.terms import terms_of
from sartor.pipeline.told import Told, told_since
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import LIVE, task_names
from sartor.store.traffic.queries import Filters

OTHER = "other"
LEAST = 50
"""Reference rows of a slice that is watched apart."""


@dataclass(frozen=True)
class Board:
    """How a task stands."""

    task: str
    variant: str
    since: float
    """When the live variant was released, in seconds since 1970."""
    requests: int
    false_alarm: float
    watched: tuple[Watched, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    reports: tuple[str, ...] = ()
    """Digest of each alarm's report."""
    prior: dict[str, Any] | None = None
    """What the labels' shares are since the answers changed, and whether they explain it (`drift_prior.Shift`)."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Place:
    """What is watched, and what it is compared with."""

    shop: Workshop
    task: Task
    variant: Variant
    dataset: Dataset
    snapshot: Snapshot
    terms: Terms
    since: float
    answers: Answers = field(repr=False)
    """On the validation rows."""


def watch(shop: Workshop, task: str) -> list[Alarm]:
    """All alarms since the live variant's release, the oldest first; each is kept as a report. None live: none.

    Raises:
        NotFoundError: no such task was ever run.
    """
    contract_of(shop, task)
    return list(board(shop, task).alarms) if shop.store.ledger.resolve(task + LIVE) else []


def board(shop: Workshop, task: str) -> Board:
    """How everything that is watched stands.

    Raises:
        NotFoundError: no such task, or nothing of it is live.
    """
    place = _open(shop, task)
    shop.store.traffic.index.catch_up()
    seen = seen_of(shop, place.task, place.variant, place.since)
    spec = place.task.drift
    sight = sight_of(place.task, place.variant, place.dataset, place.snapshot)
    sighted = sight.of_traffic(shop, seen) if spec.slices or {"input", "out_of_scope"} & set(spec.watch) else None
    rows = sight.of_rows(place.answers)
    found = look(_series(place, seen, sighted, rows, sight.names), spec.false_alarm, spec.window)
    told = alarms(found)
    shift = shift_of(told, seen, sighted, rows, sight.names, place.answers, place.terms) if sighted else None
    return Board(
        task=task,
        variant=place.variant.digest,
        since=place.since,
        requests=len(seen),
        false_alarm=spec.false_alarm,
        watched=tuple(found),
        alarms=tuple(told),
        reports=tuple(_kept(place, alarm) for alarm in told),
        prior=shift.body() if shift else None,
    )


def watch_live(shop: Workshop, known: dict[str, tuple[str, int, int]]) -> list[Alarm]:
    """The alarms of every live task of which there is something new.

    Args:
        known: how each stood when it was last looked at; kept up here.
    """
    index, found = shop.store.traffic.index, list[Alarm]()
    index.catch_up()
    for pointer in [shop.store.ledger.resolve(name + LIVE) for name in task_names(shop.store.ledger)]:
        if pointer is None:
            continue
        name, since = pointer.name.removesuffix(LIVE), datetime.fromisoformat(pointer.moved).timestamp()
        count = sum(row["count"] for row in index.totals(None, (), Filters(task=name, since=since)))
        stands = (pointer.digest, count, index.feedback_count())
        if count and known.get(name) != stands:
            found += watch(shop, name)
            known[name] = stands
    return found


def _open(shop: Workshop, name: str) -> _Place:
    task = Task.model_validate(contract_of(shop, name).contract)
    pointer = shop.store.ledger.resolve(name + LIVE)
    if pointer is None:
        raise NotFoundError(
            f"Nothing of '{name}' is live, so that nothing can have changed since. Release it: sartor run task.yaml",
            code="nothing_live",
            param="task",
        )
    variant = variant_named(shop, pointer.digest)
    dataset: Any = shop.store.ledger.get(variant.data)
    snapshot = open_dataset(shop, dataset)
    kept = answer(shop, EmbeddingCache(shop), variant, dataset, snapshot, "validation", task.data.slices)
    terms = terms_of(task, snapshot)
    answers = terms.judging.redecide(read_answers(shop, kept))
    since = datetime.fromisoformat(pointer.moved).timestamp()
    return _Place(shop, task, variant, dataset, snapshot, terms, since, answers)


def _kept(place: _Place, alarm: Alarm) -> str:
    """The report of an alarm: made and told once, though feedback that comes late may move its figures a little."""
    shop, name = place.shop, place.task.name
    title = f"{alarm.watched}/{alarm.view}/{alarm.slice}/{alarm.number}"
    before = shop.store.ledger.find(Report, purpose="drift", task=name, subject=place.variant.digest, limit=1000)
    for report in before:
        if report.title == title and report.facts["released"] == place.since:
            return report.digest
    facts = {"alarms": [alarm.body()], "released": place.since}
    report = Report(
        purpose="drift", subject=place.variant.digest, title=title, task=name, data=place.dataset.digest, facts=facts
    )
    digest = shop.store.ledger.put(report)
    tell(shop, place.task, "drift", f"{name}: {alarm.says}", of=digest, report=digest, chance=alarm.chance)
    if place.task.wheel.on_drift == "label":
        says = f"{name} has drifted ({alarm.says}). Five minutes of labelling would tell more: sartor label {name}"
        tell(shop, place.task, "labels", says, of=digest, report=digest, examples=list(alarm.examples))
    return digest


def _series(
    place: _Place, seen: Sequence[Seen], sighted: Sighted | None, rows: Floats, names: Sequence[str]
) -> list[Series]:
    """Which ones there are depends on the task alone, never on the traffic."""
    wanted, made = place.task.drift.watch, list[Series]()
    if {"answers", "confidence"} & set(wanted):
        made += _of_answers(place, seen, sighted)
    if sighted is not None:
        made += _of_inputs(place, seen, sighted, rows, names)
    if {"feedback", "value"} & set(wanted):
        told = told_since(place.shop, place.task, place.terms, place.variant.digest, place.since)
        made += _of_told(told, place.task.drift.window)
    return [one for one in made if one.watched in wanted]


def _of_answers(place: _Place, seen: Sequence[Seen], sighted: Sighted | None) -> list[Series]:
    answers, judging = place.answers, place.terms.judging
    mine = [one for one in seen if one.label is not None and one.confidence is not None and judging.can_be(one.label)]
    at, ids = np.array([one.at for one in mine]), [one.id for one in mine]
    rows = np.flatnonzero(answers.answer >= 0)
    learnt = [row.label for row in place.snapshot.splits["train"] if row.label is not None]
    usual, given = judging.texts(answers)[1][rows].tolist(), [str(one.label) for one in mine]
    found = [
        Series("answers", look.title, look.usual, look.given, ids, at, names=look.names, usual=look.learnt)
        for look in judging.looks(learnt, usual, given)
    ]
    chances = judging.chances(answers)
    if chances is not None:
        # Rounded, since batches of other sizes differ in the last digits.
        sure = np.round(np.array([one.confidence for one in mine], dtype=np.float64), 4)
        found.append(Series("confidence", "confidence of the answer", np.round(chances[rows], 4), sure, ids, at))
    whole = len(found)
    for column in place.task.drift.slices:
        assert sighted is not None
        value_of = dict(zip(sighted.ids, sighted.columns[column], strict=True))
        found += _apart(found[:whole], column, _row_values(place, column)[rows], [value_of.get(id_) for id_ in ids])
    return found


def _of_inputs(
    place: _Place, seen: Sequence[Seen], sighted: Sighted, rows: Floats, names: Sequence[str]
) -> list[Series]:
    when = {one.id: one.at for one in seen}
    at, ids = np.array([when[id_] for id_ in sighted.ids]), sighted.ids
    found = [
        Series(
            "out_of_scope" if name == OUT_OF_SCOPE else "input",
            name,
            rows[:, i],
            sighted.values[:, i],
            ids,
            at,
            weight=STRONG if name == STRANGENESS else 1,
        )
        for i, name in enumerate(names)
    ]
    whole = len(found)
    for column in place.task.drift.slices:
        found += _apart(found[:whole], column, _row_values(place, column), sighted.columns[column])
    return found


def _of_told(told: Sequence[Told], begin: int) -> list[Series]:
    """Feedback and value, in the order in which they were told; compared with the first of them."""
    found = []
    for watched, view in (("feedback", "share of right answers"), ("value", "money lost")):
        known = [one for one in told if (one.right if watched == "feedback" else one.lost) is not None]
        values: Floats = np.array([one.right if watched == "feedback" else one.lost for one in known], dtype=np.float64)
        at, ids = np.array([one.at for one in known]), [one.id for one in known]
        found.append(Series(watched, view, values[:begin], values[begin:], ids[begin:], at[begin:]))
    return found


def _row_values(place: _Place, column: str) -> Any:
    rows = {row.id: row for row in place.snapshot.splits["validation"]}
    found = [rows[id_] for id_ in place.answers.ids.tolist()]
    return np.array([row.inputs.get(column, row.extra.get(column, "")) for row in found], dtype=object)


def _apart(found: Sequence[Series], column: str, rows: Any, stream: Sequence[str | None]) -> list[Series]:
    """Series of each value of a column that the rows have often enough, and of all others together."""
    names, counts = np.unique(rows.astype(str), return_counts=True)
    often = [str(name) for name, count in zip(names, counts, strict=True) if count >= LEAST]
    known = set(often)
    mine = np.array([value if value in known else OTHER for value in rows.astype(str)], dtype=object)
    theirs = np.array([value if value in known else OTHER for value in stream], dtype=object)
    made = []
    for one in found:
        for value in [*often, OTHER]:
            kept = np.flatnonzero(theirs == value).tolist()
            part = replace(one, stream=one.stream[kept], ids=[one.ids[i] for i in kept], times=one.times[kept])
            made.append(replace(part, reference=one.reference[mine == value], slice=f"{column}={value}"))
    return made
