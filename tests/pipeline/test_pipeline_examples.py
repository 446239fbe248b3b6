"""Every example runs as its user would run it."""

from pathlib import Path

import pytest

from sartor.pipeline.run import run
from sartor.pipeline.task_file import read_task

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/task.yaml"))


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_example_ships(path, shop):
    result = run(shop, read_task(path), path.parent)
    assert result.decision.verdict == "ship", result.decision.reasons
