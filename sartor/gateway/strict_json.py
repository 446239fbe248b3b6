"""JSON from strangers: one object, no NaN, no doubled keys, no bottomless nesting, whole Unicode. Knows no protocol.

What is sound is read by a fast parser; only what it can't vouch for is read again, slowly, by one that says what is
wrong.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Any

import orjson

from sartor.core.errors import AskError

KEY = re.compile(rb'"[ \t\r\n]*:')
QUOTED = re.compile(rb'\\"[ \t\r\n]*:')
"""What looks like the end of a key inside of a text: there, quotes have a backslash before them."""
LARGEST = 2**64


def read_object(body: bytes, *, depth: int) -> dict[str, Any]:
    """The JSON object in a request's body.

    Args:
        depth: how deep objects and lists may be nested.

    Raises:
        AskError: it is not UTF-8, not JSON, not an object, or has something that readers disagree about.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _read_slowly(body, depth)
    if not isinstance(value, dict):
        raise _bad(f"is a JSON {_kind(value)}, where an object {{…}} is expected")
    # As many keys in the object as in the text: none was there twice.
    if _keys(value, depth, depth) != _keys_written(body):
        return _read_slowly(body, depth)
    return value


def _keys_written(body: bytes) -> int:
    """How many keys stand in sound JSON; -1 if that is not easily said."""
    count = len(KEY.findall(body))
    if b'\\"' not in body:
        return count
    # A backslash before a quote may itself be written with a backslash: then the quote ends the text.
    return -1 if b'\\\\"' in body else count - len(QUOTED.findall(body))


def _keys(box: dict[str, Any] | list[Any], depth: int, most: int) -> int:
    """How many keys this and all objects in it have together; `depth` more levels are allowed out of `most`."""
    if depth == 0:
        raise _too_deep(most)
    count = 0
    inner: Iterable[Any] = box
    if type(box) is dict:
        count = len(box)
        inner = box.values()
    for item in inner:
        kind = type(item)
        if kind is dict or kind is list:
            count += _keys(item, depth - 1, most)
    return count


def _read_slowly(body: bytes, depth: int) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"is not UTF-8: {error.reason} at byte {error.start}. Encode it as UTF-8") from error
    try:
        value = json.loads(
            text, object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_number, parse_int=_whole
        )
    except RecursionError as error:
        raise _too_deep(depth) from error
    except ValueError as error:
        raise _bad(f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _bad(f"is a JSON {_kind(value)}, where an object {{…}} is expected")
    _keys(value, depth, depth)
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


def _whole(digits: str) -> float:
    """A whole number; one that no 64 bits hold loses its last digits, as with most readers."""
    number = int(digits)
    return number if -LARGEST // 2 <= number < LARGEST else _number(digits)


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
