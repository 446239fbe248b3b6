"""`sartor label` and `sartor labels` as a person, a pipe and a script meet them."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kill import write_rows
from sartor.core.errors import AskError, NotFoundError
from sartor.core.task import Task
from sartor.interfaces.cli.label_desk import Sit, search
from sartor.interfaces.cli.main import app
from sartor.interfaces.settings import Settings
from sartor.pipeline.label_pool import open_desk
from sartor.pipeline.label_words import Given, answer
from sartor.pipeline.labelling import queue
from sartor.pipeline.run import run as make
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store
from tests.pipeline.label_house import BODY, capture, texts

Run = Callable[..., Any]
WIDE = {"double_share": 1.0, "random_share": 0.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_rows(folder / "rows.jsonl")
    shop = Workshop(store=open_store(folder / "home"), key=folder / "signing.key", cache=folder / "cache", who="tester")
    make(shop, Task.model_validate(BODY | {"labelling": WIDE}), folder)
    capture(shop, texts(12))
    shop.store.close()
    return folder / "home"


@pytest.fixture
def sit(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process with lines on its standard input; gives its JSON, or with `plain` its text."""
    import shutil

    shutil.copytree(made, tmp_path / "home")
    monkeypatch.setenv("SARTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SARTOR_KEY", str(tmp_path / "signing.key"))
    monkeypatch.setenv("SARTOR_WHO", "Kim")

    def command(*arguments: str, lines: str = "", plain: bool = False) -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines.replace(" ", "\n") + "\n"))
        app(args=[*([] if plain else ["--json"]), *arguments], prog_name="sartor", standalone_mode=False)
        said = capsys.readouterr().out
        return said if plain else json.loads(said)

    return command


def test_a_sitting_from_a_pipe(sit: Run) -> None:
    done = sit("label", "desk", "--size", "5", lines="1 2 s ? card /tra q")
    assert (done["labels"], done["skipped"], done["unsure"], done["undone"]) == (4, 1, 1, 0)
    assert done["gain"] > 0
    found = sit("labels", "status", "desk")
    assert (found["labelled"], found["by_person"], found["before_people"]) == (4, {"Kim": 4}, 0)
    assert found["agreement"]["kappa"] is None


def test_undo_goes_back_over_labels_skips_and_doubts(sit: Run) -> None:
    done = sit("label", "desk", lines="u 1 s ? u u u 2 u u rate q")
    assert (done["labels"], done["skipped"], done["unsure"], done["undone"]) == (1, 0, 0, 3)
    assert sit("labels", "status", "desk")["labelled"] == 1


def test_what_was_answered_is_kept_when_the_pipe_breaks_off_and_the_rest_comes_again(sit: Run) -> None:
    assert sit("label", "desk", lines="1 1 1")["labels"] == 3
    # A blank line ends what is left of the first pipe; all of the rest is asked, then there is nothing left.
    assert sit("label", "desk", lines=" ".join("1" * 20))["labels"] == 9
    with pytest.raises(NotFoundError, match="Kim has seen all of its 12 texts"):
        sit("label", "desk")


def test_people_see_rows_guesses_and_what_a_word_did_not_mean(sit: Run) -> None:
    said = sit("label", "desk", "--size", "3", lines="7 nonsense /nothing /a 1 q", plain=True)
    assert "12 texts have no label. A label costs about 0.17 EUR." in said
    assert "1/3   0.0 min, 0.00 EUR" in said
    assert "/ search   s skip   ? can't tell   u undo   q quit" in said
    assert "That key means nothing here." in said
    assert "There is no label 'nonsense'." in said
    assert "There is no label 'nothing'." in said
    assert "1 card   2 rate   3 transfer" in said  # what `/a` found takes the places of the guesses
    assert "1 labels, 0 not to be told, 0 skipped" in said


def test_two_people_and_a_third(sit: Run, tmp_path: Path) -> None:
    anna = sit("label", "desk", "--who", "anna", lines=" ".join(["card"] * 12))
    assert anna["labels"] == 12
    sit("label", "desk", "--who", "ben", "--size", "12", lines="card card transfer card q")
    found = sit("labels", "agreement", "desk")
    assert (found["rows"], found["people"], found["agreed"]) == (4, 2, 0.75)
    (dispute,) = found["disputes"]
    assert dispute["said"] == {"anna": "card", "ben": "transfer"}
    assert "For a third to decide" in sit("labels", "agreement", "desk", plain=True)
    assert sit("labels", "adjudicate", "desk", "--who", "ben")["decided"] == []
    with pytest.raises(AskError, match="both --item and --as"):
        sit("labels", "adjudicate", "desk", "--item", dispute["item"])
    done = sit("labels", "adjudicate", "desk", "--who", "cleo", lines="card")
    assert [one["item"] for one in done["decided"]] == [dispute["item"]]
    assert sit("labels", "agreement", "desk")["disputes"] == []
    assert "Agreement: 75% of 4 rows" in sit("labels", "status", "desk", plain=True)


def test_out_to_a_file_and_in_again(sit: Run, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    assert sit("labels", "export", "desk", str(out), "--size", "4")["rows"] == 4
    lines = out.read_text(encoding="utf-8").splitlines()
    filled = [lines[0], *(line.replace(",,,,", ",card,ben,30,", 1) for line in lines[1:])]
    assert filled[1:] != lines[1:]
    out.write_text("\n".join(filled) + "\n", encoding="utf-8")
    done = sit("labels", "import", "desk", str(out))
    assert (done["rows"], done["new"], done["booked"]["minutes"]) == (4, 4, 2.0)
    assert sit("labels", "import", "desk", str(out))["new"] == 0
    assert "<Choices" in sit("labels", "export", "desk", str(tmp_path / "rows.json"), "--who", "x", plain=True)


def test_time_ends_a_sitting_but_not_a_row(sit: Run, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    shop = Settings.read(Path(os.environ["SARTOR_HOME"])).workshop()
    desk, times = open_desk(shop, "desk"), iter(range(0, 100_000, 20))
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n" * 50))
    from sartor.interfaces.cli.label_desk import Lines

    one = Sit(desk, queue(desk, "kim", 12), Lines(), minutes=4.0, clock=lambda: float(next(times)))
    done = one.run()
    shop.store.close()
    assert 0 < done.labels < 12
    assert done.seconds == 20.0 * done.labels


def test_words_find_labels() -> None:
    labels = ("card_arrival", "card_lost", "lost_phone", "rate")
    assert search("card", labels) == ["card_arrival", "card_lost"]
    assert search("LOST", labels) == ["lost_phone", "card_lost"]
    assert search("rate", labels) == ["rate"]
    assert search("card_lots", labels) == ["card_lost"]
    assert search("", labels) == search("zzz", labels) == []


def test_who_may_not_be_unknown(sit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARTOR_WHO", "unknown")
    with pytest.raises(AskError, match="Whose labels are these"):
        sit("label", "desk")
    with pytest.raises(NotFoundError, match=r"no task 'dsk'.*Did you mean 'desk'"):
        sit("label", "dsk")


def test_a_row_that_somebody_labelled_meanwhile_stays_theirs(sit: Run, made: Path) -> None:
    import os

    shop = Settings.read(Path(os.environ["SARTOR_HOME"])).workshop()
    desk = open_desk(shop, "desk")
    first = queue(desk, "anna", 1).items[0].item
    answer(desk, Given(first, "anna", "card"))
    assert first not in {item.item for item in queue(desk, "anna", 12).items}
    shop.store.close()


def test_who_is_killed_in_the_middle_has_lost_nothing(sit: Run, made: Path) -> None:
    """`2/` on the screen says that the first answer is on disk."""
    import os
    import signal
    import subprocess
    import sys

    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "label", "desk", "--size", "4", "--who", "anna"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as labeller:
        assert labeller.stdin is not None
        assert labeller.stdout is not None
        labeller.stdin.write("card\n")
        labeller.stdin.flush()
        assert any(line.startswith("2/") for line in labeller.stdout)
        labeller.send_signal(signal.SIGKILL)
    found = sit("labels", "status", "desk")
    assert (found["by_person"], found["before_people"]) == ({"anna": 1}, 3)
    shop = Settings.read(Path(os.environ["SARTOR_HOME"])).workshop()
    desk = open_desk(shop, "desk")
    others = queue(desk, "ben", 12)
    assert sum(item.picked != "double" for item in others.items) == 8  # three are still hers
    again = queue(desk, "anna", 3)
    assert len(again.items) == 3
    assert not {item.item for item in again.items} & {item.item for item in others.items}
    shop.store.close()


def test_single_keys_of_a_terminal_count_even_when_typed_ahead(sit: Run) -> None:
    import os
    import pty
    import subprocess
    import sys

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "label", "desk", "--size", "4"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL) as labeller:
        os.close(theirs)
        try:
            _until(ours, "1/4")
            os.write(ours, b"12\x1b[Axs/")
            _until(ours, "label:")
            os.write(ours, b"rat\x7fte\n")
            _until(ours, "5/")
            os.write(ours, b"uq")
            shown = _until(ours, "Booked")
            assert "2 labels, 0 not to be told, 1 skipped" in shown
            assert labeller.wait(timeout=30) == 0
        finally:
            labeller.kill()
    os.close(ours)
    assert sit("labels", "status", "desk")["labelled"] == 2


def _until(terminal: int, words: str) -> str:
    """What a terminal shows, up to some words and what came with them."""
    import os
    import select

    shown = ""
    while words not in shown:
        assert select.select([terminal], [], [], 20)[0], repr(shown)
        shown += os.read(terminal, 65_536).decode("utf-8", "replace")
    return shown
