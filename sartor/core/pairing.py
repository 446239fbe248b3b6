"""Which value of a JSON answer stands for which value of the truth: two documents side by side, value by value.

Names pair with equal names. Lists have no order here: lone values pair with equal ones first and what is left in turn;
objects of a list pair so that as many of their values as possible are equal (Kuhn 1955, "The Hungarian method for
the assignment problem"). Knows no costs and counts nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

import numpy as np

from sartor.core.claims import leaves

Verdict = Literal["right", "wrong", "missed", "invented"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A value of the truth, and what the answer says in its place."""

    field: str
    """`brand`, `lines[].price`."""
    truth_at: str | None
    """JSON pointer into the truth; None: nothing should stand there."""
    truth: Any
    said_at: str | None
    """JSON pointer into the answer; None: nothing is said."""
    said: Any

    @property
    def verdict(self) -> Verdict:
        """What became of it."""
        if self.said_at is None:
            return "missed"
        if self.truth_at is None:
            return "invented"
        return "right" if equal(self.truth, self.said) else "wrong"


def equal(truth: Any, said: Any) -> bool:
    """Whether two lone values are the same: texts letter by letter, numbers by value, `true` is not 1."""
    if isinstance(truth, bool) or isinstance(said, bool):
        return truth is said
    return bool(truth == said)


def pairs(truth: Any, said: Any) -> list[Pair]:
    """All values of two documents, each once.

    Args:
        truth: the right document, tidied (`core.claims.tidy`).
        said: the answer, tidied in the same way; None: no answer, everything is missed.
    """
    return list(_pairs(truth, {} if said is None else said, "", "", ""))


def _pairs(truth: Any, said: Any, field: str, truth_at: str, said_at: str) -> Iterator[Pair]:
    if isinstance(truth, Mapping) and isinstance(said, Mapping):
        for name in dict.fromkeys([*truth, *said]):
            step = "/" + name.replace("~", "~0").replace("/", "~1")
            inner = f"{field}.{name}" if field else name
            if name not in said:
                yield from _missed(truth[name], inner, truth_at + step)
            elif name not in truth:
                yield from _invented(said[name], inner, said_at + step)
            else:
                yield from _pairs(truth[name], said[name], inner, truth_at + step, said_at + step)
    elif _is_list(truth) and _is_list(said):
        for i, j in _partners(truth, said):
            if j is None:
                yield from _missed(truth[i], f"{field}[]", f"{truth_at}/{i}")
            elif i is None:
                yield from _invented(said[j], f"{field}[]", f"{said_at}/{j}")
            else:
                yield from _pairs(truth[i], said[j], f"{field}[]", f"{truth_at}/{i}", f"{said_at}/{j}")
    elif _is_lone(truth) and _is_lone(said):
        yield Pair(field, truth_at, truth, said_at, said)
    else:
        yield from _missed(truth, field, truth_at)
        yield from _invented(said, field, said_at)


def _partners(truth: Sequence[Any], said: Sequence[Any]) -> list[tuple[Any, Any]]:
    """(place in the truth or None, place in the answer or None), every place once."""
    if all(map(_is_lone, truth)) and all(map(_is_lone, said)):
        found = _equals(truth, said)
    else:
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(_likeness(truth, said), maximize=True)
        found = list(zip(rows.tolist(), columns.tolist(), strict=True))
    left = sorted(set(range(len(truth))) - {i for i, _ in found})
    over = sorted(set(range(len(said))) - {j for _, j in found})
    return sorted([*found, *zip_longest(left, over)], key=lambda p: (p[0] is None, p[0] or 0, p[1] or 0))


def _equals(truth: Sequence[Any], said: Sequence[Any]) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    free = list(range(len(said)))
    for i, value in enumerate(truth):
        j = next((j for j in free if equal(value, said[j])), None)
        if j is not None:
            free.remove(j)
            found.append((i, j))
    return found


def _likeness(truth: Sequence[Any], said: Sequence[Any]) -> Any:
    """(truth, answer) right values of each pair; less mistakes, then nearer places, decide between equals."""
    likeness = np.zeros((len(truth), len(said)))
    for i, one in enumerate(truth):
        for j, other in enumerate(said):
            verdicts = [pair.verdict for pair in _pairs(one, other, "", "", "")]
            right = verdicts.count("right")
            likeness[i, j] = right - 1e-4 * (len(verdicts) - right) - 1e-8 * abs(i - j)
    return likeness


def _missed(truth: Any, field: str, at: str) -> Iterator[Pair]:
    for path, value in leaves(truth):
        yield Pair(field + _rest(truth, path), at + path, value, None, None)


def _invented(said: Any, field: str, at: str) -> Iterator[Pair]:
    for path, value in leaves(said):
        yield Pair(field + _rest(said, path), None, None, at + path, value)


def _rest(value: Any, path: str) -> str:
    """What a pointer into a value adds to the name of its field."""
    found = ""
    for step in path.split("/")[1:]:
        if isinstance(value, Mapping):
            name = step.replace("~1", "/").replace("~0", "~")
            value, found = value[name], f"{found}.{name}"
        else:
            value, found = value[int(step)], f"{found}[]"
    return found


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_lone(value: Any) -> bool:
    return not isinstance(value, Mapping) and not _is_list(value)
