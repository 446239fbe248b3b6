"""`sartor explain`: from an answer to everything that made it."""

from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, workshop


def add_to(app: typer.Typer) -> None:
    """Put the command on the top level."""
    app.command()(explain)


def explain(
    exchange: Annotated[str, typer.Argument(help="Id of the completion (chatcmpl-…).", show_default=False)],
) -> None:
    """Walk from an answer to the models asked, the variant, its rows, its report and the decision."""
    from sartor.pipeline.explain import explain as walk

    with workshop(read_only=True) as shop:
        found = walk(shop, exchange).body()
    emit(found, lambda: _print(found))


def _print(found: dict[str, Any]) -> None:
    row = found["exchange"]
    said = row["label"] or f"status {row['status']}"
    say(f"[bold]{row['id']}[/] at {row['at']}: {row['model']} said [bold]{said}[/] ({row['decision']})")
    say(f"  cost {row['cost']:.9f}, {row['seconds'] * 1000:.1f} ms, content {found['content']}")
    if found["asked"]:
        say(f"  input: {found['asked'][:300]}")
    for number, hop in enumerate(found["hops"], start=1):
        sure = "" if hop["confidence"] is None else f", confidence {hop['confidence']:.3f}"
        why = f" ({hop['why']})" if hop["why"] else ""
        say(f"  {number}. {hop['kind']} {hop['served_by'][:12]}: {hop['label'] or '-'}{sure}, {hop['cost']:.9f}{why}")
        if hop["variant"]:
            _papers(hop["variant"])
    if found["route"]:
        say(f"  route: {found['route']['decision'][:12]} since {found['route']['since']}, {_reasons(found['route'])}")
    for told in found["feedback"]:
        say(f"  feedback: {told['metric']} = {told['value']} ({told['source']})")


def _papers(variant: dict[str, Any]) -> None:
    say(f"     variant {', '.join(variant['versions'])}: {variant['title']}")
    say(f"     data {variant['data']['digest'][:12]}: {variant['data']['rows']}")
    for row in variant["data"]["nearest"]:
        say(f"       like training row {row['id']} ({row['label']}): {row['text'][:120]}")
    if variant["report"]:
        accuracy = (variant["report"]["accuracy"] or {}).get("value")
        say(f"     report {variant['report']['digest'][:12]}: accuracy {accuracy}")
    if variant["decision"]:
        say(f"     live by {variant['decision']['decision'][:12]}: {_reasons(variant['decision'])}")


def _reasons(decision: dict[str, Any]) -> str:
    return "; ".join(decision.get("reasons", ())) or "no reason given"
