"""The house keeps its shape: import contracts, light rooms, short files, no pickle."""

import ast
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "sartor").rglob("*.py"))
LIGHT = ("core", "store", "data", "evaluation", "registry", "gateway", "feedback", "economics")
HEAVY = ("torch", "transformers", "vllm", "ray", "sklearn", "scipy", "pyarrow")


def test_import_contracts_are_kept():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("room", LIGHT)
def test_light_rooms_start_without_heavy_libraries(room):
    code = (
        "import importlib, pkgutil, sys, sartor\n"
        f"package = importlib.import_module('sartor.{room}')\n"
        "for m in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    if '.migrations' not in m.name: importlib.import_module(m.name)\n"
        "heavy = [m for m in ('torch', 'transformers', 'vllm', 'ray', 'peft') if m in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_help_answers_quickly_and_without_heavy_libraries():
    code = (
        "import sys; sys.argv = ['sartor', '--help']\n"
        "from sartor.interfaces.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"heavy = [m for m in {HEAVY!r} + ('sqlalchemy', 'uvloop', 'httptools', 'orjson') if m in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([Path(sys.executable).parent / "sartor", "--help"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 0.3, f"help took {spent:.2f} CPU seconds: look for an import at the top of a module"


def test_files_and_functions_stay_short():
    long_files = [str(p) for p in SOURCES if len(p.read_text().splitlines()) > 400]
    long_functions = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > 60:
                    long_functions.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} ({size})")
    assert not long_files
    assert not long_functions


def test_every_module_says_what_it_does():
    assert not [str(p) for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text()))]


def test_nothing_loads_pickles_or_remote_code():
    banned = {"pickle", "joblib", "cloudpickle", "dill", "marshal", "shelve"}
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found += [f"{path}: {a.name}" for a in node.names if a.name.split(".")[0] in banned]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in banned:
                found.append(f"{path}: {node.module}")
            elif isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
                if getattr(node.value, "value", False):
                    found.append(f"{path}: {node.arg}")
            elif isinstance(node, ast.Attribute) and node.attr == "load" and getattr(node.value, "id", "") == "torch":
                found.append(f"{path}: torch.load")
    assert not found


def test_plugin_names_stand_only_in_their_own_room_and_in_the_pipeline():
    """A shelf's package name as a string is an import that the linter cannot see."""
    rooms = {path.parent.name for path in (ROOT / "sartor").glob("*/__init__.py")}
    found = []
    for path in SOURCES:
        room = path.relative_to(ROOT / "sartor").parts[0]
        if room == "__init__.py":  # the public names, which stand wherever they stand
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("sartor."):
                parts = re.split("[.:]", node.value)
                if (
                    parts[1] in rooms - {room}
                    and room not in ("pipeline", "interfaces", "__init__.py")
                    and " " not in node.value
                ):
                    found.append(f"{path.relative_to(ROOT)}: {node.value}")
    assert not found
