"""A stranger's package, installed by pip, adds a recipe, a metric and a source, and can replace nothing."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parent / "package"
TASK = """\
name: strange
data:
  sources:
    - {use: phrases, times: 5, licence: owned}
value: {wrong: 5, escalate: {to: person, price: 2}}
candidates:
  - {recipe: naive_bayes, params: {smoothing: 0.1}}
gate: {min_rows: 10, max_calibration_error: 0.5, floor: naive_bayes, guards: {dear_mistakes: 0.2}}
"""


@dataclass(frozen=True)
class Installed:
    """Where pip put the package, and a folder to work in."""

    site: Path
    folder: Path

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        mine = {
            "PYTHONPATH": str(self.site),
            "SARTOR_HOME": str(self.folder / "home"),
            "SARTOR_KEY": str(self.folder / "key"),
            "SARTOR_THREADS": "1",
        }
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.folder, env={**os.environ, **mine}
        )

    def sartor(self, *arguments: str) -> Any:
        done = self.python("-m", "sartor.interfaces.cli.main", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    pytest.importorskip("setuptools", reason="pip builds the package with setuptools, and there is no network")
    folder = tmp_path_factory.mktemp("stranger")
    shutil.copytree(PACKAGE, folder / "source")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site"), "source"]
    subprocess.run([*command[:-1], str(folder / "source")], check=True)
    (folder / "task.yaml").write_text(TASK)
    return Installed(folder / "site", folder)


def test_a_task_runs_end_to_end_with_all_three(installed: Installed) -> None:
    done = installed.sartor("run", "task.yaml")

    assert (done["verdict"], done["version"]) == ("ship", "strange@v1")
    checks = installed.sartor("decide", "--replay", done["decision"][:12])["checks"]
    assert any("dear_mistakes" in check["name"] and check["outcome"] == "pass" for check in checks), checks
    shown = installed.sartor("registry", "show", "strange")
    assert (shown["recipe"], shown["engine"]) == ("naive_bayes", "linear")
    assert shown["params"]["smoothing"] == 0.1
    assert installed.sartor("data", "show", "strange")["sources"][0]["use"] == "phrases"

    again = installed.sartor("run", "task.yaml")
    assert (again["decision"], again["variants"]) == (done["decision"], done["variants"])


def test_what_a_stranger_makes_answers(installed: Installed) -> None:
    installed.sartor("run", "task.yaml")
    (installed.folder / "new.csv").write_text("text\nhelp - my card was stolen\nplease send my money\n")
    installed.sartor("predict", "new.csv", "-o", "answers.jsonl")
    answers = [json.loads(line) for line in (installed.folder / "answers.jsonl").read_text().splitlines()]
    assert [answer["answer"] for answer in answers] == ["card", "money"]


def test_a_change_in_the_strangers_code_is_a_change(installed: Installed) -> None:
    first = installed.sartor("run", "task.yaml", "--dry-run")
    file = installed.site / "sartor_stranger" / "naive_bayes.py"
    before = file.read_text()
    file.write_text(before + "\n# a thought\n")
    changed = installed.sartor("run", "task.yaml", "--dry-run")
    file.write_text(before)
    cached = {line["what"]: line["cached"] for line in first}
    assert cached["naive_bayes"] is True
    assert {line["what"]: line["cached"] for line in changed}["naive_bayes"] is False


def test_a_name_that_is_there_is_not_replaced(installed: Installed) -> None:
    code = (
        "from importlib.metadata import entry_points\n"
        "from sartor.core.shelf import Shelf\n"
        "shelf = Shelf('sartor.training.recipes')\n"
        "print(sorted(e.name for e in entry_points(group=shelf.package)), shelf.take('linear').module)\n"
        "print('naive_bayes' in shelf, shelf.take('naive_bayes').module)\n"
    )
    said = installed.python("-c", code).stdout.splitlines()
    assert said[0] == "['linear', 'naive_bayes'] sartor.training.recipes.linear"
    assert said[1] == "True sartor_stranger.naive_bayes"


def test_settings_of_a_stranger_are_checked_like_any(installed: Installed) -> None:
    (installed.folder / "wrong.yaml").write_text(TASK.replace("smoothing", "smothing"))
    done = installed.python("-m", "sartor.interfaces.cli.main", "run", "wrong.yaml")
    assert done.returncode == 2
    assert "did you mean 'smoothing'?" in done.stderr


def test_without_the_package_its_names_are_unknown(installed: Installed) -> None:
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "--home", "none", "task", "check", "task.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=installed.folder)
    assert done.returncode == 4
    assert "There is no source 'phrases'" in done.stderr
