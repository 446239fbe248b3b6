"""What addresses of the control plane take: bodies and queries. What they do not name is refused."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from sartor.core.access import Role
from sartor.core.route import Allowance, Route, Target, Upstream
from sartor.interfaces.api.endpoint import Fields

Line = Annotated[str, StringConstraints(max_length=1000)]
Share = Annotated[float, Field(gt=0, le=1)]
Limit = Annotated[int, Field(ge=1, le=1000)]


class Why(Fields):
    """The reason, kept in the decision."""

    why: Line = ""


class NewRoute(Fields):
    """A route to declare."""

    spec: Route
    why: Line = "declared"


class NewUpstream(Fields):
    """An upstream to declare."""

    spec: Upstream
    why: Line = "declared"


class Shadow(Fields):
    """What sees the route's traffic and answers nobody."""

    target: Target
    share: Share = 1.0
    why: Line = ""


class Canary(Fields):
    """What answers a share of the route's traffic."""

    target: Target | None = None
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    promote: bool = True
    guards: dict[str, Any] | None = None
    judge: dict[str, Any] | None = None
    why: Line = ""


class Live(Fields):
    """What answers everything."""

    target: Target | None = None
    why: Line = ""


class Certify(Fields):
    """What is to be promised."""

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.05
    against: Line = ""
    apply: bool = False


class NewKey(Fields):
    """A key to make."""

    role: Role = "application"
    tenant: Line = ""
    scope: tuple[Line, ...] = ()
    limits: Allowance = Allowance()
    label: Line = ""
    days: Annotated[float, Field(ge=0, le=36_500)] | None = None


class Rotation(Fields):
    """How long the old key goes on."""

    overlap_hours: Annotated[float, Field(ge=0, le=24 * 365)] = 24.0


class TenantLimits(Fields):
    """What all keys of a tenant may use together."""

    limits: Allowance = Allowance()


class Keys(Fields):
    """A page of keys."""

    after: Line = ""
    limit: Limit = 1000


class Lines(Fields):
    """A page of the audit log."""

    below: Annotated[int, Field(ge=0, le=2**62)] | None = None
    limit: Limit = 100


class Search(Fields):
    """`field=value` terms."""

    where: list[Line] = Field(default_factory=list)
    limit: Limit = 50


class Direction(Fields):
    """Whether what was made of it is shown, instead of what it was made from."""

    down: bool = False


class Pair(Fields):
    """Two handles."""

    a: Line
    b: Line


class OneTask(Fields):
    """Of one task only, or of all."""

    task: Line = ""


class Word(Fields):
    """What a person says of a release that waits."""

    why: Line = ""
    decision: Line = ""


class OfTask(Fields):
    """Of one task or route only."""

    task: Line = ""
    limit: Limit = 100


class Exchanges(Fields):
    """Which exchanges, newest first; `where` as `field=value`."""

    tenant: Line = ""
    route: Line = ""
    since: Line = ""
    until: Line = ""
    where: list[Line] = Field(default_factory=list)
    after: Line = ""
    limit: Limit = 20


class Erasure(Fields):
    """A person, as the application names them."""

    subject: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    tenant: Line = ""


class Model(Fields):
    """One hosted model, or those of the catalogue."""

    model: Line = ""


class Ledger(Fields):
    """Which part of the books, and by what it is split."""

    by: Line = "task"
    task: Line = ""
    route: Line = ""
    tenant: Line = ""
    since: Line = ""
    until: Line = ""
    giant: Line = ""


class NewBooking(Fields):
    """What cost money beside answering."""

    what: Line
    task: Line = ""
    money: float | None = None
    minutes: Annotated[float, Field(ge=0)] | None = None
    hourly: Annotated[float, Field(ge=0)] | None = None
    start: Line = ""
    until: Line = ""
    note: Line = ""


class Outlook(Fields):
    """How far to look, and what the traffic does not show (`name=value`)."""

    giant: Line = ""
    since: Line = ""
    days: Annotated[int, Field(ge=1, le=3650)] = 90
    assume: tuple[Line, ...] = ()


class Option(Fields):
    """The way that was taken."""

    option: Line = "now"
