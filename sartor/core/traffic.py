"""What happened: exchanges with every hop, and what became of them. Money is whole nano-units, so that sums are exact.

These are written by the hundred a second, so they are plain slotted classes, not records: the segment log of the
store is their truth. Nothing here holds personal content; that travels beside an exchange as `Content`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

NANO = 1_000_000_000


def nanos(money: float) -> int:
    """Money in whole nano-units."""
    return round(money * NANO)


@dataclass(slots=True)
class HopRow:
    """One model that was asked, as it is booked."""

    served_by: str
    """Digest of the variant, or the name of the upstream."""
    kind: Literal["local", "upstream", "cache"]
    cost: int
    """Nano-units of the gateway's currency."""
    input_tokens: int = 0
    output_tokens: int = 0
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    confidence: float | None = None
    label: str | None = None
    """Its answer, where it is a label of the task."""
    why: str = ""


@dataclass(slots=True)
class Exchange:
    """The accounting row of one request. Always written, whatever the capture level."""

    id: str
    """`chatcmpl-…`: what the application sees as the completion's id, and feedback names."""
    at: float
    """Seconds since 1970 at which the request was read."""
    tenant: str
    key: str
    route: str
    """The route's or task's name without handle."""
    model: str
    """The name that was asked for."""
    endpoint: Literal["chat", "completions", "embeddings", "shadow"] = "chat"
    task: str = ""
    version: str = ""
    """Fixed name of what answered: `triage@v7`, or the upstream's."""
    variant: str = ""
    """Its digest, or the upstream's name."""
    decision: Literal["answer", "escalate", "unmatched", "refused", "failed"] = "answer"
    status: int = 200
    error: str = ""
    """Code of the error; '' where there was none."""
    label: str | None = None
    """The answer, where it is a label of the task."""
    confidence: float | None = None
    arm: str = ""
    propensity: float | None = None
    stream: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    """Nano-units: the sum over the hops."""
    seconds: float = 0.0
    """From the request read to the last byte handed over."""
    first_seconds: float = 0.0
    """To the first byte."""
    subject: str = ""
    """Keyed digest of the user that the request named; '' where it named none."""
    business: str = ""
    """Keyed digest of the business key; '' where there was none."""
    shadow_of: str = ""
    """The live exchange that this one only watched (endpoint `shadow`)."""
    request_id: str = ""
    hops: list[HopRow] = field(default_factory=list)


@dataclass(slots=True)
class Content:
    """What was said; kept, hashed or dropped by the route's capture level."""

    asked: bytes
    """The request's body."""
    answered: bytes
    """The answer's body; of a stream what had arrived, as one completion."""


@dataclass(slots=True)
class Feedback:
    """What became of an exchange: joined by its id or by the business key, whenever it arrives."""

    id: str
    """Given by the sender or made here; the same id twice is one feedback."""
    at: float
    tenant: str
    metric: str
    """A metric of the task, or one of `correct`, `demonstration`, `comment`."""
    value: Any
    """Boolean, number or text, as the metric's type says."""
    exchange: str = ""
    business: str = ""
    """Keyed digest of the business key."""
    source: Literal["human", "outcome", "judge", "code"] = "human"
    source_id: str = ""
    """Which person, judge or program."""
    rationale: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    """What else the sender says of it."""
    key: str = ""
    """Id of the access key that sent it."""


WITHDRAWS = "withdraws"
"""Tag of a feedback by which whoever gave an earlier one takes it back; it holds the id of that."""


def withdrawn(said: Iterable[Feedback]) -> set[str]:
    """Ids of what was taken back by whoever had said it, and of the words that took it back."""
    found = list(said)
    back = {f.tags[WITHDRAWS]: f for f in found if WITHDRAWS in f.tags}
    taken = {f.id for f in found if f.id in back and _same_person(f, back[f.id])}
    return taken | {f.id for f in found if WITHDRAWS in f.tags}


def _same_person(one: Feedback, other: Feedback) -> bool:
    return (one.tenant, one.source, one.source_id) == (other.tenant, other.source, other.source_id)
