"""JSON from strangers: one object, no NaN, no doubled keys, no bottomless nesting, whole Unicode. Knows no protocol."""

import json
import math
from typing import Any

from sartor.core.errors import AskError


def read_object(body: bytes, *, depth: int) -> dict[str, Any]:
    """The JSON object in a request's body.

    Args:
        depth: how deep objects and lists may be nested.

    Raises:
        AskError: it is not UTF-8, not JSON, not an object, or has something that readers disagree about.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"is not UTF-8: {error.reason} at byte {error.start}. Encode it as UTF-8") from error
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_number)
    except RecursionError as error:
        raise _too_deep(depth) from error
    except ValueError as error:
        raise _bad(f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _bad(f"is a JSON {_kind(value)}, where an object {{…}} is expected")
    if _deeper(value, depth):
        raise _too_deep(depth)
    # Halves of surrogate pairs are legal JSON and no Unicode: nothing behind this door could encode them.
    if "\\ud" in text.lower() and not _encodable(value):
        raise _bad("has half a surrogate pair (\\ud800 to \\udfff) outside a pair. Send whole characters")
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise _bad(f"names {double[:60]!r} twice in one object. Send each key once")
    return found


def _constant(name: str) -> Any:
    raise _bad(f"has {name}, which is no JSON number. Leave the field out instead")


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _bad(f"has the number {digits[:40]}, which is too large")
    return number


def _deeper(value: Any, depth: int) -> bool:
    """Whether containers are nested deeper than `depth`; level by level, since recursion is what is feared."""
    level = [value]
    for _ in range(depth):
        inner: list[Any] = []
        for box in level:
            inner += [v for v in (box.values() if isinstance(box, dict) else box) if isinstance(v, (dict, list))]
        if not inner:
            return False
        level = inner
    return True


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    names = {list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _too_deep(depth: int) -> AskError:
    return _bad(f"is nested deeper than {depth} levels. Flatten it")


def _bad(what: str) -> AskError:
    return AskError(f"Reading the request failed: its body {what}.", code="invalid_json")
