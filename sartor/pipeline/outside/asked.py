"""The command line of an exported model: texts in, one JSON answer a line out. Knows no models."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Answers = Callable[[Sequence[str]], list[dict[str, Any]]]
"""Texts -> an answer each."""
ENGINES: dict[str, Any] = {}
"""Kind of model -> class that opens it: called with the export's folder and what `predict.json` says of the model."""
BATCH = 64


def engine(name: str) -> Callable[[Any], Any]:
    """Mark the class that opens a kind of model."""

    def mark(made: Any) -> Any:
        ENGINES[name] = made
        return made

    return mark


def said_in(folder: Path) -> dict[str, Any]:
    """What the export says of itself."""
    said: dict[str, Any] = json.loads((folder / "predict.json").read_text(encoding="utf-8"))
    return said


def filled(said: dict[str, Any], line: str, *, columns: bool) -> str:
    """The text that the model reads: the line itself, or its columns in the task's template."""
    if not columns:
        return line
    given = json.loads(line)
    names, template = said["input"]["columns"], said["input"]["template"]
    if not template:
        return "\n".join(str(given.get(name, "")) for name in names)
    for name, value in given.items():
        template = template.replace("{" + name + "}", str(value))
    return str(template)


def main(opened: Callable[[Path], Answers]) -> None:
    """Answer the texts given, or every line of the standard input."""
    asked = argparse.ArgumentParser(description="Answers of this model, one JSON object a line.")
    asked.add_argument("texts", nargs="*", help="texts; none: every line of the standard input")
    asked.add_argument("--columns", action="store_true", help="each text is a JSON object of the input's columns")
    asked.add_argument("--jsonl", action="store_true", help="each line is a JSON string, for texts of several lines")
    asked.add_argument("--folder", type=Path, default=Path(__file__).parent, help="folder of the export")
    given = asked.parse_args()
    said = said_in(given.folder)
    lines = given.texts or (line.rstrip("\n") for line in sys.stdin)
    answers = opened(given.folder)
    for batch in batches(json.loads(line) if given.jsonl else line for line in lines):
        for answer in answers([filled(said, line, columns=given.columns) for line in batch]):
            print(json.dumps(answer, ensure_ascii=False), flush=True)


def batches(lines: Iterator[str]) -> Iterator[list[str]]:
    """So many lines at a time."""
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
