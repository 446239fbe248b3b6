"""JSON objects: each row has one document that the task's schema describes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sartor.core.claims import as_text, field_of, fields_of, leaves, parse, tidy
from sartor.core.errors import AskError, nearest
from sartor.core.rows import SPLITS, Row, Snapshot
from sartor.core.shelf import plugin
from sartor.core.task import Task
from sartor.data.finding import Finding, absurd, listed
from sartor.data.json_schema import faults, misfits


@plugin
class Extract:
    """What a row's answer is, and what can be wrong with it."""

    written = True

    def truth(self, task: Task, cell: Any) -> str | None:
        """The document of a cell, a JSON object or its text, in canonical form; None for an empty cell.

        Text that is no JSON object is kept as it is: `check` names it.
        """
        if cell is None or cell == "":
            return None
        try:
            value = parse(cell) if isinstance(cell, str) else cell
        except AskError:
            return str(cell)
        return as_text(tidy(value, task.answer.json_schema, task.answer.nothing))

    def read(self, task: Task, text: str) -> str:
        """The document in canonical form.

        Raises:
            AskError: the text is no JSON object, or the schema does not know what it says.
        """
        schema = task.answer.json_schema
        found = tidy(parse(text), schema, task.answer.nothing)
        for field, what in misfits(found, schema):
            known = [name for name, _ in fields_of(schema)]
            near = nearest(field, [name.removesuffix("[]") for name in known])
            hint = f" Did you mean '{near}'?" if near and what == "unknown" else ""
            wrong = "is no field of the task's schema" if what == "unknown" else what
            raise AskError(
                f"The field '{field}' {wrong}.{hint} Fields: {listed(known)}.", param="value", code="unknown_field"
            )
        return as_text(found)

    def labels(self, task: Task, train: Sequence[Row]) -> tuple[str, ...]:  # noqa: ARG002 - the shelf's one signature
        """None: answers are written."""
        return ()

    def stratum(self, row: Row) -> str:  # noqa: ARG002 - the shelf's one signature
        """All rows are one."""
        return ""

    def counted(self, rows: Sequence[Row]) -> dict[str, int]:
        """Values of each field."""
        counts: Counter[str] = Counter()
        for row in rows:
            counts.update(field_of(path) for path, _ in _values(row))
        return dict(sorted(counts.items()))

    def stake(self, task: Task, snapshot: Snapshot) -> float:  # noqa: ARG002 - the shelf's one signature
        """Money between a right and a wrong value."""
        return abs(task.value.wrong - task.value.right)

    def check(self, task: Task, snapshot: Snapshot) -> Iterator[Finding]:
        """The schema, the rows against it, and the costs of its fields."""
        schema = task.answer.json_schema
        if not schema:
            says = "A task of kind 'extract' needs a schema of its answers: add answer.json_schema."
            yield Finding("error", "no_schema", says)
            return
        wrong = list(faults(schema))
        if schema.get("type") != "object":
            wrong.append("the whole answer must be of type object")
        for fault in wrong[:5]:
            yield Finding("error", "bad_schema", f"In answer.json_schema, {fault}.")
        if not wrong:
            yield from _rows(task, snapshot)
            yield from _costs(task)


def _values(row: Row) -> list[tuple[str, Any]]:
    try:
        return list(leaves(parse(row.label or "{}")))
    except AskError:
        return []


def _rows(task: Task, snapshot: Snapshot) -> Iterator[Finding]:
    known = [name for name, _ in fields_of(task.answer.json_schema)]
    no_json: list[str] = []
    found: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], str] = {}
    for split in SPLITS:
        for row in snapshot.splits[split]:
            try:
                document = parse(row.label or "")
            except AskError:
                no_json.append(row.id)
                continue
            for misfit in set(misfits(document, task.answer.json_schema)):
                found[misfit] += 1
                where.setdefault(misfit, row.id)
    if no_json:
        says = f"{len(no_json)} rows have no JSON object in the column '{task.data.label}', e.g. row {no_json[0]}."
        yield Finding("error", "not_json", says + " Mend them, or take them out.")
    for (field, what), rows in found.most_common(10):
        yield Finding("error", *_misfit(field, what, rows, where[field, what], known))
    train = Counter(field_of(path) for row in snapshot.splits["train"] for path, _ in _values(row))
    if idle := [name for name in known if not train[name]]:
        says = f"No training row has a value for {listed(idle)}: nothing can be learnt of it."
        yield Finding("warning", "field_without_rows", says)


def _misfit(field: str, what: str, rows: int, example: str, known: Sequence[str]) -> tuple[str, str]:
    if what == "unknown":
        near = nearest(field, [name.removesuffix("[]") for name in known])
        hint = f" Did you mean '{near}'?" if near else ""
        return "unknown_field", (
            f"{rows} rows have a field '{field}', which answer.json_schema lacks (e.g. row {example}).{hint} Add it to "
            "the schema, or take it out of the rows."
        )
    return "value_does_not_fit", f"In {rows} rows the field '{field}' {what} (e.g. row {example})."


def _costs(task: Task) -> Iterator[Finding]:
    value = task.value
    known = [name for name, _ in fields_of(task.answer.json_schema)]
    for name in value.fields:
        if name not in known:
            near = nearest(name, known)
            hint = f" Did you mean '{near}'?" if near else ""
            yield Finding(
                "error",
                "unknown_field",
                f"'value.fields' names '{name}', which is no field of answer.json_schema.{hint} Fields: "
                f"{listed(known)}.",
            )
    if value.wrong <= value.right:
        yield absurd(f"a wrong value ({value.wrong:g}) costs no more than a right answer ({value.right:g})")
    if value.confusions or value.levels or value.rubric:
        says = "'value' has confusions, levels or a rubric, which have no meaning for JSON answers: use 'fields'."
        yield Finding("error", "absurd_cost", says)
