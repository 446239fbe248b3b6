"""Choose the one candidate that is gated, on validation rows alone. Knows nothing of test rows.

The lowest mean money per request wins, serving included. Since that mean is noisy, a candidate whose money is within
one standard error of the lowest is as good (Breiman et al. 1984, the one-standard-error rule; here the error of the
paired difference, which is smaller), and among those the one that is cheapest to serve and then to make is taken:
a dearer rung must show its worth. What making costs is no part of the money per request, so that only the rule brings
it in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sartor.core.errors import AskError
from sartor.evaluation.answers import Answers
from sartor.evaluation.measure import Sample
from sartor.evaluation.statistics import clusters_of, standard_error
from sartor.evaluation.terms import Terms


@dataclass(frozen=True)
class Offer:
    """A candidate with its answers to the validation rows."""

    title: str
    answers: Answers
    overhead: float = 0.0
    """Measured money per request: serving, and waiting at its price."""
    made_for: float = 0.0
    """Money that making it cost."""


@dataclass(frozen=True)
class Standing:
    """How a candidate came out."""

    title: str
    money: float
    """Mean money per request on the validation rows."""
    behind: float
    """How much dearer than the best."""
    error: float
    """Standard error of that difference."""
    as_good: bool
    """Within one standard error of the best."""


@dataclass(frozen=True)
class Picked:
    """The choice, and all standings in the order of the offers."""

    title: str
    says: str
    standings: tuple[Standing, ...]


def pick(offers: Sequence[Offer], terms: Terms) -> Picked:
    """The candidate to be gated.

    Raises:
        AskError: there is no offer.
    """
    if not offers:
        raise AskError("No candidate was made, so there is none to choose from.", code="no_candidates")
    costs = [Sample.of(o.answers, terms, o.overhead).costs for o in offers]
    best = int(np.argmin([c.mean() for c in costs]))
    groups = offers[best].answers.groups
    standings = []
    for offer, cost in zip(offers, costs, strict=True):
        behind = cost - costs[best]
        error = standard_error(behind, clusters_of(groups, len(behind)))
        gap = float(behind.mean())
        standings.append(Standing(offer.title, float(cost.mean()), gap, error, as_good=gap <= error))
    good = [i for i, standing in enumerate(standings) if standing.as_good]
    chosen = min(good, key=lambda i: (_serving(offers[i]), offers[i].made_for, standings[i].money, i))
    return Picked(offers[chosen].title, _says(standings[chosen], standings[best]), tuple(standings))


def _serving(offer: Offer) -> float:
    return offer.overhead + float(offer.answers.serving_cost.mean())


def _says(chosen: Standing, best: Standing) -> str:
    if chosen.title == best.title:
        return f"{chosen.title} loses least money on the validation rows."
    return (
        f"{chosen.title} is within one standard error of {best.title}, which loses least money on the validation "
        "rows, and is cheaper to serve or to make."
    )
