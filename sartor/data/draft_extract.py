"""Draft a task of extraction: a column of JSON objects is the answer, and its schema is read from them.

A field is a list where any row has one, a number where all its values are; what is a whole number everywhere is an
integer. Few different texts that come again and again are not made an `enum`: only a person knows whether there are
others.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from sartor.core.claims import parse
from sartor.core.errors import AskError

SHARE = 0.9
"""Of a column's filled cells that must be JSON objects."""
KINDS = {str: "string", bool: "boolean", int: "integer", float: "number"}


def documents(cells: Sequence[Any]) -> list[dict[str, Any]] | None:
    """The JSON objects of a column; None where it holds something else."""
    filled = [cell for cell in cells if cell not in (None, "")]
    found = [document for cell in filled if (document := _document(cell)) is not None]
    return found if found and len(found) >= SHARE * len(filled) else None


def _document(cell: Any) -> dict[str, Any] | None:
    if isinstance(cell, dict):
        return cell
    if not isinstance(cell, str) or not cell.lstrip().startswith("{"):
        return None
    try:
        found: dict[str, Any] = parse(cell)
    except AskError:
        return None
    return found


def schema_of(values: Sequence[Any]) -> dict[str, Any]:
    """A schema that all values fit, as far as one kind of value stands in each place."""
    values = [value for value in values if value is not None]
    if any(isinstance(value, list) for value in values):
        inner = [one for value in values for one in (value if isinstance(value, list) else [value])]
        return {"type": "array", "items": schema_of(inner)}
    if values and all(isinstance(value, dict) for value in values):
        names = dict.fromkeys(name for value in values for name in value)
        fields = {name: schema_of([value.get(name) for value in values]) for name in names}
        return {"type": "object", "properties": fields}
    kinds = {KINDS.get(type(value), "string") for value in values}
    if kinds == {"integer", "number"}:
        return {"type": "number"}
    return {"type": kinds.pop() if len(kinds) == 1 else "string"}


def draft_extract(head: Sequence[str], label: str, found: Sequence[Mapping[str, Any]], recorded: str | None) -> str:
    """The task file of an extraction.

    Args:
        head: its lines down to the sources.
        label: column of the answers.
        found: the documents in it.
        recorded: column with somebody else's documents.
    """
    answer = yaml.safe_dump({"answer": {"json_schema": schema_of(found)}}, sort_keys=False, allow_unicode=True)
    lines = [
        *head,
        f"  label: {label}",
        "value:  # money; nothing matters more than these figures",
        "  currency: EUR",
        "  wrong: 1.00  # another value stands there than should",
        "  missed: 0.60  # nothing stands there and something should",
        "  invented: 0.60  # something stands there and nothing should",
        "  # fields: {NAME: {wrong: 10.00}}  # fields in which mistakes cost more",
        "  escalate: {to: person, price: 1.50, error_rate: 0.05}  # who is asked when in doubt, and how often they err",
        *([f"incumbent: {{kind: recorded, column: {recorded}}}  # answers today"] if recorded else []),
        "candidates: [{recipe: rules}, {recipe: tagger, base: minilm}]",
        "gate: {floor: rules, margin: 0.0, guards: {micro_f1: 0.01}}  # what a release must show",
        "seed: 0",
    ]
    return "\n".join(lines) + "\nkind: extract\n" + answer
