"""`sartor top`: a live view of the routes of a running server."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sartor.core.errors import AskError, UpstreamError
from sartor.interfaces.cli.output import console, emit

if TYPE_CHECKING:
    from sartor.interfaces.live import Line, Reading

COLUMNS = ("route", "requests/s#", "errors#", "p50#", "p95#", "local#", "cost/h#", "saved/h#")


def add_to(app: typer.Typer) -> None:
    """Put the command on the top level."""
    app.command()(top)


def top(
    url: Annotated[str, typer.Option(help="Of the control plane.")] = "http://127.0.0.1:8801",
    key_file: Annotated[
        Path | None, typer.Option(help="File with an access key that may 'view'; needed once there are keys.")
    ] = None,
    every: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Show what was counted since the start, and stop.")] = False,
) -> None:
    """What is going on at the routes of a running server: traffic, errors, latency, local share, money."""
    from sartor.interfaces.live import lines

    look = _looking(url, key_file)
    now = look()
    if once:
        found = lines(None, now)
        shown = {"since": now.since, "at": now.at, "routes": [line.body() for line in found], "process": now.process}
        emit(shown, lambda: console().print(_drawn(found, now)))
        return
    from rich.live import Live

    with Live(_drawn(lines(None, now), now), auto_refresh=False) as screen:
        while True:
            time.sleep(every)
            before, now = now, look()
            screen.update(_drawn(lines(before, now), now), refresh=True)


def _looking(url: str, key_file: Path | None) -> "Callable[[], Reading]":
    import http.client
    from urllib.parse import urlsplit

    from sartor.interfaces.live import read

    at = urlsplit(url)
    if at.scheme not in ("http", "https") or not at.hostname:
        raise AskError(f"'{url}' is no address. Write http://HOST:PORT.", param="url", code="bad_url")
    headers = {"authorization": f"Bearer {_key(key_file)}"} if key_file else {}
    kind = http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection

    def look() -> "Reading":
        connection = kind(at.hostname or "", at.port, timeout=10)
        try:
            connection.request("GET", "/metrics", headers=headers)
            answer = connection.getresponse()
            said = answer.read().decode("utf-8", "replace")
        except OSError as error:
            raise UpstreamError(
                f"No server answers at {url}: {error}. Start one with 'sartor serve', or name its control plane "
                "with --url.",
                retryable=True,
                code="no_server",
            ) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise AskError(f"The server at {url} refused with {answer.status}: {said[:500]}", code="refused_there")
        return read(said, time.time())

    return look


def _key(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise AskError(f"The key's file '{path}' can't be read: {error.strerror}.", param="key_file") from error


def _drawn(found: "Sequence[Line]", now: "Reading") -> Any:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        drawn.add_column(column.removesuffix("#"), justify="right" if column.endswith("#") else "left")
    for line in found:
        drawn.add_row(escape(line.route) or "(none)", *_cells(line))
    p = now.process
    told = (
        f"{p.get('workers', 0):.0f} workers · {p.get('connections', 0):.0f} connections · "
        f"{p.get('in_flight', 0):.0f} under way · loop late by {_time(p.get('loop_lag_seconds'))} · "
        f"capture {p.get('capture:written', 0):,.0f} written, "
        f"{p.get('capture:dropped_records', 0) + p.get('capture:dropped_content', 0):,.0f} dropped"
    )
    return Group(drawn, "", told)


def _cells(line: "Line") -> tuple[str, ...]:
    return (
        f"{line.per_second:,.1f}",
        f"{line.errors:.1%}",
        _time(line.p50),
        _time(line.p95),
        "" if line.local is None else f"{line.local:.1%}",
        f"{line.cost_hour:,.4f}",
        "" if line.saved_hour is None else f"{line.saved_hour:,.4f}",
    )


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e3:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"
