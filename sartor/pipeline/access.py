"""Keys, tenants and the audit log: the verbs of `sartor key` and of the control plane, and who may do what to whom.

The house is whoever runs the installation: keys of the tenants `*` and `default`. What is shared (tasks, variants,
decisions, routes, upstreams) is the house's business; a key of any other tenant sees what is its tenant's own. Only
keys of the tenant `*` see other tenants. No key can make another that may do more than itself.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sartor.core.access import NO_TENANT, ROLES, Caller, Role
from sartor.core.errors import AskError, ForbiddenError, SartorError, StoreError
from sartor.core.route import Allowance, check_name
from sartor.core.traffic import NANO
from sartor.pipeline.workshop import Workshop
from sartor.store.allowances import Allowances
from sartor.store.audit import Audit, Deed
from sartor.store.credentials import EVERY_TENANT, AccessKey, Tenant, hide_keys, mark_of, new_text
from sartor.store.keys import Keys

OWNER = Caller(EVERY_TENANT, "admin")
"""Whoever can open the store itself, as on the command line."""
DAY = 86_400.0


def is_house(caller: Caller) -> bool:
    """Whether what is shared by all tenants is the caller's business."""
    return caller.tenant in (EVERY_TENANT, NO_TENANT)


# Keys


def create_key(
    shop: Workshop,
    caller: Caller,
    *,
    role: Role = "application",
    tenant: str = "",
    scope: tuple[str, ...] = (),
    limits: Allowance = Allowance(),
    label: str = "",
    days: float | None = None,
) -> dict[str, Any]:
    """Make a key. Its text, under `key`, is shown this once and kept nowhere.

    Args:
        tenant: default the caller's own, or `default` where the caller is of all tenants.
        scope: models that it may ask, `*` at the end stands for anything; empty: all.
        days: after which it expires; None: never.

    Raises:
        ForbiddenError: it would be allowed more than the caller.
        AskError: the tenant's name, or an entry of the scope, doesn't fit.
    """
    now, (ident, text) = time.time(), new_text()
    key = AccessKey(
        id=ident,
        mark=mark_of(text),
        tenant=_tenant_name(tenant or (NO_TENANT if caller.tenant == EVERY_TENANT else caller.tenant)),
        role=role,
        scope=tuple(_scope_entry(entry) for entry in scope),
        limits=limits.model_dump(exclude_none=True),
        label=label,
        created=now,
        created_by=shop.who,
        expires=None if days is None else now + days * DAY,
    )
    _check_no_more(shop, caller, key)
    _keys(shop).add(key)
    return {"key": text, **key.body(now)}


def list_keys(shop: Workshop, caller: Caller, *, after: str = "", limit: int = 1000) -> list[dict[str, Any]]:
    """Keys of the caller's tenant, without their texts."""
    now = time.time()
    return [key.body(now) for key in _keys(shop).all(caller.tenant, after=after, limit=limit)]


def show_key(shop: Workshop, caller: Caller, id: str) -> dict[str, Any]:  # noqa: A002 - its name over HTTP too
    """One key, and what it used in the running day and month.

    Raises:
        NotFoundError: the caller's tenant has no such key.
    """
    key = _keys(shop).get(id, caller.tenant)
    return key.body(time.time()) | {"used": _used(shop, f"key:{key.id}")}


def revoke_key(shop: Workshop, caller: Caller, id: str) -> dict[str, Any]:  # noqa: A002
    """Refuse a key for good; running servers follow within a second.

    Raises:
        NotFoundError: the caller's tenant has no such key.
    """
    now = time.time()
    return _keys(shop).revoke(id, caller.tenant, now).body(now)


def rotate_key(
    shop: Workshop,
    caller: Caller,
    id: str,  # noqa: A002
    *,
    overlap_hours: float = 24.0,
) -> dict[str, Any]:
    """Make a key that may do the same; the old one goes on for some hours, so that it can be replaced in peace.

    Raises:
        NotFoundError: the caller's tenant has no such key.
        AskError: the old key is revoked or expired.
        ForbiddenError: it is allowed more than the caller.
        ConflictError: somebody changed it meanwhile.
    """
    now, old = time.time(), _keys(shop).get(id, caller.tenant)
    if old.state(now) != "active":
        raise AskError(f"Key {id} is {old.state(now)}. Make a new one: sartor key create", code="key_not_active")
    ident, text = new_text()
    ends = None if old.expires is None else now + (old.expires - old.created)
    fresh = {"id": ident, "mark": mark_of(text), "created": now, "created_by": shop.who, "expires": ends}
    new = replace(old, **fresh, replaces=old.id)  # type: ignore[arg-type]
    _check_no_more(shop, caller, new)
    _keys(shop).replace(old, new, until=now + overlap_hours * 3600)
    return {"key": text, **new.body(now)}


def _check_no_more(shop: Workshop, caller: Caller, key: AccessKey) -> None:
    """Refuse a key that may do more than whoever makes it."""
    if caller.tenant not in (EVERY_TENANT, key.tenant):
        raise _forbidden(f"a key of tenant '{key.tenant}'", f"yours is of '{caller.tenant}'")
    if not ROLES[key.role] <= ROLES[caller.role]:
        raise _forbidden(f"a key with the role {key.role}", f"yours has the role {caller.role}")
    if caller.scope and not (key.scope and all(_covered(entry, caller.scope) for entry in key.scope)):
        raise _forbidden("a key with that scope", f"yours is for {', '.join(caller.scope)}: give a scope within it")
    for name, most in caller.limits.items():
        if key.limits.get(name, float("inf")) > most:
            raise _forbidden(f"a key without that limit in {name}", f"yours may use {most:g}: state as much or less")
    ends = _keys(shop).get(caller.key, EVERY_TENANT).expires if caller.key else None
    if ends is not None and (key.expires is None or key.expires > ends):
        raise _forbidden("a key that outlives yours", "state fewer days")


def _forbidden(what: str, why: str) -> ForbiddenError:
    return ForbiddenError(f"You may not make {what}: no key makes more than itself, and {why}.", code="more_than_own")


def _covered(entry: str, scope: tuple[str, ...]) -> bool:
    names = entry.removesuffix("*")
    return any(names.startswith(wide[:-1]) if wide.endswith("*") else wide == entry for wide in scope)


def _tenant_name(name: str) -> str:
    if name == EVERY_TENANT:
        return name
    try:
        return check_name(name)
    except ValueError as error:
        raise AskError(f"A tenant can't be called {name[:80]!r}: {error}.", param="tenant", code="bad_name") from error


def _scope_entry(entry: str) -> str:
    try:
        if entry != "*":
            check_name(entry.removesuffix("*").partition("@")[0])
    except ValueError as error:
        raise AskError(
            f"{entry[:80]!r} is no model to be in a scope: write names, or their beginning with a star (triage*).",
            param="scope",
            code="bad_scope",
        ) from error
    return entry


def _keys(shop: Workshop) -> Keys:
    return Keys(shop.store.ledger.database)


# Tenants


def set_tenant(shop: Workshop, caller: Caller, *, name: str, limits: Allowance = Allowance()) -> dict[str, Any]:
    """Make a tenant, or give all of its keys together other limits.

    Raises:
        ForbiddenError: the caller is not of all tenants.
    """
    if caller.tenant != EVERY_TENANT:
        raise ForbiddenError("Only keys of the tenant '*' make tenants and set their limits.", code="not_every_tenant")
    if name == EVERY_TENANT:
        raise AskError("'*' stands for all tenants and has no limits.", param="name", code="bad_name")
    stated = limits.model_dump(exclude_none=True)
    return _keys(shop).set_tenant(Tenant(_tenant_name(name), stated, time.time(), shop.who)).body()


def list_tenants(shop: Workshop, caller: Caller) -> list[dict[str, Any]]:
    """Tenants that the caller may see."""
    return [tenant.body() for tenant in _keys(shop).tenants(caller.tenant)]


def show_tenant(shop: Workshop, caller: Caller, name: str) -> dict[str, Any]:
    """One tenant, and what its keys used together in the running day and month.

    Raises:
        NotFoundError: there is none that the caller may see.
    """
    found = _keys(shop).tenant(name, caller.tenant)
    return found.body() | {"used": _used(shop, f"tenant:{name}")}


def _used(shop: Workshop, holder: str) -> dict[str, float]:
    """Money set aside or spent; what workers have leased and not yet spent is in it."""
    used: Mapping[str, int] = Allowances(shop.store.ledger.database).used(holder, time.time())
    return {resource: amount / NANO for resource, amount in used.items()}


# Audit


@contextmanager
def audited(shop: Workshop, action: str, target: str, caller: Caller = OWNER) -> Iterator[None]:
    """Write down that something is begun, and how it ended. What can't be written down is not done.

    Args:
        action: what is done, as a word: `key.create`.
        target: to what.
    """
    log = Audit(shop.store.ledger.database)

    def write(outcome: str) -> None:
        log.append(Deed(time.time(), shop.who, caller.tenant, action, hide_keys(target)[:200], outcome))

    write("begun")
    try:
        yield
    except BaseException as error:
        write(error.code if isinstance(error, SartorError) else type(error).__name__)
        raise
    write("done")


def list_audit(shop: Workshop, caller: Caller, *, below: int | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """What was done in the caller's tenant, newest first."""
    return [line.body() for line in Audit(shop.store.ledger.database).lines(caller.tenant, below=below, limit=limit)]


def verify_audit(shop: Workshop) -> dict[str, Any]:
    """Read the whole log and check each line against its seal.

    Raises:
        StoreError: a line is not as it was written.
    """
    log = Audit(shop.store.ledger.database)
    broken = log.verify()
    if broken is not None:
        raise StoreError(
            f"The audit log was changed: line {broken.seq} does not fit the line before it. Compare it with a backup.",
            code="audit_changed",
        )
    newest = log.lines(EVERY_TENANT, limit=1)
    return {"whole": True, "newest": newest[0].seq if newest else 0, "hash": newest[0].hash if newest else ""}
