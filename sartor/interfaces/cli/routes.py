"""Routes and upstreams: what applications ask for, and how variants move towards live."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

app = typer.Typer(
    name="route",
    help="Names that applications ask for: declare them, move variants towards live, certify cascades.",
    no_args_is_help=True,
)
upstreams = typer.Typer(name="upstream", help="Models of others that routes may ask.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the route.", show_default=False)]
Why = Annotated[str, typer.Option(help="The reason, kept in the decision.")]


@app.command("list")
def list_() -> None:
    """Every declared route with its policy and stage."""
    from sartor.pipeline.routes import list_routes

    with workshop(read_only=True) as shop:
        found = list_routes(shop)
    rows = [
        (r["name"], r["task"], _short(r["policy"]), r["stage"], r["capture"]["level"], r["since"][:19]) for r in found
    ]
    emit(found, lambda: table("", ["route", "task", "policy", "stage", "capture", "since"], rows))


@app.command()
def show(name: Name) -> None:
    """One route as it is declared."""
    from sartor.pipeline.routes import show_route

    with workshop(read_only=True) as shop:
        _one(show_route(shop, name))


@app.command("set")
def set_(
    name: Name,
    to: Annotated[str, typer.Option(help="What answers: a name, or a policy: '{use: cascade, …}'.")],
    task: Annotated[str, typer.Option(help="Whose input and value function apply; none: chats pass through.")] = "",
    unmatched: Annotated[str, typer.Option(help="Upstream for requests whose input is not found.")] = "",
    capture: Annotated[str, typer.Option(help="off, hash, sampled or full.")] = "full",
    durability: Annotated[str, typer.Option(help="sync or async.")] = "async",
    why: Why = "declared",
) -> None:
    """Declare a route, or change one. For all settings: sartor route apply FILE."""
    from sartor.pipeline.gateway_file import parse_gateway, read_target
    from sartor.pipeline.routes import declare_route

    spec = {"name": name, "policy": read_target(to), "task": task, "unmatched": unmatched}
    kept = {"capture": {"level": capture, "durability": durability}}
    (route,) = parse_gateway({"routes": [spec | kept]}, "the route").routes
    with workshop(deed="route.set", target=name) as shop:
        _one(declare_route(shop, route, why))


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="YAML with 'upstreams' and 'routes'.", show_default=False)],
    why: Why = "applied from a file",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
) -> None:
    """Declare everything in a file that differs from what stands."""
    from sartor.pipeline.gateway_file import apply as declare
    from sartor.pipeline.gateway_file import read_gateway_file

    with workshop(deed="" if dry_run else "route.apply", target=str(file)) as shop:
        done = declare(shop, read_gateway_file(file), why, dry_run=dry_run)
    verb = "Would change" if dry_run else "Changed"
    emit(done.body(), lambda: say(f"{verb}: {', '.join(done.upstreams + done.routes) or 'nothing'}"))


@app.command()
def remove(name: Name, why: Why) -> None:
    """Answer to this name no more."""
    from sartor.pipeline.routes import remove_route

    with workshop(deed="route.remove", target=name) as shop:
        remove_route(shop, name, why)
    emit({"removed": name}, lambda: say(f"Removed route {name}."))


@app.command()
def shadow(
    name: Name,
    target: Annotated[
        str, typer.Argument(help="A name, or a policy; left out: what its shadow is worth so far.", show_default=False)
    ] = "",
    share: Annotated[float, typer.Option(min=0.0001, max=1, help="Share of the traffic that it sees.")] = 1.0,
    why: Why = "",
) -> None:
    """Let a target see the route's traffic and answer nobody; without a target, say what it is worth so far."""
    from sartor.pipeline.gateway_file import read_target
    from sartor.pipeline.shadowing import shadow_worth
    from sartor.pipeline.stages import stage_shadow

    with workshop(deed="route.shadow" if target else "", target=name) as shop:
        if not target:
            found = shadow_worth(shop, name)
            emit(found, lambda: say(found["says"]))
            return
        _one(stage_shadow(shop, name, read_target(target), share=share, why=why))


@app.command()
def canary(
    name: Name,
    target: Annotated[str, typer.Argument(help="Default: what stands in the shadow.", show_default=False)] = "",
    share: Annotated[float, typer.Option(min=0.0001, max=0.9999, help="Share of the traffic that it answers.")] = 0.1,
    judge: Annotated[
        str, typer.Option(help="Settings of the statistics, e.g. '{min_units: 300, mature: 86400}'.")
    ] = "",
    by_hand: Annotated[bool, typer.Option("--by-hand", help="Do not promote by itself; harm stops it anyway.")] = False,
    verdict: Annotated[bool, typer.Option("--verdict", help="Only say how the canary stands now.")] = False,
    why: Why = "",
) -> None:
    """Let a target answer a share of the route's traffic, until statistics stop or promote it."""
    from sartor.pipeline.canary import look
    from sartor.pipeline.gateway_file import read_mapping, read_target
    from sartor.pipeline.stages import stage_canary

    with workshop(deed="" if verdict else "route.canary", target=name) as shop:
        if verdict:
            found = look(shop, name)
            rows = [(c["name"], c["outcome"], c["says"]) for c in found["checks"]]
            emit(found, lambda: table(f"{name}: {found['verdict']}", ["check", "outcome", "says"], rows))
            return
        wanted = read_target(target) if target else None
        settings = read_mapping(judge) if judge else {}
        _one(stage_canary(shop, name, wanted, share=share, promote=not by_hand, judge=settings, why=why))


@app.command()
def live(
    name: Name,
    target: Annotated[str, typer.Argument(help="Default: the target of the canary.", show_default=False)] = "",
    why: Why = "",
) -> None:
    """Let a target answer everything."""
    from sartor.pipeline.gateway_file import read_target
    from sartor.pipeline.stages import stage_live

    with workshop(deed="route.live", target=name) as shop:
        _one(stage_live(shop, name, read_target(target) if target else None, why=why))


@app.command()
def stop(name: Name, why: Why) -> None:
    """Take shadow and canary away."""
    from sartor.pipeline.stages import stop_stage

    with workshop(deed="route.stop", target=name) as shop:
        _one(stop_stage(shop, name, why=why))


@app.command()
def certify(
    name: Name,
    alpha: Annotated[float, typer.Option(help="Most wrong ones among local answers, as a share.")] = 0.05,
    delta: Annotated[float, typer.Option(help="Chance with which the promise may fail.")] = 0.05,
    against: Annotated[
        str, typer.Option(help="Column of the giant's recorded answers: bound the loss against it instead.")
    ] = "",
    apply_: Annotated[bool, typer.Option("--apply", help="Put the threshold into the route.")] = False,
) -> None:
    """The lowest threshold of a cascade that can be promised. Exit code 7 where none can."""
    from sartor.pipeline.certify import certify_route

    with workshop(deed="route.certify", target=name) as shop:
        found = certify_route(shop, name, alpha=alpha, delta=delta, against=against, apply=apply_)

    def people() -> None:
        say(found.certificate.says)
        say(found.note)
        if found.applied:
            say(f"Route {name} answers by it now; the certificate is report {found.report[:12]}.")

    emit(found.body(), people)
    if found.certificate.threshold is None:
        raise typer.Exit(7)


@app.command()
def rollback(name: Name, why: Why = "rollback") -> None:
    """Go back to what the route was before its last change."""
    from sartor.pipeline.stages import rollback_route

    with workshop(deed="route.rollback", target=name) as shop:
        _one(rollback_route(shop, name, why=why))


@upstreams.command("list")
def list_upstreams_() -> None:
    """Every declared upstream."""
    from sartor.pipeline.upstreams import list_upstreams

    with workshop(read_only=True) as shop:
        found = list_upstreams(shop)
    rows = [(u["name"], u["protocol"], u["base_url"], u["model"] or u["name"], _key(u), u["since"][:19]) for u in found]
    emit(found, lambda: table("", ["upstream", "protocol", "address", "model", "key", "since"], rows))


@upstreams.command("show")
def show_upstream_(name: Annotated[str, typer.Argument(help="Name of the upstream.", show_default=False)]) -> None:
    """One upstream as it is declared."""
    from sartor.pipeline.upstreams import shown_upstream

    with workshop(read_only=True) as shop:
        _one(shown_upstream(shop, name))


@upstreams.command("set")
def set_upstream_(
    name: Annotated[str, typer.Argument(help="By which routes name it.", show_default=False)],
    url: Annotated[str, typer.Option(help="Up to and without /chat/completions.")],
    protocol: Annotated[str, typer.Option(help="openai, anthropic or google.")] = "openai",
    model: Annotated[str, typer.Option(help="What it calls the model; default the name.")] = "",
    key: Annotated[str, typer.Option(help="Where the server finds its key: env:NAME or file:PATH.")] = "",
    price: Annotated[
        str, typer.Option(help="INPUT/OUTPUT/CURRENCY per million tokens, e.g. 30/60/USD; default the list price.")
    ] = "",
    allow_private: Annotated[bool, typer.Option("--allow-private", help="It is on this machine or network.")] = False,
    why: Why = "declared",
) -> None:
    """Declare an upstream, or change one. For all settings: sartor route apply FILE."""
    from sartor.pipeline.gateway_file import parse_gateway
    from sartor.pipeline.upstreams import declare_upstream

    spec: dict[str, Any] = {"name": name, "base_url": url, "protocol": protocol, "model": model}
    spec |= {"allow_private": allow_private, "price": _price(price)}
    spec["key"] = _place(key)
    (upstream,) = parse_gateway({"upstreams": [spec]}, "the upstream").upstreams
    with workshop(deed="upstream.set", target=name) as shop:
        _one(declare_upstream(shop, upstream, why))


@upstreams.command("remove")
def remove_upstream_(
    name: Annotated[str, typer.Argument(help="Name of the upstream.", show_default=False)], why: Why
) -> None:
    """Ask it no more."""
    from sartor.pipeline.routes import remove_upstream

    with workshop(deed="upstream.remove", target=name) as shop:
        remove_upstream(shop, name, why)
    emit({"removed": name}, lambda: say(f"Removed upstream {name}."))


def _place(text: str) -> dict[str, str] | None:
    from sartor.core.errors import AskError

    kind, colon, name = text.partition(":")
    if text and (kind not in ("env", "file") or not colon or not name):
        raise AskError(
            "--key says where the key is, never what it is: env:OPENAI_API_KEY or file:/run/secrets/openai.",
            param="key",
        )
    return {kind: name} if text else None


def _price(text: str) -> dict[str, Any] | None:
    from sartor.core.errors import AskError

    if not text:
        return None
    try:
        asked, said, currency = text.split("/")
        return {"input_million": float(asked), "output_million": float(said), "currency": currency}
    except ValueError as error:
        raise AskError(
            f"--price {text!r} can't be read. Write INPUT/OUTPUT/CURRENCY, e.g. 30/60/USD.", param="price"
        ) from error


def _key(upstream: dict[str, Any]) -> str:
    where = upstream["key"] or {}
    return f"${where['env']}" if where.get("env") else where.get("file", "") or "none"


def _short(policy: Any) -> str:
    return policy if isinstance(policy, str) else str(policy.get("use", "")) + " …"


def _one(shown: dict[str, Any]) -> None:
    import json

    cells = [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in shown.items()]
    emit(shown, lambda: table("", ["what", ""], cells))
