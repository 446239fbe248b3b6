"""Gateway: replay recorded answers, read another gateway's configuration."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sartor.core.errors import ConflictError
from sartor.interfaces.cli.output import emit, mode, say, workshop

if TYPE_CHECKING:
    from sartor.gateway.litellm_config import Imported
    from sartor.gateway.replay import ReplayServer

app = typer.Typer(
    name="gateway",
    help="What stands in front: replay recorded answers, read another gateway's configuration.",
    no_args_is_help=True,
)

DRAIN_SECONDS = 5.0


@app.callback()
def group() -> None:
    """What stands in front: replay recorded answers, read another gateway's configuration."""


@app.command()
def replay(
    rows: Annotated[
        Path, typer.Argument(help="JSONL, CSV or Parquet, or an export of captured traffic.", show_default=False)
    ],
    text: Annotated[str, typer.Option(help="Column with the text that was answered.")] = "text",
    answer: Annotated[
        list[str] | None, typer.Option(help="Column with a model's answers; may be given several times.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="What that model is called, once for each --answer; default: the column.")
    ] = None,
    latency: Annotated[float, typer.Option(min=0, help="Seconds that an answer takes, if no column 'seconds'.")] = 0.0,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=0, help="Tokens of every prompt; default: counted from what is sent.")
    ] = None,
    task: Annotated[
        Path | None, typer.Option(help="Task file that says where the input stands in a prompt; else it is looked for.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8900,
) -> None:
    """Serve recorded answers over OpenAI's protocol, in place of the model that gave them.

    Example: sartor gateway replay test.jsonl --answer gpt4 --model gpt-4 --latency 0.8
    """
    from sartor.pipeline.replay import open_replay, pairs
    from sartor.pipeline.task_file import read_task

    server = open_replay(
        rows,
        text=text,
        answers=pairs(model or [], answer or []),
        latency=latency,
        prompt_tokens=prompt_tokens,
        task=read_task(task) if task else None,
    )
    _serve(server, port)


@app.command(name="import")
def import_(
    config: Annotated[Path, typer.Argument(help="A LiteLLM proxy's config.yaml.", show_default=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be declared.")] = False,
) -> None:
    """Declare the upstreams and routes of a LiteLLM proxy configuration. Keys stay where they are."""
    import os

    from sartor.gateway.litellm_config import read_litellm
    from sartor.pipeline.gateway_file import GatewayFile, apply
    from sartor.pipeline.task_file import load_yaml, read_text

    loaded = load_yaml(read_text(config), str(config))
    found = read_litellm(loaded if isinstance(loaded, dict) else {}, os.environ)
    if not dry_run:
        wanted = GatewayFile(upstreams=tuple(found.upstreams), routes=tuple(found.routes))
        with workshop(deed="gateway.import", target=config.name) as shop:
            apply(shop, wanted, f"imported from {config.name}")
    body = {
        "declared": not dry_run,
        "upstreams": [upstream.model_dump(mode="json", exclude_defaults=True) for upstream in found.upstreams],
        "routes": [route.model_dump(mode="json", exclude_defaults=True) for route in found.routes],
        "taken": found.taken,
        "left": found.left,
    }
    emit(body, lambda: _tell(found, dry_run))


def _tell(found: "Imported", dry_run: bool) -> None:
    for line in found.taken:
        say(f"taken  {line}")
    for line in found.left:
        say(f"[yellow]left[/]   {line}")
    verb = "would be declared" if dry_run else "declared"
    say(f"{len(found.upstreams)} upstreams and {len(found.routes)} routes {verb}.")


def _serve(server: "ReplayServer", port: int) -> None:
    """Answer on loopback until told to stop."""
    import asyncio
    import json
    import signal
    import socket
    import sys

    import uvloop

    from sartor.gateway.wire.server import serve

    try:
        listening = socket.create_server(("127.0.0.1", port), backlog=2048)
    except OSError as error:
        raise ConflictError(
            f"Port {port} can't be used: {error.strerror}. Name another with --port (0 picks a free one).",
            code="port_taken",
        ) from error

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        wire = await serve(server.handle, [listening])
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        book = server.book
        if mode.json:
            print(json.dumps({"url": url, "models": book.models, "texts": len(book)}))
        say(f"Replaying answers to {len(book):,} texts as {', '.join(book.models)} on {url}")
        sys.stdout.flush()
        await stop.wait()
        await wire.drain(DRAIN_SECONDS)

    uvloop.run(main())
