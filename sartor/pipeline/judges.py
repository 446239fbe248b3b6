"""Judges of a task: measured on people's answers, asked about the rest, watched, and their error kept in every figure.

A verdict is feedback of the source `judge` (metric `correct`), so that it lies where all words about an answer lie. It
counts for nothing until the judge has been measured on enough of people's answers, and no longer once it has changed.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import eq
from typing import Any

import numpy as np

from sartor.core.canonical import digest
from sartor.core.errors import AskError, NotFoundError, unknown
from sartor.core.predict import Predictor
from sartor.core.records import Metric, Report
from sartor.core.route import Upstream
from sartor.core.task import Task
from sartor.core.traffic import Feedback
from sartor.core.wheel import JudgePick
from sartor.data.kind import kind_of
from sartor.evaluation.judged_intervals import Golden, Interval, Measured, measure, share_right
from sartor.feedback.drift import Alarm, Series, alarms, look
from sartor.feedback.judging import Bench, Case, Opinion, open_judge
from sartor.pipeline.bookings import Booking, book
from sartor.pipeline.canary import terms_now
from sartor.pipeline.declared import UPSTREAM
from sartor.pipeline.judge_cases import Known, case_of, known_of, row_cases
from sartor.pipeline.serve import Handles, contract_of, variant_named
from sartor.pipeline.upstreams import open_declared, shown_upstream
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import LIVE

BATCH = 32
"""Answers that a judge is asked about before its cost is looked at."""
WINDOW = 50
"""Answers of people that a judge's later verdicts are compared with."""
DISAGREED = 20
"""Ids that are shown."""


@dataclass(frozen=True)
class Judged:
    """What a judge was asked about, and what it took."""

    task: str
    judge: str
    asked: int
    right: int
    wrong: int
    no_verdict: dict[str, int]
    """Why -> how often."""
    without_content: int
    cost: float
    """Money, in the currency of the books; booked as `judge`."""
    stopped: str = ""
    """Why it did not go on: `limit`, `budget`."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def judge(
    shop: Workshop,
    task: str,
    name: str,
    *,
    since: float = 0.0,
    limit: int = 1000,
    budget: float | None = None,
) -> Judged:
    """Ask a judge about answers that neither people nor it have looked at, the newest first.

    Args:
        since: seconds since 1970.
        limit: most answers.
        budget: money at which it stops; what was asked by then is kept.

    Raises:
        NotFoundError: no such task, judge, or model that the judge names.
    """
    desk = _desk(shop, task, name)
    waiting = [one for one in reversed(known_of(shop, task, since)) if one.truth is None and name not in one.opinions]
    return _ask(desk, waiting, limit, budget)


def measure_judge(shop: Workshop, task: str, name: str, *, limit: int = 1000, rows: bool = False) -> Report:
    """Hold a judge against people's verdicts on the same answers; it is asked where it has not been yet.

    Args:
        limit: most answers that it is asked about for that.
        rows: the live variant's answers on the labelled validation rows count too.

    Raises:
        NotFoundError: no such task, judge, or model that the judge names.
        AskError: there is nothing that people have looked at.
    """
    desk = _desk(shop, task, name)
    _ask(desk, [one for one in known_of(shop, task) if one.truth is not None and name not in one.opinions], limit, None)
    pairs = _pairs(known_of(shop, task), name)
    asked = _on_rows(desk, limit) if rows else []
    if not pairs and not asked:
        raise AskError(
            f"Nobody has said yet whether answers of '{task}' were right, where '{name}' could say so too. Label some: "
            f"sartor label {task}. Or measure it on validation rows: --rows.",
            code="no_golden",
        )
    report = _report(desk, pairs, asked)
    shop.store.ledger.put(report)
    return report


def measured(shop: Workshop, task: str, name: str) -> Report | None:
    """The newest measurement of a judge as it is declared now; None where there is none."""
    desk = _desk(shop, task, name, opened=False)
    for report in shop.store.ledger.find(Report, purpose="judge", task=task, subject=f"judge:{name}"):
        if report.facts["settings"] == desk.pick.model_dump(mode="json"):
            return report
    return None


def counting(shop: Workshop, task: str) -> tuple[str, ...]:
    """Judges of a task whose word counts now."""
    contract = Task.model_validate(contract_of(shop, task).contract)
    found = [(pick.name, measured(shop, task, pick.name)) for pick in contract.judges]
    return tuple(name for name, report in found if report is not None and report.facts["counts"])


def status(shop: Workshop, task: str) -> list[dict[str, Any]]:
    """Every judge of a task: what it is worth, whether it counts, and how many answers are right by what it says.

    Raises:
        NotFoundError: no such task.
    """
    contract = Task.model_validate(contract_of(shop, task).contract)
    known = known_of(shop, task)
    return [_stands(shop, task, pick, known) for pick in contract.judges]


def _stands(shop: Workshop, task: str, pick: JudgePick, known: Sequence[Known]) -> dict[str, Any]:
    report, name = measured(shop, task, pick.name), pick.name
    given = [one.opinions[name] for one in known if one.truth is None and name in one.opinions]
    verdicts = [right for at, right in given if at >= (report.facts["since"] if report else 0.0)]
    shown: dict[str, Any] = {
        "judge": pick.name,
        "use": pick.use,
        "measured": report.digest if report else None,
        "counts": bool(report and report.facts["counts"]),
        "why": list(report.facts["why"]) if report else [f"not measured: sartor judge measure {task} {pick.name}"],
        "metrics": {name: metric.model_dump(mode="json") for name, metric in report.metrics.items()} if report else {},
        "judged": len(verdicts),
        "judged_right": sum(verdicts),
        "right": None,
        "doubted": [one.id for one in reversed(known) if _doubts(one, pick.name)][:DISAGREED],
    }
    if report is None or not shown["counts"]:
        return shown
    drawn = Golden(**report.facts["random"])
    random = drawn.n >= pick.min_golden
    golden = drawn if random else Golden(**report.facts["golden"])
    corrected = share_right(sum(verdicts), len(verdicts), golden, random_sample=random)
    return shown | {"right": corrected.body() if corrected else None}


def _doubts(one: Known, name: str) -> bool:
    """Whether a judge calls wrong what people call right or have not looked at; or right what they call wrong."""
    opinion = one.opinions.get(name)
    return opinion is not None and (opinion[1] != one.truth if one.truth is not None else not opinion[1])


@dataclass(frozen=True)
class _Desk:
    """A judge of a task, ready to be asked."""

    shop: Workshop
    task: Task
    pick: JudgePick
    labels: tuple[str, ...]
    bench: Bench

    def ask(self, cases: Sequence[Case]) -> list[Opinion]:
        """Its opinions; models are opened and left again within this call."""

        async def asked() -> list[Opinion]:
            return await open_judge(self.pick.use, self.pick.settings, self.bench).judge(cases)

        return asyncio.run(asked())


def _desk(shop: Workshop, name: str, judge_name: str, *, opened: bool = True) -> _Desk:
    task = Task.model_validate(contract_of(shop, name).contract)
    picks = {pick.name: pick for pick in task.judges}
    if judge_name not in picks:
        if not picks:
            raise NotFoundError(
                f"The task '{name}' has no judges. Name one in its file: judges: [{{use: llm, name: {judge_name}, "
                "model: UPSTREAM}].",
                code="no_judges",
                param="judge",
            )
        raise unknown("judge", judge_name, picks, param="judge")
    live = shop.store.ledger.resolve(name + LIVE)
    labels = variant_named(shop, live.digest).labels if live else task.labels
    handles = Handles(shop)

    def model(wanted: str) -> Predictor:
        if shop.store.ledger.resolve(wanted + UPSTREAM) is None:
            return handles.resolve(wanted).predictor
        spec = {k: v for k, v in shown_upstream(shop, wanted).items() if k in Upstream.model_fields}
        return open_declared(shop, Upstream.model_validate(spec), clock=time.monotonic)

    written = kind_of(task).written
    terms = terms_now(shop, name)[1] if written and opened else None
    bench = Bench(task.name, task.description, model, written, terms.judging.same if terms else eq)
    desk = _Desk(shop, task, picks[judge_name], labels, bench)
    if opened:
        desk.ask([])  # what is not there, or does not fit, is told before anything is paid for
    return desk


def _ask(desk: _Desk, waiting: Sequence[Known], limit: int, budget: float | None) -> Judged:
    """Ask about answers and keep the verdicts, batch by batch."""
    shop, name = desk.shop, desk.pick.name
    asked = lost = 0
    opinions: list[Opinion] = []
    stopped, cost = "", 0.0
    places = iter(waiting)
    while not stopped:
        batch: list[tuple[Known, Case]] = []
        for one in places:
            case = case_of(shop, desk.task, one, desk.labels)
            if case is None:
                lost += 1
                continue
            batch.append((one, case))
            if len(batch) == min(BATCH, limit - asked):
                break
        if not batch:
            break
        found = desk.ask([case for _, case in batch])
        _keep(desk, [(one, opinion) for (one, _), opinion in zip(batch, found, strict=True)])
        asked, opinions, cost = asked + len(batch), opinions + found, cost + sum(opinion.cost for opinion in found)
        shop.progress(f"judge {name}", asked, min(limit, len(waiting)))
        stopped = "limit" if asked >= limit else "budget" if budget is not None and cost >= budget else ""
    if cost > 0:
        book(shop, Booking("judge", task=desk.task.name, money=cost, note=f"{name}: {asked} answers"))
    none = [opinion.why or "none" for opinion in opinions if opinion.right is None]
    right, wrong = (sum(opinion.right is said for opinion in opinions) for said in (True, False))
    counts = {why: none.count(why) for why in sorted(set(none))}
    return Judged(desk.task.name, name, asked, right, wrong, counts, lost, cost, stopped)


def _keep(desk: _Desk, found: Iterable[tuple[Known, Opinion]]) -> None:
    """Verdicts as feedback: where one is, the labelling queue and the harvest see it."""
    traffic, name = desk.shop.store.traffic, desk.pick.name
    log = traffic.log("judge")
    try:
        for one, opinion in found:
            if opinion.right is None:
                continue
            ident = digest({"exchange": one.id, "judge": name, "settings": desk.pick.model_dump(mode="json")})
            tags = {"task": desk.task.name} | ({"label": opinion.label} if opinion.label else {})
            said = Feedback(
                f"jd-{ident[:24]}", time.time(), one.tenant, "correct", opinion.right, exchange=one.id,
                source="judge", source_id=name, rationale=opinion.why, tags=tags,
            )  # fmt: skip
            log.append_feedback(said, sync=False)
        log.flush()
    finally:
        log.close()
    traffic.index.catch_up()


def _pairs(known: Sequence[Known], name: str) -> list[tuple[Known, bool]]:
    """Answers on which both people and the judge have spoken, in the order in which the later of them did."""
    both = [one for one in known if one.truth is not None and name in one.opinions]
    both.sort(key=lambda one: (max(one.told, one.opinions[name][0]), one.id))
    return [(one, one.opinions[name][1]) for one in both]


def _on_rows(desk: _Desk, limit: int) -> list[tuple[bool, bool]]:
    """(truth, verdict) on validation rows."""
    live = desk.shop.store.ledger.resolve(desk.task.name + LIVE)
    if live is None:
        return []
    cases = row_cases(desk.shop, desk.task, variant_named(desk.shop, live.digest))[:limit]
    opinions: list[Opinion] = []
    for start in range(0, len(cases), BATCH):
        opinions += desk.ask([case for case, _ in cases[start : start + BATCH]])
    cost = sum(opinion.cost for opinion in opinions)
    if cost > 0:
        book(desk.shop, Booking("judge", task=desk.task.name, money=cost, note=f"{desk.pick.name}: measured on rows"))
    return [
        (truth, opinion.right) for (_, truth), opinion in zip(cases, opinions, strict=True) if opinion.right is not None
    ]


def _report(desk: _Desk, pairs: Sequence[tuple[Known, bool]], rows: Sequence[tuple[bool, bool]]) -> Report:
    changed = _changed(desk, pairs)
    since = changed[-1].since if changed else 0.0
    # What it was worth before it changed says nothing any more.
    pairs = [pair for pair in pairs if pair[0].told >= since]
    verdicts = [(bool(one.truth), said) for one, said in pairs]
    golden = _golden([*verdicts, *([] if changed else rows)])
    drawn = _golden([pair for pair, (one, _) in zip(verdicts, pairs, strict=True) if one.random])
    worth = measure(golden)
    why = list(_against(desk.pick, golden, worth, changed))
    facts = {
        "judge": desk.pick.name,
        "settings": desk.pick.model_dump(mode="json"),
        "golden": asdict(golden),
        "random": asdict(drawn),
        "from_rows": len(rows),
        "since": since,
        "counts": not why,
        "why": why or [f"measured on {golden.n:,} of people's answers"],
        "alarms": [alarm.body() for alarm in changed],
        "disagrees": [one.id for one, said in pairs if said != one.truth][-DISAGREED:],
    }
    metrics = {name: _metric(figure, golden.n) for name, figure in vars(worth).items() if name != "golden"}
    return Report(
        purpose="judge", subject=f"judge:{desk.pick.name}", title=desk.pick.name, task=desk.task.name,
        metrics=metrics, facts=facts,
    )  # fmt: skip


def _golden(pairs: Sequence[tuple[bool, bool]]) -> Golden:
    return Golden.of(np.array([t for t, _ in pairs], dtype=float), np.array([s for _, s in pairs], dtype=float))


def _metric(figure: Interval | None, n: int) -> Metric:
    if figure is None:
        return Metric(value=None, n=n, note="there was nothing to measure it on")
    return Metric(value=figure.value, low=figure.low, high=figure.high, n=n)


def _against(pick: JudgePick, golden: Golden, worth: Measured, changed: Sequence[Alarm]) -> Iterable[str]:
    """Why its word does not count."""
    if golden.n < pick.min_golden:
        since = f" since it has changed ({changed[-1].says})" if changed else ""
        yield f"measured on {golden.n:,} of people's answers{since}; it takes {pick.min_golden:,}"
    if worth.informedness is None:
        kind = "right" if worth.sensitivity is None else "wrong"
        yield f"people have called no answer {kind} that it was asked about, so nobody knows what it says of such"
    elif worth.informedness.value < pick.min_informedness:
        yield (
            f"its informedness is {worth.informedness.value:.2f} ({worth.informedness.low:.2f} to "
            f"{worth.informedness.high:.2f}); it takes {pick.min_informedness:.2f}"
        )


def _changed(desk: _Desk, pairs: Sequence[tuple[Known, bool]]) -> list[Alarm]:
    """Whether it has become another judge: its verdicts on right and on wrong answers, each over time."""
    series = []
    for truth, view in ((True, "sensitivity"), (False, "specificity")):
        mine = [(one, said == truth) for one, said in pairs if one.truth is truth]
        values = np.array([said for _, said in mine], dtype=np.float64)
        at, ids = np.array([one.told for one, _ in mine]), [one.id for one, _ in mine]
        series.append(Series("judge", view, values[:WINDOW], values[WINDOW:], ids[WINDOW:], at[WINDOW:]))
    return alarms(look(series, desk.task.drift.false_alarm, WINDOW))


def shown(report: Report) -> Mapping[str, Any]:
    """A measurement as JSON."""
    return report.model_dump(mode="json") | {"digest": report.digest}
