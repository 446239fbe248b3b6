"""Successive halving: many are tried on a little, the better ones on more, the best on all.

Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization". Pure: says who is
tried on how much; trying, and what it costs, is the caller's.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Arm = TypeVar("Arm", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Rung:
    """One round: so many stay, each is given so much."""

    arms: int
    amount: int


@dataclass(frozen=True)
class Round(Generic[Arm]):
    """What a round found, the best first."""

    amount: int
    losses: tuple[tuple[Arm, float], ...]


def rungs(arms: int, least: int, most: int, eta: float = 2.0) -> list[Rung]:
    """The rounds by which one of `arms` is left after the last, which is given `most`.

    Args:
        least: amount of the first round, as far as `most` and the number of rounds allow; later ones get `eta` times
            as much.
        eta: one in so many stays.
    """
    if arms < 1 or least < 1 or most < least or eta <= 1:
        raise ValueError(f"no rounds for {arms} arms from {least} to {most} with eta {eta}")
    found = [Rung(1, most)] if arms == 1 else []
    left, amount = arms, float(least)
    while left > 1:
        last = left <= eta or amount * eta > most
        found.append(Rung(left, most if last else round(amount)))
        if last:
            break
        left, amount = max(1, round(left / eta)), amount * eta
    return found


def halve(
    arms: Sequence[Arm],
    plan: Sequence[Rung],
    losses: Callable[[Sequence[Arm], int], Sequence[float | None]],
    told: Callable[[Round[Arm]], None] = lambda _: None,
) -> Round[Arm]:
    """The last round's losses, the best arm first.

    Args:
        losses: what arms lose on an amount; None for one that can't be tried any more (no budget, or it failed): it
            goes.
        told: called after each round.
    """
    staying, last = list(arms), None
    for rung in plan:
        staying = staying[: rung.arms]
        tried = zip(staying, losses(staying, rung.amount), strict=True)
        known = [(arm, lost) for arm, lost in tried if lost is not None]
        if not known:
            break
        order = {arm: place for place, arm in enumerate(staying)}
        last = Round(rung.amount, tuple(sorted(known, key=lambda one: (one[1], order[one[0]]))))
        told(last)
        staying = [arm for arm, _ in last.losses]
    return last if last is not None else Round(0, ())
