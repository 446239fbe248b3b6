"""`sartor learn`: what traffic taught becomes a candidate that is held against what is live, on the standing test.

Harvest, data set, strategy, candidates, inspection, suites, decision; then the policy says whether it goes live by
itself or waits for people. The rows come from the live variant's data set and from the traffic log, so that a worker
needs no source files. Each step is found or done; a killed run goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from sartor.core.errors import AskError, RefusedError, unknown
from sartor.core.jobs import Context
from sartor.core.records import Artifact, Dataset, Decision, Variant
from sartor.core.rows import Snapshot
from sartor.core.section import Pick
from sartor.core.task import Task
from sartor.evaluation.wanting import Wanted, wanted
from sartor.pipeline.approvals import let_live
from sartor.pipeline.check import check_plugins
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.harvest import harvest
from sartor.pipeline.here import Here
from sartor.pipeline.inspect import Hall, answers_behind
from sartor.pipeline.learning_data import learning_dataset
from sartor.pipeline.notify import What, tell
from sartor.pipeline.outcome import Inspected, Outcome, Verdict
from sartor.pipeline.run import RunResult, hall_on, told
from sartor.pipeline.run_job import Walk
from sartor.pipeline.serve import contract_of, variant_named
from sartor.pipeline.strategy_choice import Choice, choose
from sartor.pipeline.suites import standing_report
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import LIVE, is_retired, register_many, task_names

MAY: Final = ("label_without_rows", "no_floor")
"""What is no error here: a label that is new has no rows before somebody asked for it; and a contract that comes from
the ledger can't tell a floor that was named from the one that is meant where none was."""
State = Literal["released", "waiting", "held", "need_data", "nothing_new"]


@dataclass(frozen=True)
class Learned:
    """What a run of learning found, made and decided."""

    task: str
    state: State
    says: str
    """In plain words, with what to do next."""
    harvest: Mapping[str, Any]
    """Its figures."""
    data: str
    """Digest of the data set that was learned from."""
    new_rows: int
    """Training rows that the live variant was not made from."""
    strategy: Choice | None = None
    """None where nothing was made."""
    result: RunResult | None = None
    suites: tuple[Mapping[str, Any], ...] = ()
    """Every standing suite, candidate against live, the most suspect first."""
    wanted: tuple[Wanted, ...] = field(default=())
    """Labels of which more rows would settle the decision."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        choice = self.strategy
        return {
            "task": self.task,
            "state": self.state,
            "says": self.says,
            "harvest": dict(self.harvest),
            "data": self.data,
            "new_rows": self.new_rows,
            "strategy": None if choice is None else _shown(choice),
            "suites": [dict(suite) for suite in self.suites],
            "wanted": [asdict(one) for one in self.wanted],
            "run": None if self.result is None else self.result.body(),
        }


def _shown(choice: Choice) -> dict[str, Any]:
    money = {name: metric.model_dump(mode="json") for name, metric in choice.money.items()}
    return {
        "use": choice.use,
        "says": choice.says,
        "money_per_1000": money,
        "skipped": dict(choice.skipped),
        "report": choice.report,
    }


def learn(
    shop: Workshop,
    task: Task | None,
    name: str,
    *,
    context: Context | None = None,
    strategies: Sequence[Pick] | None = None,
) -> Learned:
    """Learn from what the task's traffic brought since the live variant was made.

    Args:
        task: another contract than the one that is live: new labels, other candidates.
        name: of the task.
        strategies: instead of the task's.

    Raises:
        NotFoundError: no such task was ever run, or nothing of it is live.
        AskError: the task does not fit its rows; every error is named.
    """
    context = context or Here()
    live, task = beginning(shop, task, name, context)
    base = shop.store.ledger.get(live.data)
    assert isinstance(base, Dataset)
    data, taught = rows_of(shop, context, task, base)
    place = hall_on(shop, task, data, may=MAY)
    before = set(row_ids(shop, base))
    new = [row.id for row in place.snapshot.splits["train"] if row.id not in before]
    if not _changed(shop, place, live, base, new):
        says = "Nothing was learned: there is no new row, and the task is what it was. Feedback brings new rows."
        return Learned(name, "nothing_new", says, dict(taught.facts), data.digest, 0)
    context.say(f"{name}: {len(new):,} new rows of {len(place.snapshot.splits['train']):,}")
    candidate = next((c for c in task.candidates if c.title == live.title), None)
    picks = task.learn.strategies if strategies is None else tuple(strategies)
    choice = Choice(None, "scratch", f"From scratch: no candidate is called '{live.title}', as what is live is.")
    if candidate is not None:
        context.step("choose a strategy", lambda: _shown(choose(place, candidate, live, picks)))
        choice = choose(place, candidate, live, picks)
    context.say(choice.says)
    return _made(context, place, live, choice, new, taught)


def beginning(shop: Workshop, task: Task | None, name: str, context: Context) -> tuple[Variant, Task]:
    """What is live as the run begins, and the contract to learn under.

    Raises:
        NotFoundError: nothing of the task is live.
        RefusedError: it is retired.
        AskError: the contract is of another task, or names what is not there.
    """
    if task is not None and task.name != name:
        raise AskError(
            f"The task file is of '{task.name}', not of '{name}'. Name the task that it is of.", param="task"
        )
    if is_retired(shop.store.ledger, name):
        raise RefusedError(f"Task '{name}' is retired. Bring it back: sartor registry rollback {name}", code="retired")
    pointer = shop.store.ledger.resolve(name + LIVE)
    if pointer is None or not pointer.digest:
        known = [known for known in task_names(shop.store.ledger) if shop.store.ledger.resolve(known + LIVE)]
        raise unknown("live task", name, known, param="task", code="nothing_live")
    task = task or Task.model_validate(contract_of(shop, name).contract)
    check_plugins(task)
    # Kept with the run: one that goes on after its own release still knows from what it started.
    begun = context.step("begin", lambda: {"live": pointer.digest})
    return variant_named(shop, str(begun["live"])), task


def rows_of(shop: Workshop, context: Context, task: Task, base: Dataset) -> tuple[Dataset, Artifact]:
    """The data set to learn from, and the harvest in it."""

    def gather() -> dict[str, str]:
        taught = harvest(shop, task)
        return {"harvest": taught.digest, "data": learning_dataset(shop, task, base, taught).digest}

    done = context.step("harvest", gather)
    taught, data = (shop.store.ledger.get(done[role]) for role in ("harvest", "data"))
    assert isinstance(taught, Artifact)
    assert isinstance(data, Dataset)
    return data, taught


def row_ids(shop: Workshop, dataset: Dataset) -> list[str]:
    """Ids of the training rows."""
    return [row.id for row in open_dataset(shop, dataset).splits["train"]]


def _changed(shop: Workshop, place: Hall, live: Variant, base: Dataset, new: Sequence[str]) -> bool:
    """Whether anything could come out otherwise than what is live."""
    if new or Task.model_validate(contract_of(shop, live.task).contract) != place.task:
        return True
    before = open_dataset(shop, base)
    return any(_taught(before, split) != _taught(place.snapshot, split) for split in ("train", "validation"))


def _taught(rows: Snapshot, split: str) -> set[tuple[str, str, str | None]]:
    """What bears on a model; not who said so, which a row that was given has no word of yet."""
    return {(row.id, row.text, row.label) for row in rows.splits[split]}


def _made(
    context: Context, place: Hall, live: Variant, choice: Choice, new: Sequence[str], taught: Artifact
) -> Learned:
    walk = Walk(place.shop, context, place.task)
    walk.place = place
    variants = walk.make({} if choice.onward is None else {live.title: choice.onward})
    found = walk.inspect(variants)
    verdict = walk.decide(variants, found, lambda variant: standing_report(place, variant, live))
    state, version = _settled(context, place, variants, verdict)
    outcome = Outcome(place, variants, found, verdict, version)
    more = _wanted(place, found, verdict)
    learned = Learned(
        task=place.task.name,
        state=state,
        says=_says(state, verdict, version, more),
        harvest=dict(taught.facts),
        data=place.dataset.digest,
        new_rows=len(new),
        strategy=choice,
        result=told(outcome),
        suites=_suites(place, verdict.decision),
        wanted=more,
    )
    context.say(learned.says)
    _tell(place, learned, verdict.decision)
    return learned


def _settled(context: Context, place: Hall, variants: dict[str, Variant], verdict: Verdict) -> tuple[State, str]:
    """Take the candidates in; release what may be, else let it wait. What became of it, and the version released."""
    shop, decision = place.shop, verdict.decision

    def work() -> dict[str, str]:
        versions = register_many(shop.store.ledger, list(variants.values()))
        version = next(v.name for v in versions if v.digest == decision.candidate)
        if decision.verdict != "ship":
            return {"state": "held" if decision.verdict == "hold" else "need_data", "version": ""}
        if not let_live(shop, place.task, decision):
            return {"state": "waiting", "version": ""}
        return {"state": "released", "version": version}

    done = context.step("release", work)
    return done["state"], str(done["version"])


def _tell(place: Hall, learned: Learned, decision: Decision) -> None:
    """Send the news to where the task wants it."""
    what: dict[str, What] = {"waiting": "approval", "need_data": "labels"}
    figures = {"state": learned.state, "verdict": decision.verdict, "decision": decision.digest}
    tell(
        place.shop,
        place.task,
        what.get(learned.state, "decision"),
        learned.says,
        of=decision.digest,
        candidate=decision.candidate,
        new_rows=learned.new_rows,
        **figures,
    )


def _wanted(place: Hall, found: Inspected, verdict: Verdict) -> tuple[Wanted, ...]:
    rows = verdict.decision.measured["rows_needed"]
    if verdict.decision.verdict != "need_data" or not rows:
        return ()
    sides = [answers_behind(place, report) for report in (found.test[verdict.title], verdict.incumbent)]
    return wanted(sides[0], sides[1], place.terms, int(rows))


def _says(state: State, verdict: Verdict, version: str, more: Sequence[Wanted]) -> str:
    reasons = verdict.decision.reasons
    if state == "released":
        return f"{version} is live: {reasons[0]}"
    if state == "waiting":
        return f"{verdict.title} passed the gate and waits for people: sartor approvals approve {verdict.decision.task}"
    if state == "need_data" and more:
        listed = ", ".join(f"{one.rows:,} of '{one.label}'" for one in more)
        total = sum(one.rows for one in more)
        return f"Need {total:,} more labelled rows to decide, most of all {listed}. {reasons[-1]}"
    return f"{verdict.title} is held: {reasons[0]}"


def _suites(place: Hall, decision: Decision) -> tuple[Mapping[str, Any], ...]:
    piece = decision.evidence.get("suites")
    return () if piece is None else tuple(place.shop.store.ledger.get(piece.digest).model_dump(mode="json")["slices"])
