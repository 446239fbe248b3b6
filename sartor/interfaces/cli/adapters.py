"""Adapters on other people's servers: find what tells them apart, prove which one answers, let one go."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

Name = Annotated[str, typer.Argument(help="Name of the upstream.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Put the commands into a group."""
    app.command()(adapter)
    app.command()(prove)
    app.command()(unload)


def adapter(
    name: Name,
    rows: Annotated[Path, typer.Argument(help="JSONL with texts to choose probes from.", show_default=False)],
    text: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    answer: Annotated[
        str, typer.Option(help="Column with what the adapter must answer; default: what the server answers now.")
    ] = "",
    system: Annotated[str, typer.Option(help="Instructions that go with each text.")] = "",
    base: Annotated[str, typer.Option(help="What the server calls its model without adapters: a rival too.")] = "",
    load: Annotated[
        str, typer.Option(help="Where the server finds the adapter's files: it is told to load them by vLLM's API.")
    ] = "",
    request: Annotated[str, typer.Option(help="Fields of each request, e.g. '{lora: [{id: 0, scale: 1}]}'.")] = "",
) -> None:
    """Find questions that tell an adapter from all others on its server; from then on it must answer them.

    Example: sartor upstream adapter tickets rows.jsonl --load /adapters/tickets --base smollm2
    """
    from sartor.pipeline.adapters import Search, Told, find_probes
    from sartor.pipeline.gateway_file import read_mapping

    texts, answers = _read(rows, text, answer)
    search = Search(texts, answers, system, base)
    told = Told("vllm" if load else "none", load, read_mapping(request) if request else {})
    with workshop(deed="upstream.adapter", target=name) as shop:
        found = find_probes(shop, name, search, told)
    probes = [(probe["text"][:60], probe["answer"][:60]) for probe in found["adapter"]["probes"]]
    rivals = ", ".join(found["rivals"]) or "none"
    emit(found, lambda: table(f"{name}: told from {rivals}", ["probe", "answer"], probes))


def prove(name: Name) -> None:
    """Ask an upstream's probes: does the adapter that it is named for really answer? Exit code 7 where not."""
    from sartor.pipeline.adapters import prove_adapter

    with workshop(read_only=True) as shop:
        found = prove_adapter(shop, name)
    said = [(probe["text"][:40], probe["wanted"][:40], probe["said"][:40]) for probe in found["probes"]]
    outcome = "proved" if found["proved"] else "NOT the adapter"
    emit(found, lambda: table(f"{name}: {outcome}", ["probe", "wanted", "said"], said))
    if not found["proved"]:
        raise typer.Exit(7)


def unload(name: Name) -> None:
    """Tell the server to let an upstream's adapter go; the next question loads it again."""
    from sartor.pipeline.adapters import unload_adapter

    with workshop(deed="upstream.unload", target=name) as shop:
        unload_adapter(shop, name)
    emit({"unloaded": name}, lambda: say(f"The server of {name} has let its adapter go."))


def _read(rows: Path, text: str, answer: str) -> tuple[list[str], list[str]]:
    from sartor.core.errors import unknown
    from sartor.data.tables import json_lines

    records: list[dict[str, Any]] = [record for _, record in json_lines(rows)]
    for column in (text, *([answer] if answer else [])):
        if missing := next((record for record in records if column not in record), None):
            raise unknown("column", column, missing, param="rows")
    return [str(r[text]) for r in records], [str(r[answer]) for r in records] if answer else []
