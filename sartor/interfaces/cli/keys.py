"""Keys, tenants and the audit log: the commands of `sartor key`."""

from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

app = typer.Typer(name="key", help="Access keys, tenants and the audit log.", no_args_is_help=True)
tenants = typer.Typer(help="Tenants: whose keys, traffic and costs are kept apart.", no_args_is_help=True)
app.add_typer(tenants, name="tenant")

Ident = Annotated[str, typer.Argument(help="Id of the key: the part behind 'sartor_'.", show_default=False)]
Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        help="NAME=NUMBER; repeat for more: requests_per_minute, tokens_per_minute, money_per_day, money_per_month.",
        show_default="no limits",
    ),
]


@app.command()
def create(
    role: Annotated[str, typer.Option(help="application, viewer, operator, approver or admin.")] = "application",
    tenant: Annotated[str, typer.Option(help="Whose it is; '*' sees all tenants.")] = "default",
    scope: Annotated[
        list[str] | None, typer.Option(help="A model it may ask, or 'triage*'; repeat for more.", show_default="all")
    ] = None,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[float | None, typer.Option(min=0, help="Days until it expires.", show_default="never")] = None,
    limit: Limits = None,
) -> None:
    """Make a key; it is shown this once. From the first key on, every request needs one."""
    from sartor.pipeline.access import OWNER, create_key

    with workshop(deed="key.create", target=label or tenant) as shop:
        made = create_key(
            shop,
            OWNER,
            role=_role(role),
            tenant=tenant,
            scope=tuple(scope or ()),
            limits=_limits(limit),
            label=label,
            days=days,
        )
    _new(made)


@app.command("list")
def list_(tenant: Annotated[str, typer.Option(help="Only of this tenant.")] = "*") -> None:
    """Keys, without their texts."""
    from dataclasses import replace

    from sartor.pipeline.access import OWNER, list_keys

    with workshop(read_only=True) as shop:
        found = list_keys(shop, replace(OWNER, tenant=tenant))
    rows = [
        (k["id"], k["tenant"], k["role"], k["state"], _when(k["expires"]), ", ".join(k["scope"]) or "all", k["label"])
        for k in found
    ]
    emit(found, lambda: table("", ["key", "tenant", "role", "state", "expires", "scope", "label"], rows))


@app.command()
def show(key: Ident) -> None:
    """One key, and what it used in the running day and month."""
    from sartor.pipeline.access import OWNER, show_key

    with workshop(read_only=True) as shop:
        _one(show_key(shop, OWNER, key))


@app.command()
def revoke(key: Ident) -> None:
    """Refuse a key for good. Running servers follow within a second."""
    from sartor.pipeline.access import OWNER, revoke_key

    with workshop(deed="key.revoke", target=key) as shop:
        gone = revoke_key(shop, OWNER, key)
    emit(gone, lambda: say(f"Key {key} is revoked."))


@app.command()
def rotate(
    key: Ident,
    overlap: Annotated[float, typer.Option(min=0, help="Hours for which the old key goes on.")] = 24.0,
) -> None:
    """Make a key that may do the same, and let the old one end."""
    from sartor.pipeline.access import OWNER, rotate_key

    with workshop(deed="key.rotate", target=key) as shop:
        made = rotate_key(shop, OWNER, key, overlap_hours=overlap)
    _new(made)
    say(f"Key {key} goes on for {overlap:g} hours.")


@app.command()
def audit(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Show at most this many.")] = 50,
    verify: Annotated[bool, typer.Option("--verify", help="Check each line against its seal instead.")] = False,
) -> None:
    """What administrators did, newest first. With --verify, exit code 1 if a line was changed."""
    from sartor.pipeline.access import OWNER, list_audit, verify_audit

    with workshop(read_only=True) as shop:
        if verify:
            whole = verify_audit(shop)
            emit(whole, lambda: say(f"All lines are as they were written; the newest is {whole['newest']}."))
            return
        found = list_audit(shop, OWNER, limit=limit)
    rows = [(_when(d["at"]), d["who"], d["tenant"], d["action"], d["target"], d["outcome"]) for d in found]
    emit(found, lambda: table("", ["when", "who", "tenant", "action", "target", "outcome"], rows))


@tenants.command("list")
def list_tenants_() -> None:
    """Every tenant with the limits of its keys together."""
    from sartor.pipeline.access import OWNER, list_tenants

    with workshop(read_only=True) as shop:
        found = list_tenants(shop, OWNER)
    emit(
        found,
        lambda: table(
            "", ["tenant", "limits", "since"], [(t["name"], _said(t["limits"]), _when(t["created"])) for t in found]
        ),
    )


@tenants.command("show")
def show_tenant_(name: Annotated[str, typer.Argument(help="Name of the tenant.", show_default=False)]) -> None:
    """One tenant, and what its keys used together."""
    from sartor.pipeline.access import OWNER, show_tenant

    with workshop(read_only=True) as shop:
        _one(show_tenant(shop, OWNER, name))


@tenants.command("set")
def set_tenant_(
    name: Annotated[str, typer.Argument(help="Name of the tenant.", show_default=False)],
    limit: Limits = None,
) -> None:
    """Make a tenant, or give its keys together other limits; what is not stated is not limited."""
    from sartor.pipeline.access import OWNER, set_tenant

    with workshop(deed="tenant.set", target=name) as shop:
        _one(set_tenant(shop, OWNER, name=name, limits=_limits(limit)))


def _limits(stated: list[str] | None) -> Any:
    from pydantic import ValidationError

    from sartor.core.errors import AskError
    from sartor.core.route import Allowance

    pairs = [text.partition("=") for text in stated or ()]
    try:
        return Allowance.model_validate({name: number for name, _, number in pairs})
    except ValidationError as error:
        names = ", ".join(Allowance.model_fields)
        raise AskError(
            f"--limit {' --limit '.join(stated or ())} can't be read: write NAME=NUMBER with a number above 0. "
            f"Names: {names}.",
            param="limit",
            code="bad_limit",
        ) from error


def _role(name: str) -> Any:
    from sartor.core.access import ROLES
    from sartor.core.errors import unknown

    if name not in ROLES:
        raise unknown("role", name, ROLES, param="role")
    return name


def _new(made: dict[str, Any]) -> None:
    def people() -> None:
        print(made["key"])
        say(f"Key {made['id']} of tenant {made['tenant']}, role {made['role']}. It is shown this once: keep it now.")

    emit(made, people)


def _one(found: dict[str, Any]) -> None:
    emit(found, lambda: table("", ["what", ""], [(name, _said(value)) for name, value in found.items()]))


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:g}" for name, number in value.items()) or "none"
    return ", ".join(value) if isinstance(value, list) else value


def _when(at: float | None) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" if at is not None else "never"
