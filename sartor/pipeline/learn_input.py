"""From traffic to the `input:` block of a task file: read chats, infer the prompt, write it down.

Chats come from a file of JSON lines or from what a route captured. The rest of the task file stays as it is, comments
too; what can't be put in without harm is not put in.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, RefusedError, unknown
from sartor.core.task import InputSpec
from sartor.data.personal import PATTERNS
from sartor.evaluation.statistics import wilson
from sartor.gateway.learn_input import Lesson, learn_input
from sartor.gateway.unpack import check_input
from sartor.pipeline.task_file import load_yaml, parse_task, read_task
from sartor.pipeline.workshop import Workshop
from sartor.store.traffic.queries import Filters

MOST = 10_000
"""Captured exchanges that are read, the newest."""
KINDS = sorted({pattern.kind for pattern in PATTERNS})
INSIDE = ("request", "body", "asked")
"""Fields of an exported exchange that hold the request."""


def chats_in(path: Path) -> list[Mapping[str, Any]]:
    """The requests in a file of JSON lines: OpenAI's bodies, alone or as `request` of something.

    Raises:
        AskError: a line is no JSON object; the line is named.
    """
    chats = []
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    chats.append(_chat(json.loads(line), f"'{path}', line {number}"))
        except (ValueError, RecursionError) as error:
            raise AskError(
                f"'{path}' is not JSON lines: {error}. Put one request on each line.", code="bad_jsonl"
            ) from error
    return chats


def chats_of(shop: Workshop, route: str) -> list[Mapping[str, Any]]:
    """The requests that a route captured with their content, the oldest first.

    Raises:
        NotFoundError: nothing was captured under this name; those with traffic get listed.
        RefusedError: exchanges were, but not what they said.
    """
    traffic = shop.store.traffic
    traffic.index.catch_up()
    chats: list[Mapping[str, Any]] = []
    seen, after = 0, ""
    while seen < MOST:
        page = traffic.index.exchanges(None, Filters(route=route), after=after, limit=500)
        seen += len(page.rows)
        for row in page.rows:
            kept = traffic.read(None, row.id) if row.endpoint in ("chat", "completions") else None
            if kept is None or kept.state != "kept" or kept.content is None:
                continue
            with suppress(ValueError, AskError):  # requests that were refused were captured too
                chats.append(_chat(json.loads(kept.content.asked), row.id))
        after = page.after
        if not after:
            break
    if not seen:
        raise unknown("captured route or file", route, _routes(shop), code="route_not_captured")
    if not chats:
        raise RefusedError(
            f"Route '{route}' has {seen} exchanges, and the content of none was kept. Capture it with the level "
            "'sampled' or 'full'.",
            code="no_content",
        )
    return chats[::-1]


def learn(
    chats: Sequence[Mapping[str, Any]], *, spec: InputSpec | None, columns: Sequence[str] = (), coverage: float = 0.95
) -> Lesson:
    """The prompt of the chats, its holes named as the task calls its columns.

    Args:
        spec: the task's input as it stands; None where there is no task yet.

    Raises:
        RefusedError: see `gateway.learn_input`.
        AskError: holes and columns don't meet.
    """
    lesson = learn_input(chats, columns=columns, coverage=coverage)
    found = lesson.best.columns
    if spec is None or set(found) == set(spec.columns):
        return lesson
    if columns or len(found) != 1 or len(spec.columns) != 1:
        examples = "; ".join(f"{name}: {text[:40]!r}" for name, text in lesson.best.example.items())
        raise AskError(
            f"The prompt has holes for {', '.join(found) or 'no input'} ({examples}), and the task has the columns "
            f"{', '.join(spec.columns)}. Say which is which with --columns, in their order, '_' first where a hole is "
            "no input.",
            code="other_columns",
        )
    return learn_input(chats, columns=spec.columns, coverage=coverage)


def interval(lesson: Lesson) -> tuple[float, float]:
    """The 95 % interval of the share of requests that the prompt fits."""
    return wilson(lesson.best.held_out, lesson.held_out, 0.95)


def refuse_redacted(lesson: Lesson) -> None:
    """Refuse a prompt with something in its fixed text that the capture replaced: real requests would not fit it.

    Raises:
        RefusedError: it has; says what.
    """
    for message in lesson.best.declared():
        for kind in KINDS:
            if f"[{kind.upper()}]" in message["content"]:
                raise RefusedError(
                    f"The prompt itself holds [{kind.upper()}], which the capture put in the place of something. Infer "
                    "it from a file of requests as the application sends them.",
                    code="redacted_prompt",
                )


def input_block(lesson: Lesson, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What stands under `input:` in the task file.

    Args:
        before: what stood there; what is not about chats stays.
    """
    kept = {
        name: value for name, value in (before or {}).items() if name not in ("columns", "chat", "pointers", "prompt")
    }
    columns = (before or {}).get("columns")
    if not isinstance(columns, list) or set(columns) != set(lesson.best.columns):
        columns = list(lesson.best.columns)
    block = {"columns": columns} | kept | {"chat": "template", "prompt": lesson.best.declared()}
    check_input(InputSpec.model_validate(block))
    return block


def block_text(block: Mapping[str, Any]) -> str:
    """The block as YAML that the task file's reader reads back as it is."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Long texts line by line, where YAML can."""

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    settings: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 10_000}
    for written in (
        yaml.dump({"input": dict(block)}, Dumper=Dumper, **settings),
        yaml.safe_dump({"input": dict(block)}, **settings),
    ):
        if load_yaml(written, "the block") == {"input": dict(block)}:
            return str(written)
    raise AskError("The prompt has characters that YAML can't hold. Declare it by hand.", code="edit_by_hand")


def write_block(task_file: Path, lesson: Lesson) -> str:
    """Put the inferred input into a task file; the block that now stands there.

    Raises:
        AskError: the file is built in a way that can't be edited safely; it is left as it was.
    """
    text = task_file.read_text(encoding="utf-8")
    task = read_task(task_file)
    block = input_block(lesson, load_yaml(text, str(task_file)).get("input"))
    written = block_text(block)
    edited = _replaced(text, written)
    try:
        after = parse_task(edited, str(task_file))
    except AskError:
        after = None
    wanted = task.model_copy(update={"input": InputSpec.model_validate(block)})
    if after != wanted:
        raise AskError(
            f"Could not write the input into '{task_file}' without touching the rest. Put it there by hand:\n{written}",
            code="edit_by_hand",
        )
    task_file.write_text(edited, encoding="utf-8")
    return written


def _replaced(text: str, block: str) -> str:
    """The text with its top-level `input:` replaced, or put before `data:`."""
    lines = text.splitlines(keepends=True)
    starts = [at for at, line in enumerate(lines) if re.match(r"input\s*:", line)]
    if not starts:
        at = next((at for at, line in enumerate(lines) if re.match(r"data\s*:", line)), len(lines))
        if at and not lines[at - 1].endswith("\n"):
            lines[at - 1] += "\n"
        return "".join([*lines[:at], block, *lines[at:]])
    start = end = starts[0] + 1
    for at in range(start, len(lines)):
        if lines[at].strip() and not lines[at][0].isspace() and not lines[at].startswith(("- ", "}", "]")):
            break
        # Blank lines at the end belong to what comes next.
        end = at + 1 if lines[at].strip() else end
    return "".join([*lines[: start - 1], block, *lines[end:]])


def _chat(value: Any, where: str) -> Mapping[str, Any]:
    """The request in one line."""
    if isinstance(value, dict) and not {"messages", "prompt"} & value.keys():
        inner = next((value[name] for name in INSIDE if value.get(name)), None)
        value = json.loads(inner) if isinstance(inner, str) else (inner if inner is not None else value)
    if not isinstance(value, dict):
        raise AskError(f"{where} is no request: put one JSON object with 'messages' on each line.", code="bad_jsonl")
    return value


def _routes(shop: Workshop) -> list[str]:
    """Names under which there is traffic."""
    return [str(row["route"]) for row in shop.store.traffic.index.totals(None, ["route"])]
