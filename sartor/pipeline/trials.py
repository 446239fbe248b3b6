"""Unfinished files, asked through the engine that would serve them: for recipes that choose by answers.

Knows no recipe. The engines that it opens live as long as one making does.
"""

from collections.abc import Sequence
from pathlib import Path

from sartor.core.errors import AskError
from sartor.pipeline.asking_others import KeptUpstreams
from sartor.pipeline.workshop import Workshop
from sartor.serving.engine import Engine, Mixer, Writer, open_engine
from sartor.training.job import Trial, Try


def trials_of(shop: Workshop, base: Path | None) -> Try:
    """What tries files on a base."""
    opened: dict[str, Engine | Mixer | Writer] = {}

    def attempt(engine: str, folder: Path, texts: Sequence[str]) -> list[Trial]:
        if engine not in opened:
            opened[engine] = open_engine(engine, base, threads=shop.threads, upstreams=KeptUpstreams(shop))
        writer = opened[engine]
        if not isinstance(writer, Writer):
            raise AskError(f"Engine '{engine}' writes no answers, so that its files can't be tried.", code="no_writer")
        writer.add("trial", folder)
        try:
            said = writer.write([("trial", text) for text in texts])
        finally:
            writer.drop("trial")
        return [Trial(one.output, one.cost, one.usage.input_tokens + one.usage.output_tokens) for one in said]

    return attempt
