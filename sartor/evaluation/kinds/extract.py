"""JSON objects: judged value by value, each by what its field costs when it is wrong, missed or invented."""

from collections.abc import Callable, Mapping
from typing import Any

from sartor.core.claims import field_of, fields_of, leaves, parse, tidy
from sartor.core.errors import AskError
from sartor.core.pairing import pairs
from sartor.core.rows import Snapshot
from sartor.core.shelf import plugin
from sartor.core.stating import Pricing, pricing_of
from sartor.core.task import Task
from sartor.evaluation.asking import with_target
from sartor.evaluation.extraction import counted, published, strict
from sartor.evaluation.terms import Terms
from sartor.evaluation.written import Assess, Assessed, Written

REPEATED = 20
"""Values that a repeated field is taken to have at most, for the greatest loss of one row where no row is known."""
BESIDE = 2.0
"""Times what the dearest row that is known could lose: all its values wrong, and as many invented beside them."""


@plugin
def extract(task: Task, snapshot: Snapshot) -> Terms:
    """The terms of a contract on a data set."""
    pricing = pricing_of(task.value)
    most = _most(pricing, snapshot) or _most_by_schema(task, pricing)
    written = Written(_assessor(task, pricing), pricing, most, parts=_fields)
    return Terms.of_written(task, with_target(task, snapshot, written))


def _most(pricing: Pricing, snapshot: Snapshot) -> float:
    """The most that an answer to a row like those of training and validation is taken to lose; 0 without rows."""
    rows = [row for split in ("train", "validation") for row in snapshot.splits[split] if row.label]
    each = [sum(max(pricing.of(name)) for name in _fields(row.label or "")) for row in rows]
    return BESIDE * max(each, default=0.0)


def _most_by_schema(task: Task, pricing: Pricing) -> float:
    names = [name for name, _ in fields_of(task.answer.json_schema)] or [""]
    return sum(max(pricing.of(name)) * (REPEATED if "[]" in name else 1) for name in names)


def _assessor(task: Task, pricing: Pricing) -> Assess:
    schema, nothing = task.answer.json_schema, task.answer.nothing
    read = _reader(schema, nothing)

    def assess(truth: str, said: str | None) -> Assessed:
        """An answer that is no JSON object says nothing."""
        right, given = read(truth), {} if said is None else read(said)
        found = pairs(right, given or {})
        mistakes = []
        for pair in found:
            if pair.verdict != "right":
                wrong, missed, invented = pricing.of(pair.field)
                cost = {"wrong": wrong, "missed": missed, "invented": invented}[pair.verdict]
                mistakes.append((pair.field, f"({pair.verdict})", cost))
        fields = counted(found)
        counts = tuple(n for c in (strict(fields), published(fields)) for n in (c.right, c.wrong, c.missed, c.invented))
        whole = not mistakes and said is not None
        lost = pricing.right if whole else sum(cost for _, _, cost in mistakes)
        if said is None and not mistakes:
            lost = pricing.every[1]
        return Assessed(float(whole), lost, counts, {}, tuple(mistakes))

    return assess


def _fields(said: str) -> list[str]:
    """The field of each value."""
    try:
        return [field_of(path) for path, _ in leaves(parse(said))]
    except AskError:
        return []


def _reader(schema: Mapping[str, Any], nothing: tuple[str, ...]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return tidy(parse(text), schema, nothing)
        except AskError:
            return None

    return read
