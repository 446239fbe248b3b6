"""From rows with recorded answers, or from captured traffic, to a server that replays them."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, NotFoundError, unknown
from sartor.core.task import Task
from sartor.data.tables import csv_rows, json_lines, parquet_rows
from sartor.gateway.recorded import Answered, Book, Recorded
from sartor.gateway.replay import ReplayServer
from sartor.gateway.unpack import find_input, messages_of

TEXT_BYTES = 1 << 20


def open_replay(
    path: Path,
    *,
    text: str = "text",
    answers: Mapping[str, str],
    latency: float = 0.0,
    prompt_tokens: int | None = None,
    task: Task | None = None,
) -> ReplayServer:
    """A server of the answers in a file.

    Args:
        path: JSON lines, CSV or Parquet with a row for each text; or lines of captured traffic with `request` and
            `response`, which say themselves who answered what.
        text: column with the text that was answered.
        answers: name under which applications ask for a model -> column with its answers.
        latency: seconds that an answer takes, where the rows have no column `seconds`.
        prompt_tokens: of every request; None: counted from the prompt that comes.
        task: says where the input stands in a prompt; else it is looked for.

    Raises:
        AskError: the file can't be read, or has nothing to replay.
        NotFoundError: there is no such file, or it has no column of that name; those it has are listed.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no file {path} to replay.", code="file_not_found", param="path")
    rows = [_unfolded(row) for row in _rows(path)]
    if rows and _is_traffic(rows[0]):
        book = Book(_from_traffic(rows, task))
    else:
        _check_columns(rows, [text, *answers.values()])
        book = Book(_from_rows(rows, text, answers))
    if not len(book):
        raise AskError(f"{path} has no recorded answer to replay.", code="nothing_recorded")

    def find(chat: Mapping[str, Any]) -> str | None:
        found = find_input(chat, task, id="", max_bytes=TEXT_BYTES) if task else None
        return found.text if found else None

    return ReplayServer(book, latency=latency, prompt_tokens=prompt_tokens, find=find)


def pairs(models: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """Model -> column, from what was typed beside each other; a column alone is also the model's name.

    Raises:
        AskError: there are more models than columns, or several columns without as many models.
    """
    if models and len(models) != len(columns):
        raise AskError(
            f"There are {len(columns)} columns of answers and {len(models)} models: give '--model' once for each "
            "'--answer', in the same order.",
            param="model",
        )
    return dict(zip(models or columns, columns, strict=True))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".csv":
        return csv_rows(path)
    if path.suffix == ".parquet":
        return parquet_rows(path)
    return (row for _, row in json_lines(path))


def _check_columns(rows: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> None:
    there = dict.fromkeys(name for row in rows for name in row)
    for name in wanted:
        if name not in there:
            raise unknown("column", name, list(there), param=name)


def _from_rows(rows: Sequence[Mapping[str, Any]], text: str, answers: Mapping[str, str]) -> Iterator[Recorded]:
    """A cell that is empty is an answer too: the model was asked, and gave nothing that counts."""
    for row in rows:
        if isinstance(row.get(text), str):
            seconds = _number(row.get("seconds"))
            said = {model: row.get(column) for model, column in answers.items()}
            told = {m: Answered("" if a is None else str(a), seconds=seconds) for m, a in said.items()}
            yield Recorded(row[text], told)


def _unfolded(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the objects that a table can only hold as JSON."""
    held = {name: row[name] for name in ("request", "response") if isinstance(row.get(name), str)}
    if len(held) < 2:
        return row
    try:
        return row | {name: json.loads(text) for name, text in held.items()}
    except ValueError:  # columns of that name, with something else in them
        return row


def _is_traffic(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("request"), dict) and isinstance(row.get("response"), dict)


def _from_traffic(rows: Sequence[Mapping[str, Any]], task: Task | None) -> Iterator[Recorded]:
    """Both the model that was asked for and the one that says it answered can be asked again."""
    for row in rows:
        request, response = row.get("request"), row.get("response")
        try:
            said = response["choices"][0]["message"]["content"]  # type: ignore[index]
            users = [text for role, text in messages_of(request or {}) if role == "user"]
        except (LookupError, TypeError, AskError):
            continue
        if not isinstance(said, str) or not users or not users[-1]:
            continue
        found = find_input(request or {}, task, id="", max_bytes=TEXT_BYTES) if task else None
        usage = (response or {}).get("usage") or {}
        tokens = (_whole(usage.get("prompt_tokens")), _whole(usage.get("completion_tokens")))
        answer = Answered(said, *tokens, seconds=_number(row.get("seconds")))
        models = {str(side["model"]) for side in (request, response) if side and side.get("model")}
        yield Recorded(found.text if found else users[-1], dict.fromkeys(models, answer))


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) and found >= 0 else None
