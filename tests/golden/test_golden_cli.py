"""The command line as people and programs meet it: help, one JSON document, and failures that nobody foresaw."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from golden_house import House, compare_with_golden
from typer.main import get_command

from sartor.interfaces.cli.main import app
from sartor.interfaces.demo import ask
from sartor.interfaces.reference import _commands

HELP = Path(__file__).parent / "help"
COMMANDS = [path for path, _ in _commands(get_command(app), "sartor")]
JSON = {
    "run": ("run", "task.yaml"),
    "dry run": ("run", "task.yaml", "--dry-run"),
    "task check": ("task", "check", "task.yaml"),
    "task schema": ("task", "schema"),
    "decide": ("decide",),
    "report": ("report", "triage"),
    "registry list": ("registry", "list"),
    "registry search": ("registry", "search", "recipe=linear"),
    "registry show": ("registry", "show", "triage"),
    "registry lineage": ("registry", "lineage", "triage"),
    "registry lineage down": ("registry", "lineage", "triage", "--down"),
    "registry diff": ("registry", "diff", "triage", "triage@v1"),
    "registry verify": ("registry", "verify", "triage"),
    "registry bom": ("registry", "bom", "triage"),
    "registry retire": ("registry", "retire", "triage"),
    "data show": ("data", "show", "triage"),
    "data diff": ("data", "diff", "triage", "triage"),
    "data quarantine": ("data", "quarantine", "triage"),
    "hub list": ("hub", "list"),
    "predict": ("predict", "rows.csv"),
    "init": ("init", "rows.csv", "--owned", "-o", "new.yaml"),
    "backup": ("backup", "copy"),
    "gc": ("gc",),
    "doctor": ("doctor",),
}


@pytest.mark.parametrize("path", COMMANDS)
def test_help_is_as_written_down(path: str, first_house: House) -> None:
    _, *words = path.split()
    said = first_house.sartor(*words, "--help")
    assert said.code == 0
    text = "\n".join(line.rstrip() for line in said.out.splitlines()) + "\n"
    compare_with_golden(HELP / f"{'-'.join(path.split())}.txt", text)


def test_every_help_file_is_tested() -> None:
    assert sorted(file.stem for file in HELP.glob("*.txt")) == sorted("-".join(path.split()) for path in COMMANDS)


@pytest.mark.parametrize("name", JSON)
def test_json_is_one_document_on_stdout(name: str, house: House) -> None:
    said = house.sartor(*JSON[name], "--json")
    assert said.code == 0, said.err
    assert said.err == ""
    assert json.loads(said.out) not in (None, {}), "an empty answer says nothing"
    for folder in (house.folder, house.home):
        assert not (folder / "nowhere").exists()


@pytest.mark.parametrize("name", JSON)
def test_people_get_lines_and_no_python(name: str, house: House) -> None:
    said = house.sartor(*JSON[name])
    assert said.code == 0, said.err
    assert said.err == ""
    assert said.out.strip()
    if name not in ("task schema", "registry bom"):
        assert "{'" not in said.out
        assert "None" not in said.out
        assert "Path(" not in said.out


@pytest.mark.parametrize("words", [("registry", "show", "nobody"), ("registry", "showw"), ("run", "none.yaml")])
def test_an_error_is_one_json_document_too(words: tuple[str, ...], house: House) -> None:
    said = house.sartor("--json", *words)
    error = json.loads(said.out)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].rstrip(".") in said.err
    assert said.code == (2 if "showw" in words else 4)


def test_quiet_says_nothing_of_its_own(house: House) -> None:
    for words in (("predict", "rows.csv", "--quiet"), ("-q", "registry", "verify", "triage")):
        said = house.sartor(*words)
        assert (said.code, said.out, said.err) == (0, "", "")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "terminate"])
def test_a_server_answers_as_soon_as_it_says_so_and_stops_when_told(stop: signal.Signals, house: House) -> None:
    command = [Path(sys.executable).parent / "sartor", "serve", "--port", "0"]
    environment = {**os.environ, **house.environment}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=house.folder, env=environment) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        answer, _, headers = ask(said.split()[-1].removesuffix("/v1"), "triage", "please, my card was stolen")
        server.send_signal(stop)
        # 0 where the shell that started all this ignores the interrupt: the server then stops without passing it on.
        assert server.wait(timeout=30) in (0, 130, -stop)
        assert server.stderr is not None
        assert server.stderr.read() == ""
    assert said.startswith("Serving triage on http://127.0.0.1:")
    assert answer == "card"
    assert headers["x-sartor-decision"] == "answer"


def test_decide_replays_as_people_see_it(house: House) -> None:
    (decision,) = json.loads(house.sartor("decide", "--json").out)
    said = house.sartor("decide", "--replay", decision["digest"][:12])
    assert said.code == 0
    assert "Verdict from the evidence now: ship" in " ".join(said.out.split())


def test_what_nobody_foresaw_has_no_traceback_unless_asked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("of something\nwith two lines")

    monkeypatch.setattr("sartor.pipeline.stock.tasks", fails)
    said = house.sartor("registry", "list")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "(ZeroDivisionError: of something)" in said.err
    assert "--traceback" in said.err
    assert "line" in house.sartor("registry", "list", "--traceback").err.split("Traceback")[1]
    assert json.loads(house.sartor("registry", "list", "--json").out)["error"]["code"] == "unforeseen"


def test_a_file_that_cannot_be_written_is_named(house: House) -> None:
    said = house.sartor("registry", "bom", "triage", "-o", "nowhere/bom.json")
    assert said.code == 1
    assert said.err == (
        "sartor: 'nowhere/bom.json' can't be used: No such file or directory. Check the path and its permissions.\n"
    )


@pytest.mark.parametrize("words", [("task", "schema"), ("--version",)], ids=["much", "little"])
def test_a_reader_that_is_gone_gets_no_traceback(words: tuple[str, ...], house: House) -> None:
    command = [Path(sys.executable).parent / "sartor", *words]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, cwd=house.folder)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
