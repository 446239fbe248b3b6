"""Every address of the control plane, one line each: method, path, permission, verb, and what it takes."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from sartor.core.access import Role
from sartor.core.route import Allowance, Route, Target, Upstream
from sartor.interfaces.api import verbs
from sartor.interfaces.api.endpoint import PREFIX, Endpoint, Fields

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
    settings: dict[str, Any] | None = None
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


class OfTask(Fields):
    """Of one task or route only."""

    task: Line = ""
    limit: Limit = 100


def _get(path: str, permission: Any, verb: Any, query: Any = None, **how: Any) -> Endpoint:
    return Endpoint("GET", PREFIX + path, permission, verb, query=query, **how)


def _post(path: str, permission: Any, verb: Any, body: Any = None, **how: Any) -> Endpoint:
    return Endpoint("POST", PREFIX + path, permission, verb, body=body, **how)


def _delete(path: str, permission: Any, verb: Any, query: Any = None) -> Endpoint:
    return Endpoint("DELETE", PREFIX + path, permission, verb, query=query)


ENDPOINTS: tuple[Endpoint, ...] = (
    _get("/health", "anyone", verbs.health, house=False),
    _get("/openapi.json", "anyone", verbs.openapi, house=False),
    Endpoint("GET", "/metrics", "view", verbs.metrics),
    # Routes and upstreams
    _get("/routes", "view", "routes:list_routes"),
    _post("/routes", "operate", "routes:declare_route", NewRoute),
    _get("/routes/{name}", "view", "routes:show_route"),
    _delete("/routes/{name}", "operate", "routes:remove_route", Why),
    _post("/routes/{name}/shadow", "approve", "stages:stage_shadow", Shadow),
    _get("/routes/{name}/canary", "view", "canary:look"),
    _post("/routes/{name}/canary", "approve", "stages:stage_canary", Canary),
    _post("/routes/{name}/live", "approve", "stages:stage_live", Live),
    _post("/routes/{name}/stop", "approve", "stages:stop_stage", Why),
    _post("/routes/{name}/rollback", "approve", "stages:rollback_route", Why),
    _post("/routes/{name}/certify", "approve", "certify:certify_route", Certify),
    _get("/upstreams", "view", "upstreams:list_upstreams"),
    _post("/upstreams", "operate", verbs.declare_upstream, NewUpstream),
    _get("/upstreams/{name}", "view", "upstreams:shown_upstream"),
    _delete("/upstreams/{name}", "operate", "routes:remove_upstream", Why),
    # Stock
    _get("/tasks", "view", "stock:tasks"),
    _post("/tasks/{task}/rollback", "approve", "stock:rollback", Why),
    _post("/tasks/{task}/retire", "approve", "stock:retire", Why),
    _get("/variants", "view", "stock:search", Search),
    _get("/variants/{handle}", "view", "stock:show"),
    _get("/variants/{handle}/lineage", "view", "stock:lineage", Direction),
    _get("/variants/{handle}/bom", "view", "stock:bom"),
    _get("/variants/{handle}/verify", "operate", "stock:verify"),
    _get("/diff", "view", "stock:diff", Pair),
    _get("/decisions", "view", verbs.list_decisions, OfTask),
    _get("/decisions/{digest}", "view", verbs.show_decision),
    _get("/decisions/{digest}/replay", "operate", "decide:replay"),
    # Access
    _get("/keys", "administer", "access:list_keys", Keys, house=False),
    _post("/keys", "administer", "access:create_key", NewKey, house=False),
    _get("/keys/{id}", "administer", "access:show_key", house=False),
    _post("/keys/{id}/revoke", "administer", "access:revoke_key", house=False),
    _post("/keys/{id}/rotate", "administer", "access:rotate_key", Rotation, house=False),
    _get("/tenants", "view", "access:list_tenants", house=False),
    _get("/tenants/{name}", "view", "access:show_tenant", house=False),
    _post("/tenants/{name}", "administer", "access:set_tenant", TenantLimits, house=False),
    _get("/audit", "administer", "access:list_audit", Lines, house=False),
    _get("/audit/verify", "administer", "access:verify_audit"),
)
