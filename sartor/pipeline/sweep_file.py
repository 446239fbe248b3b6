"""Write what a sweep found into the task's file, as one more candidate; the rest stays as it is, comments too."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError
from sartor.core.task import Candidate
from sartor.pipeline.task_file import parse_task, read_task, read_text

SWEPT = "-swept"
"""After the name of the candidate that was searched through."""


def swept_name(candidate: Candidate) -> str:
    """The name of what was found, beside the candidate as it stands."""
    return candidate.title.removesuffix(SWEPT) + SWEPT


def candidate_text(body: Mapping[str, Any]) -> str:
    """A candidate as one line of YAML."""
    import yaml

    return str(yaml.safe_dump(dict(body), default_flow_style=True, sort_keys=False, width=10_000)).strip()


def write_candidate(task_file: Path, body: Mapping[str, Any]) -> str:
    """Put a candidate into a task file, or another form of one of the same name; the line that now stands there.

    Raises:
        AskError: the file is built in a way that can't be edited safely; it is left as it was.
    """
    text, task, line = read_text(task_file), read_task(task_file), candidate_text(body)
    new = Candidate.model_validate(dict(body))
    kept = [one for one in task.candidates if one.title != new.title]
    wanted = task.model_copy(update={"candidates": (*kept, new)})
    edited = _added(text, line, f"name: {new.name}")
    try:
        after = parse_task(edited, str(task_file)) if edited else None
    except AskError:
        after = None
    if after != wanted:
        raise AskError(
            f"Could not write the candidate into '{task_file}' without touching the rest. Put it under 'candidates' "
            f"by hand: {line}.",
            code="edit_by_hand",
        )
    task_file.write_text(edited, encoding="utf-8")
    return line


def _added(text: str, line: str, named: str) -> str:
    """The text with one more item at the end of its top-level `candidates:`; '' where there is no such list.

    A line of ours from an earlier sweep goes.
    """
    lines = text.splitlines(keepends=True)
    starts = [at for at, said in enumerate(lines) if re.match(r"candidates\s*:\s*(#.*)?$", said.rstrip("\n"))]
    if not starts:
        return ""
    end, indent = starts[0] + 1, None
    for at in range(starts[0] + 1, len(lines)):
        said = lines[at]
        if said.strip() and not said[0].isspace() and not said.startswith(("- ", "#")):
            break
        item = re.match(r"(\s*)- ", said)
        if item and indent is None:
            indent = item[1]
        if said.strip() and not said.lstrip().startswith("#"):
            end = at + 1
    if indent is None:
        return ""
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    ours = re.compile(rf"\s*- \{{.*\b{re.escape(named)}[,}}].*\}}\s*$")
    body = [said for said in lines[starts[0] : end] if not ours.match(said)]
    return "".join([*lines[: starts[0]], *body, f"{indent}- {line}\n", *lines[end:]])
