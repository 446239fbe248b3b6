"""Where the values of a JSON answer stand in a text, word by word, and which values words stand for.

Values are looked for letter by letter, then without regard to case, numbers by what they come to (`1,200.50` is
1200.5); only whole words count. Where a value stands several times, the place nearest to the other values of its
object is taken. Knows no tags and no models.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sartor.core.claims import field_of, leaves

WORD = re.compile(r"\w+|[^\w\s]")
NUMBER = re.compile(r"(?:(?<!\w)[-+])?\d+(?:[ ']\d{3}(?!\d))*(?:[.,]\d+)*")
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True, slots=True)
class Found:
    """A value of an answer and the words of the text that say it."""

    path: str
    value: Any
    start: int
    end: int
    """First word after it."""


def words(text: str) -> list[tuple[int, int]]:
    """(start, end) of each word by characters: runs of letters and digits, and every other sign alone."""
    return [match.span() for match in WORD.finditer(text)]


def pieces(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int]:
    """The word that each piece of a tokenizer belongs to; -1 for one without signs.

    Args:
        offsets: (start, end) of each piece by characters; a piece may bring the blank before its word along.
        spans: of the words.
    """
    starts = [start for start, _ in spans]
    return [
        bisect_right(starts, end - 1) - 1 if starts and end > start and end > starts[0] else -1
        for start, end in offsets
    ]


def find(text: str, answer: Any) -> tuple[list[Found], list[str]]:
    """The places of an answer's values, none overlapping, in the order of the text; and paths of those not found."""
    spans = words(text)
    free = [True] * len(spans)
    placed: dict[str, Found] = {}
    waiting = [(path, value, list(_places(text, spans, value))) for path, value in leaves(answer)]
    missing = [path for path, _, places in waiting if not places]
    # What stands only once is sure and goes first; of these the longest, since a short one may stand within it.
    waiting.sort(key=lambda one: (len(one[2]) > 1, -max((end - start for start, end in one[2]), default=0)))
    for path, value, places in waiting:
        left = [place for place in places if all(free[place[0] : place[1]])]
        if not left:
            if places:
                missing.append(path)
            continue
        start, end = _nearest(left, path, placed)
        free[start:end] = [False] * (end - start)
        placed[path] = Found(path, value, start, end)
    return sorted(placed.values(), key=lambda found: found.start), missing


def read(surface: str, schema: Mapping[str, Any]) -> Any:
    """The value that words stand for under a JSON Schema; None where they stand for none."""
    if "enum" in schema:
        folded = surface.casefold()
        return next((v for v in schema["enum"] if str(v).casefold() == folded), None)
    kinds = schema.get("type", "string")
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind == "string":
            return surface
        if kind in ("number", "integer"):
            number = as_number(surface)
            if number is not None and (kind == "number" or number == int(number)):
                return int(number) if number == int(number) else number
        if kind == "boolean" and surface.casefold() in (*TRUE, *FALSE):
            return surface.casefold() in TRUE
    return None


def as_number(surface: str) -> float | None:
    """What a written number comes to: `1,200.50`, `1.200,50`, `1'200`; None where it is none.

    Of two kinds of signs the last is the decimal one. One kind, once, before just three digits is read as dividing
    thousands only if it is a comma or an apostrophe: `1,200` is 1200 and `1.200` is 1.2.
    """
    found = NUMBER.search(surface)
    if found is None:
        return None
    digits = re.sub(r"[' ]", "", found[0])
    comma, point = digits.rfind(","), digits.rfind(".")
    if comma > point >= 0 or (point < 0 and re.search(r"^[-+]?\d+,(\d{1,2}|\d{4,})$", digits)):
        digits = digits.replace(".", "").replace(",", ".")
    elif digits.count(".") > 1:
        digits = digits.replace(".", "")
    digits = digits.replace(",", "")
    try:
        return float(digits)
    except ValueError:
        return None


def _places(text: str, spans: Sequence[tuple[int, int]], value: Any) -> Iterator[tuple[int, int]]:
    """(first word, word after) of every place where a value may stand."""
    begins = {start: place for place, (start, _) in enumerate(spans)}
    ends = {end: place + 1 for place, (_, end) in enumerate(spans)}
    if isinstance(value, bool) or value is None:
        value = json.dumps(value)
    if isinstance(value, int | float):
        for match in NUMBER.finditer(text):
            if as_number(match[0]) == value and match.start() in begins and match.end() in ends:
                yield begins[match.start()], ends[match.end()]
        return
    wanted = re.escape(str(value).strip())
    if not wanted:
        return
    found = list(re.finditer(wanted, text)) or list(re.finditer(wanted, text, re.IGNORECASE))
    for match in found:
        if match.start() in begins and match.end() in ends:
            yield begins[match.start()], ends[match.end()]


def _nearest(places: Sequence[tuple[int, int]], path: str, placed: Mapping[str, Found]) -> tuple[int, int]:
    """The place nearest to values of the same object; where none has a place yet, the first after what precedes."""
    home = path.rpartition("/")[0]
    around = [found for at, found in placed.items() if at.rpartition("/")[0] == home] if "[" in field_of(path) else []
    if not around:
        return places[0]
    return min(places, key=lambda place: min(abs(place[0] - found.start) for found in around))
