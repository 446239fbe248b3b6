"""Answer: `serve` over HTTP, `predict` in batch."""

from pathlib import Path
from typing import Annotated

import typer

from sartor.interfaces.cli.output import emit, say, workshop


def add_to(app: typer.Typer) -> None:
    """Put these commands on the top level."""
    app.command()(serve)
    app.command()(predict)


def serve(
    host: Annotated[str, typer.Option(help="Loopback only, until keys are set.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8800,
) -> None:
    """Answer POST /v1/chat/completions under each task's name, for any OpenAI client.

    Example: OPENAI_BASE_URL=http://127.0.0.1:8800/v1 OPENAI_API_KEY=none python your_app.py
    """
    from sartor.interfaces.http import serve_forever

    with workshop(read_only=True) as shop:
        serve_forever(
            shop, host, port, lambda url, names: say(f"Serving {', '.join(names) or 'no task yet'} on {url}/v1")
        )


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
