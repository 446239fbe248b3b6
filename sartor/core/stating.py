"""The least-cost answer of a model that writes: which of its claims are stated, and when somebody else is asked.

Least expected cost for each value by itself, under calibrated chances (Elkan 2001), and Chow's (1970) reject option
for the whole answer. The values' errors are taken as independent of each other, which makes the confidence in a long
record too small rather than too great where they come together. Pure; knows no models.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sartor.core.claims import as_text, document, field_of
from sartor.core.predict import Claim, Doubts
from sartor.core.value import Value

Costs = tuple[float, float, float]
"""Money lost by a value that is wrong, missed, invented."""


@dataclass(frozen=True)
class Pricing:
    """What mistakes in written answers cost."""

    every: Costs
    """In fields that are not named."""
    fields: Mapping[str, Costs] = field(default_factory=dict)
    """By the name of the field."""
    right: float = 0.0
    """Of an answer that is right in all."""
    target: float | None = None
    """Expected money lost when someone else is asked, the price of asking included; None where nobody can be."""

    def of(self, name: str) -> Costs:
        """The costs of a field."""
        return self.fields.get(name, self.every)


@dataclass(frozen=True, slots=True)
class Stated:
    """The decision on one answer."""

    output: str
    """Canonical JSON, or the text."""
    cost: float
    """Expected money lost by the decision taken."""
    confidence: float
    """Chance that the whole answer is right."""
    escalate: bool
    """Whether asking the target is cheaper in expectation."""


def pricing_of(value: Value, target: float | None = None) -> Pricing:
    """The costs that a value function declares for extractions; where there is a rubric, those of a text.

    Args:
        target: money lost, in the mean, when someone else is asked.
    """
    if value.rubric:
        whole = sum(criterion.cost for criterion in value.rubric)
        return Pricing((whole, whole, whole), {}, value.right, target)
    missed = value.wrong if value.missed is None else value.missed
    invented = value.wrong if value.invented is None else value.invented
    every = (value.wrong, missed, invented)
    named = {
        name: tuple(d if c is None else c for c, d in zip((c.wrong, c.missed, c.invented), every, strict=True))
        for name, c in value.fields.items()
    }
    return Pricing(every, named, value.right, target)  # type: ignore[arg-type]


def state(claims: Sequence[Claim], pricing: Pricing, doubts: Doubts = Doubts()) -> Stated:
    """Choose what is said.

    Args:
        claims: at most one of those at the same place is stated.
        doubts: values of which the model has no idea cost what missed ones do, in the mean; and values that are each
            right by themselves need not make a right whole.
    """
    if len(claims) == 1 and not claims[0].path:
        (text,) = claims
        return _decided(str(text.value), text.right, (1.0 - text.right) * pricing.every[0], pricing)
    kept, cost, sure = [], doubts.unseen * pricing.every[1], 1.0
    for rivals in _by_place(claims).values():
        best, saving, lost = None, 0.0, 0.0
        for claim in rivals:
            wrong, missed, invented = pricing.of(field_of(claim.path))
            said = claim.absent * invented + max(1.0 - claim.absent - claim.right, 0.0) * wrong
            unsaid = (1.0 - claim.absent) * missed
            lost = max(lost, unsaid)
            if unsaid - said > saving or (best is None and unsaid == said):
                best, saving = claim, unsaid - said
        if best is None:
            cost, sure = cost + lost, sure * min(claim.absent for claim in rivals)
        else:
            kept.append(best)
            _, missed, _ = pricing.of(field_of(best.path))
            cost, sure = cost + (1.0 - best.absent) * missed - saving, sure * best.right
    return _decided(as_text(document(kept)), whole(sure, doubts), cost, pricing)


def whole(sure: float, doubts: Doubts) -> float:
    """The chance that all of an answer is right, from the product of its values' chances."""
    slope, offset = doubts.whole
    if (slope, offset) == (1.0, 0.0):
        return sure
    return 1.0 / (1.0 + math.exp(-max(min(slope * log_odds(sure) + offset, 500.0), -500.0)))


def log_odds(chance: float) -> float:
    """Log-odds of a chance, within reason."""
    near = min(max(chance, 1e-9), 1.0 - 1e-9)
    return math.log(near / (1.0 - near))


def _decided(output: str, sure: float, cost: float, pricing: Pricing) -> Stated:
    cost += sure * pricing.right
    if pricing.target is not None and pricing.target < cost:
        return Stated(output, pricing.target, sure, escalate=True)
    return Stated(output, cost, sure, escalate=False)


def _by_place(claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    places: dict[str, list[Claim]] = {}
    for claim in claims:
        places.setdefault(claim.path, []).append(claim)
    return places
