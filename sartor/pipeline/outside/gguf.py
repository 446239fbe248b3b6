"""A language model in one GGUF file, run by llama.cpp. Needs xllamacpp, llguidance, jinja2 and pydantic."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sartor.pipeline.outside.asked import engine
from sartor.pipeline.outside.stating import Value
from sartor.serving.engines.gguf import Params, gguf


@engine("gguf")
class Gguf:
    """A file, with what it is asked by."""

    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        """Open it."""
        self._engine = gguf(None, Params())
        self._engine.add("model", folder / said["folder"])

    def write(self, texts: Sequence[str]) -> list[list[Value]]:
        """What it writes for each text, value by value."""
        written = self._engine.write([("model", text) for text in texts])
        return [[Value(one.path, one.value, one.score, one.span) for one in answer.said] for answer in written]
