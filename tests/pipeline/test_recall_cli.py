"""Recall and campaign as they are typed, and as they come over HTTP."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recall_house import filled

from sartor.core.errors import AskError, NotFoundError
from sartor.interfaces.cli.main import app
from sartor.interfaces.cli.output import mode


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("typed")
    shop = filled(folder)
    shop.store.close()
    return folder / "home"


@pytest.fixture
def sartor(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Type a command; what it prints."""
    monkeypatch.setenv("SARTOR_HOME", str(home))
    monkeypatch.setenv("SARTOR_KEY", str(home.parent / "key"))

    def typed(*words: str) -> str:
        capsys.readouterr()
        app(args=list(words), prog_name="sartor", standalone_mode=False)
        return capsys.readouterr().out

    yield typed
    mode.json = False


def test_a_recall_is_planned_done_shown_and_proven(sartor: Callable[..., str]) -> None:
    planned = json.loads(sartor("--json", "recall", "source", "bad.csv", "--plan"))
    assert planned["counts"]["variants"] == 2
    assert "always" in sartor("recall", "source", "bad.csv", "--plan")
    with pytest.raises(NotFoundError, match="There is no base 'minilm'"):
        sartor("recall", "base", "minilm", "--plan")
    done = json.loads(sartor("--json", "recall", "source", "bad.csv", "--yes", "--wait"))
    assert {job["version"] for job in done["jobs"]} == {"always@v2", "later@v3"}
    short = done["recall"][:12]
    assert "csv:bad.csv" in sartor("recall", "list")
    assert "always@v2" in sartor("recall", "show", short)
    proven = json.loads(sartor("--json", "recall", "proof", short))
    assert proven["clean"]
    assert "free again" in sartor("recall", "lift", short, "--why", "settled")
    with pytest.raises(AskError, match="lifted before"):
        sartor("recall", "lift", short)


def test_a_campaign_is_planned_done_and_shown(sartor: Callable[..., str]) -> None:
    change = ("--set", "value.escalate.price=2", "--tasks", "clean")
    planned = json.loads(sartor("--json", "campaign", "plan", *change))
    assert planned["tasks"] == 1
    shown = sartor("campaign", "start", *change, "--name", "dearer", "--wait")
    assert "1 of 1 tasks ended" in shown
    assert json.loads(sartor("--json", "campaign", "status", "dearer"))["state"] == "succeeded"
    assert "dearer" in sartor("campaign", "status")
    with pytest.raises(NotFoundError, match="There is no campaign 'cheaper'"):
        sartor("campaign", "pause", "cheaper")
