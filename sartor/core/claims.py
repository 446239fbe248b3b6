"""JSON answers as flat claims and back: what is compared, priced, calibrated and left out is one value at a place.

A place is a JSON pointer (`/lines/0/price`); the field that costs are written for is the same with positions left
out (`lines[].price`). Pure; knows no schema library and no money.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sartor.core.canonical import canonical
from sartor.core.errors import AskError
from sartor.core.predict import Claim

Leaf = tuple[str, Any]
"""(JSON pointer, value that is neither an object nor a list)."""


def leaves(value: Any, at: str = "") -> Iterator[Leaf]:
    """Every value of a JSON document that is neither object nor list, with its place, in the document's order."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{at}/{_escaped(name)}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{at}/{place}")
    else:
        yield at, value


def field_of(path: str) -> str:
    """The field that a place belongs to: `/lines/0/price` -> `lines[].price`."""
    found = ""
    for step in path.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found += "[]" if step.isdigit() and found else f".{name}" if found else name
    return found


def fields_of(schema: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every field of a JSON Schema that holds a value, with the schema of that value."""
    if "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from fields_of(inner, f"{at}.{name}" if at else name)
    elif "items" in schema:
        yield from fields_of(schema["items"], f"{at}[]")
    else:
        yield at, schema


def build(claims: Iterable[Leaf]) -> Any:
    """The JSON document with these values; positions that are missing close up. No claims: an empty object."""
    root: dict[str, Any] = {}
    for path, value in claims:
        steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
        if not steps:
            return value
        here = root
        for step in steps[:-1]:
            here = here.setdefault(step, {})
        here[steps[-1]] = value
    return {name: _closed(inner) for name, inner in root.items()}


def document(claims: Iterable[Claim]) -> Any:
    """The JSON document that claims state."""
    return build((claim.path, claim.value) for claim in claims)


def as_text(value: Any) -> str:
    """The one text of a JSON document: equal documents give equal texts."""
    return canonical(value).decode("utf-8")


def tidy(value: Any, schema: Mapping[str, Any], nothing: Sequence[str] = ()) -> Any:
    """A document as the schema would have it: words for "no value", nulls and empty parts gone, a lone value where a
    list is wanted put into one. What does not fit the schema is kept, to be counted as a mistake."""
    if isinstance(value, Mapping):
        within = schema.get("properties", {})
        inner = {name: tidy(v, within.get(name, {}), nothing) for name, v in value.items()}
        return {name: v for name, v in inner.items() if v is not None and v not in ({}, [])}
    if schema.get("type") == "array" and not isinstance(value, list):
        value = [value]
    if isinstance(value, list):
        inner_list = [tidy(v, schema.get("items", {}), nothing) for v in value]
        return [v for v in inner_list if v is not None and v not in ({}, [])]
    if value is None or (isinstance(value, str) and value.strip() in nothing):
        return None
    return value.strip() if isinstance(value, str) else value


def parse(text: str) -> Any:
    """The JSON document of a text.

    Raises:
        AskError: it is none, or no object; where it breaks is named.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise AskError(
            f"An answer is no JSON: {error.msg} at line {error.lineno}, column {error.colno}.", code="not_json"
        ) from error
    if not isinstance(found, dict):
        raise AskError(f"An answer must be a JSON object, not {type(found).__name__}.", code="not_json")
    return found


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _closed(value: Any) -> Any:
    """Objects whose names are all positions become lists."""
    if not isinstance(value, dict):
        return value
    inner = {name: _closed(v) for name, v in value.items()}
    if inner and all(name.isdigit() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner
