"""The part of JSON Schema that answers are described by: what no answer can meet, and where a value does not fit.

Knows no rows. What is not listed in `KNOWN` is refused rather than ignored: an engine could not hold to it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
KNOWN = {
    "type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "enum", "const",
    "minLength", "maxLength", "pattern", "minimum", "maximum", "title", "description",
}  # fmt: skip
BOUNDS = (("minItems", "maxItems"), ("minLength", "maxLength"), ("minimum", "maximum"))


def faults(schema: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Everything that makes a schema unusable, in words; `at` is the field that it stands for."""
    where = f"'{at}'" if at else "the whole answer"
    for name in sorted(set(schema) - KNOWN):
        yield f"{where} uses '{name}', which is not known here (known: {', '.join(sorted(KNOWN))})"
    kind = schema.get("type")
    if kind not in TYPES and "enum" not in schema and "const" not in schema:
        yield f"{where} has the type {kind!r}; use one of {', '.join(TYPES)}"
        return
    if "enum" in schema and not schema["enum"]:
        yield f"{where} has an empty 'enum': no value can meet it"
    if kind in TYPES and "enum" in schema:
        odd = [value for value in schema["enum"] if not _is(value, str(kind))]
        if len(odd) == len(schema["enum"]) > 0:
            yield f"{where} must be of type {kind}, and none of its 'enum' is: no value can meet both"
    for least, most in BOUNDS:
        if least in schema and most in schema and schema[least] > schema[most]:
            yield f"{where} has {least} {schema[least]} above {most} {schema[most]}: no value can meet both"
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except re.error as error:
            yield f"{where} has a pattern that is no regular expression: {error}"
    yield from _inner_faults(schema, at, where)


def _inner_faults(schema: Mapping[str, Any], at: str, where: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    if schema.get("type") == "object":
        if not properties:
            yield f"{where} is an object without 'properties': nothing can be said in it"
        lost = [name for name in schema.get("required", ()) if name not in properties]
        if lost:
            yield f"{where} requires '{lost[0]}', which is none of its properties: no answer can meet it"
    if schema.get("type") == "array" and "items" not in schema:
        yield f"{where} is a list without 'items': say what stands in it"
    for name, inner in properties.items():
        yield from faults(inner, f"{at}.{name}" if at else name)
    if "items" in schema:
        yield from faults(schema["items"], f"{at}[]")


def misfits(value: Any, schema: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, str]]:
    """(field, what is wrong) of everything in a document that does not fit; a field that the schema lacks is 'unknown'.

    Fields that are required and missing are no misfit: a row may truly have no value.
    """
    kind = schema.get("type")
    if kind in TYPES and not _is(value, str(kind)):
        yield at, f"is {type(value).__name__}, not {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield at, "is none of its 'enum'"
    if isinstance(value, dict):
        for name, inner in value.items():
            there = f"{at}.{name}" if at else name
            if name in schema.get("properties", {}):
                yield from misfits(inner, schema["properties"][name], there)
            else:
                yield there, "unknown"
    elif isinstance(value, list):
        for inner in value:
            yield from misfits(inner, schema.get("items", {}), f"{at}[]")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES[kind])
