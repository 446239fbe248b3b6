"""From what a language model wrote, and how sure it was of each token, to claims that can be calibrated.

A value is as likely right as the model was to write all of its characters. Knows no model and no schema.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from sartor.core.claims import as_text, build
from sartor.serving.engine import Said

Token = tuple[str, float]
"""(characters that a token added, natural logarithm of its probability)"""
SURE = 16.0
"""Greatest log-odds: probabilities beyond are no more than rounding."""
PLAIN = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[,\]}\s])|true|false|null")
SPACE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Place:
    """A value of a JSON text and where it stands there."""

    path: str
    value: Any
    start: int
    end: int


def claims_of(output: str, tokens: Sequence[Token], text: str = "") -> tuple[str, tuple[Said, ...]]:
    """A written JSON object as canonical JSON, and its values as claims; of a text cut short, the values before the
    cut.

    Args:
        tokens: in order; their characters joined are the output. Empty: scores are 0.
        text: the input, to find there what was read there.
    """
    ends, sums = _running(tokens)
    said = tuple(
        Said(p.path, p.value, _between(ends, sums, p.start, p.end), _found(p.value, text)) for p in places(output)
    )
    return as_text(build((claim.path, claim.value) for claim in said)), said


def claim_of_text(output: str, tokens: Sequence[Token]) -> tuple[Said, ...]:
    """A written text as the one claim that it is."""
    return (Said("", output, odds(sum(score for _, score in tokens))),)


def odds(logprob: float) -> float:
    """The log-odds of a probability that is given by its natural logarithm."""
    if logprob >= 0.0:
        return 0.0 if logprob > 0.0 else SURE
    return max(-SURE, min(SURE, logprob - math.log(-math.expm1(logprob))))


def places(text: str) -> Iterator[Place]:
    """Every value that is neither object nor list, with its place in the text; ends where the text is no JSON."""
    stack: list[tuple[str, int | None]] = []
    path, at = "", _skip(text, 0)
    while at < len(text):
        mark = text[at]
        if mark in "{[":
            stack.append((path, None if mark == "{" else 0))
            at = _skip(text, at + 1)
            path = path if mark == "{" else f"{path}/0"
            if mark == "[" or text[at : at + 1] == "}":
                if text[at : at + 1] in ("]", "}"):
                    path = stack.pop()[0]
                    at = _skip(text, at + 1)
                else:
                    continue
            else:
                path, at = _named(text, at, path)
                continue
        else:
            found = _scalar(text, at)
            if found is None:
                return
            yield Place(path, found[0], at, found[1])
            at = _skip(text, found[1])
        while at < len(text) and text[at] in "}]" and stack:
            path = stack.pop()[0]
            at = _skip(text, at + 1)
        if not stack or text[at : at + 1] != ",":
            return
        holder, place = stack[-1]
        at = _skip(text, at + 1)
        if place is None:
            path, at = _named(text, at, holder)
        else:
            stack[-1] = (holder, place + 1)
            path = f"{holder}/{place + 1}"


def _named(text: str, at: int, holder: str) -> tuple[str, int]:
    """The path of the member whose name begins here, and where its value begins; the end where there is none."""
    if text[at : at + 1] != '"':
        return holder, len(text)
    try:
        name, at = scanstring(text, at + 1, True)  # noqa: FBT003 - json's own signature
    except json.JSONDecodeError:
        return holder, len(text)
    at = _skip(text, at)
    if text[at : at + 1] != ":":
        return holder, len(text)
    return f"{holder}/{name.replace('~', '~0').replace('/', '~1')}", _skip(text, at + 1)


def _scalar(text: str, at: int) -> tuple[Any, int] | None:
    """The value that begins here and where it ends; None where it is cut off or none."""
    if text[at] == '"':
        try:
            value, end = scanstring(text, at + 1, True)  # noqa: FBT003 - json's own signature
        except json.JSONDecodeError:
            return None
        return value, end
    found = PLAIN.match(text, at)
    return (json.loads(found[0]), found.end()) if found else None


def _skip(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return found.end() if found else at


def _running(tokens: Sequence[Token]) -> tuple[list[int], list[float]]:
    """Where each token ends, and its log-probability."""
    ends, at = [], 0
    for characters, _ in tokens:
        at += len(characters)
        ends.append(at)
    return ends, [score for _, score in tokens]


def _between(ends: Sequence[int], scores: Sequence[float], start: int, end: int) -> float:
    """Log-odds that all tokens with characters of this stretch are right."""
    if not ends:
        return 0.0
    begins = (0, *ends[:-1])
    return odds(sum(s for b, e, s in zip(begins, ends, scores, strict=True) if b < end and e > start))


def _found(value: Any, text: str) -> tuple[int, int] | None:
    """Where a string value stands in the input, the first time."""
    if not isinstance(value, str) or not value:
        return None
    at = text.find(value)
    return (at, at + len(value)) if at >= 0 else None
