"""Who is calling and what they may do: one table of roles for the data plane, the control plane and the console."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Permission = Literal["anyone", "ask", "list", "view", "operate", "approve", "administer"]
"""What a route takes. `anyone`: no key. `ask`: answers and feedback. `list`: names of models. `view`: everything
that is kept of the own tenant. `operate`: routes, upstreams, backfills. `approve`: what users meet (stages, rollbacks).
`administer`: keys, tenants, erasure."""

Role = Literal["application", "viewer", "operator", "approver", "admin"]

ROLES: Mapping[Role, frozenset[Permission]] = {
    "application": frozenset({"anyone", "ask", "list"}),
    "viewer": frozenset({"anyone", "list", "view"}),
    "operator": frozenset({"anyone", "ask", "list", "view", "operate"}),
    "approver": frozenset({"anyone", "ask", "list", "view", "operate", "approve"}),
    "admin": frozenset({"anyone", "ask", "list", "view", "operate", "approve", "administer"}),
}
"""Role -> what it may."""

NO_TENANT = "default"
"""Tenant of everything while there are no keys."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request, as its key says."""

    tenant: str = NO_TENANT
    role: Role = "admin"
    key: str = ""
    """Id of the key; '' where none is needed, on loopback."""
    scope: tuple[str, ...] = ()
    """Models that it may ask, `*` at the end stands for anything (`triage*`); empty: all of its tenant's."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """What it may use: see `core.route.Allowance`."""

    def may(self, permission: Permission) -> bool:
        """Whether the role has the permission."""
        return permission in ROLES[self.role]

    def sees(self, model: str) -> bool:
        """Whether the scope has the model. A handle (`triage@v7`) is in the scope of its name."""
        name = model.partition("@")[0]
        return not self.scope or any(
            name.startswith(entry[:-1]) if entry.endswith("*") else entry in (name, model) for entry in self.scope
        )
