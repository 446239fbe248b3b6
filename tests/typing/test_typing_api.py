"""The public API is typed, complete and written down."""

import subprocess
import sys
from pathlib import Path

import pytest

import sartor

ROOT = Path(__file__).parents[2]
API = Path(__file__).parent / "api.py"


def test_the_type_checker_reads_the_api_as_its_users_write_it() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", str(API)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_every_public_name_is_there_typed_used_and_written_down() -> None:
    assert sorted(sartor.__all__) == sartor.__all__ == dir(sartor)
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    (line,) = (
        line for line in API.read_text(encoding="utf-8").splitlines() if line.startswith("from sartor import Home")
    )
    used = line.removeprefix("from sartor import ").split(", ")
    assert used == sartor.__all__
    for name in sartor.__all__:
        assert getattr(sartor, name).__doc__
        assert f"## {name}\n" in page
    assert (ROOT / "sartor" / "py.typed").exists()


def test_a_name_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Hom': it has Home, Model, Params"):
        sartor.Hom  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys, sartor\n"
        "assert [m for m in sys.modules if m.startswith('sartor')] == ['sartor']\n"
        "sartor.Task\n"
        "assert 'sartor.pipeline' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
