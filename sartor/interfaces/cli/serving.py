"""Answer: `serve` over HTTP, `predict` in batch."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from sartor.core.errors import AskError, missing_extra
from sartor.interfaces.cli.output import emit, mode, say, workshop


def add_to(app: typer.Typer) -> None:
    """Put these commands on the top level."""
    app.command()(serve)
    app.command()(predict)


def serve(
    host: Annotated[str, typer.Option(help="Loopback only, until there are access keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8800,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that answer.")] = 1,
    admin_host: Annotated[str, typer.Option(help="Of the control plane.")] = "127.0.0.1",
    admin_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Of the control plane; default: the one after --port.")
    ] = None,
    drain_seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="For what is under way when told to stop.")
    ] = 30.0,
    traces: Annotated[
        bool, typer.Option("--traces", help="Export OpenTelemetry spans; on where OTEL_EXPORTER_OTLP_ENDPOINT is set.")
    ] = False,
    with_worker: Annotated[
        bool, typer.Option("--with-worker", help="Do durable jobs beside, in a process of its own.")
    ] = False,
) -> None:
    """Answer any OpenAI client under the names of tasks and routes; the control plane has a port of its own.

    Example: OPENAI_BASE_URL=http://127.0.0.1:8800/v1 OPENAI_API_KEY=none python your_app.py
    """
    from sartor.interfaces.http import Listening, Plan, serve_forever
    from sartor.interfaces.settings import Settings

    settings = Settings.read(mode.home)
    # A store that can't be written still serves; what is captured then waits in memory and is dropped in the end.
    # With a worker there may be none yet: the first file that is sent may be the first thing in it.
    begins = with_worker and not settings.home.exists()
    read_only = not settings.ledger_url and not begins and not os.access(settings.home, os.W_OK)
    if read_only and with_worker:
        raise AskError(
            f"The store in {settings.home} can't be written, and jobs write. Leave --with-worker away, or mend that.",
            param="with_worker",
            code="store_read_only",
        )
    if with_worker and find_spec("dbos") is None:
        raise missing_extra("dbos", "--with-worker")
    beside = admin_port if admin_port is not None else port and port + 1
    traces = traces or "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ
    plan = Plan(host, port, workers, admin_host, beside, drain_seconds, read_only, traces, int(with_worker))

    def ready(on: Listening) -> None:
        say(f"Serving {', '.join(on.names) or 'no task yet'} on {on.url}/v1")
        say(f"Control plane on {on.admin_url}")

    with workshop(read_only=read_only) as shop:
        serve_forever(shop, plan, ready)


def predict(
    rows: Annotated[
        Path, typer.Argument(help="CSV, JSONL or Parquet with the task's input columns.", show_default=False)
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="task, task@live or task@v7; default: the only live task.")
    ] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Parquet, CSV or JSONL, by its ending.")] = Path(
        "answers.parquet"
    ),
) -> None:
    """Answer a file of rows in batch."""
    from sartor.pipeline.predict import predict_file

    with workshop(read_only=True) as shop:
        done = predict_file(shop, model, rows, out)
    emit(
        done.body(),
        lambda: say(f"Answered {done.rows:,} rows with {done.version}: {done.escalated:,} to escalate. Wrote {out}"),
    )
