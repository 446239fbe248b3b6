"""Rules: patterns and gazetteers, no model. Needs numpy and pydantic."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sartor.pipeline.outside.asked import engine
from sartor.pipeline.outside.stating import Value
from sartor.serving.engines.rules import Params, rules


@engine("rules")
class Rules:
    """Rules as they were learnt or written."""

    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        """Read them."""
        self._engine = rules(None, Params())
        self._engine.add("model", folder / said["folder"])

    def write(self, texts: Sequence[str]) -> list[list[Value]]:
        """What they find in each text."""
        written = self._engine.write([("model", text) for text in texts])
        return [[Value(one.path, one.value, one.score, one.span) for one in answer.said] for answer in written]
