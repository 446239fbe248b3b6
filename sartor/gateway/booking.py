"""The account of one request: what was asked on the way to its answer, in whole nano-units. Knows no HTTP, no store."""

from collections.abc import Container, Iterable
from typing import Literal

from sartor.core.predict import Hop, Prediction
from sartor.core.traffic import NANO, HopRow, nanos

FADING = 0.99
CHARACTERS = 4
"""Bytes of a token, roughly: what is set aside before a request is settled after it."""


def hops_of(answer: Prediction) -> tuple[Hop, ...]:
    """What was asked for an answer; at least what gave it."""
    if answer.hops:
        return answer.hops
    kind: Literal["local", "upstream"] = "local" if answer.reply is None else "upstream"
    hop = Hop(answer.served_by, answer.output, answer.usage, answer.cost, confidence=answer.confidence, kind=kind)
    return (hop,)


def rows(hops: Iterable[Hop], labels: Container[str]) -> list[HopRow]:
    """The hops as they are booked. What an upstream said is kept only where it is an answer to the task."""
    return [
        HopRow(
            hop.served_by,
            hop.kind,
            nanos(hop.cost),
            hop.usage.input_tokens,
            hop.usage.output_tokens,
            hop.usage.cpu_seconds,
            hop.seconds,
            hop.confidence,
            hop.output if hop.kind == "local" or hop.output in labels else None,
            hop.why,
        )
        for hop in hops
    ]


def written(cost: int) -> str:
    """Nano-units as money, in a header."""
    return f"{cost / NANO:.10g}"


class Expected:
    """What a request is expected to cost: the dearest that its route had lately."""

    def __init__(self) -> None:
        self._dearest: dict[str, float] = {}

    def of(self, route: str) -> float:
        """Money; 0 before the first."""
        return self._dearest.get(route, 0.0)

    def saw(self, route: str, money: float) -> None:
        """Take the cost of one request into account."""
        before = self._dearest.get(route, 0.0)
        if money or before:
            self._dearest[route] = max(money, before * FADING)
