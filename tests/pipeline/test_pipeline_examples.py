"""Every example runs as its user would run it; of those that tune a base only the file and the rows are looked at."""

import json
import runpy
from pathlib import Path

import pytest

from sartor.core.surface import find
from sartor.data.json_schema import misfits
from sartor.pipeline.run import run
from sartor.pipeline.task_file import read_task

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/task.yaml"))


QUICK = [path for path in EXAMPLES if not any(candidate.base for candidate in read_task(path).candidates)]


def test_there_are_examples():
    assert len(EXAMPLES) >= 3
    assert QUICK


@pytest.mark.parametrize("path", QUICK, ids=lambda path: path.parent.name)
def test_example_ships(path, shop):
    result = run(shop, read_task(path), path.parent)
    assert result.decision.verdict == "ship", result.decision.reasons


def test_invoices_are_the_same_every_time_and_say_what_they_should(tmp_path, monkeypatch):
    folder = Path(__file__).parents[2] / "examples" / "invoices"
    written = []
    for name in ("a.jsonl", "b.jsonl"):
        monkeypatch.setattr("sys.argv", ["make_rows.py", "--rows", "60", "--to", str(tmp_path / name)])
        runpy.run_path(str(folder / "make_rows.py"), run_name="__main__")
        written.append((tmp_path / name).read_text(encoding="utf-8"))
    assert written[0] == written[1]
    rows = [json.loads(line) for line in written[0].splitlines()]
    schema = read_task(folder / "task.yaml").answer.json_schema
    assert len(rows) == 60
    assert any(len(row["answer"]["lines"]) > 1 for row in rows)
    for row in rows:
        assert not list(misfits(row["answer"], schema))
        assert find(row["text"], row["answer"])[1] == []
