"""Drafted task files: they read as tasks, and their guesses are right on real files and on awkward ones."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sartor.core.errors import AskError, NotFoundError
from sartor.core.task import Task
from sartor.data.draft import draft_task, suggest


def write_csv(path: Path, head: list[str], rows: list[list[Any]], delimiter: str = ",") -> Path:
    import csv

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([head, *rows])
    return path


HEAD = ["ticket_id", "Customer ID", "created", "Body", "team", "area", "bot"]


def tickets(n: int = 40) -> list[list[Any]]:
    teams = ["card support", "card fraud", "loans", "no"]
    return [
        [1000 + i, f"c{i % 9}", f"2026-01-{1 + i % 28:02}T10:00:00", f"text of ticket {i}, as written", teams[i % 4],
         "retail" if i % 4 < 2 else "credit", teams[(i + (i % 5 == 0)) % 4]]
        for i in range(n)
    ]  # fmt: skip


def test_columns_are_guessed_by_name_and_value(tmp_path: Path) -> None:
    found = suggest(write_csv(tmp_path / "Tickets 2026.csv", HEAD, tickets()))
    assert (found.text, found.label, found.group, found.time) == (("Body",), "team", "Customer ID", "created")
    assert (found.levels, found.recorded, found.rows) == (("area",), "bot", 40)
    assert found.labels == {"card fraud": 10, "card support": 10, "loans": 10, "no": 10}


def test_the_draft_is_a_task_of_about_twenty_lines(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "Tickets 2026.csv", HEAD, tickets())
    draft = draft_task(path, owned=True)
    assert draft == draft_task(path, owned=True)
    task = Task.model_validate(yaml.safe_load(draft))
    assert 15 <= len(draft.splitlines()) <= 25
    assert max(len(line) for line in draft.splitlines() if str(tmp_path) not in line) <= 120
    assert (task.name, task.data.label, task.data.group, task.data.levels) == (
        "tickets-2026",
        "team",
        "Customer ID",
        ("area",),
    )
    assert task.data.sources[0].licence == "owned"
    assert (task.incumbent.kind, task.incumbent.column) == ("recorded", "bot")
    assert "10.0" in draft.split("# confusions:")[1].splitlines()[0]
    assert Task.model_validate(yaml.safe_load(draft_task(path, owned=False))).data.sources[0].licence == ""


def test_a_draft_builds_its_data_set(tmp_path: Path) -> None:
    from sartor.data.curate import build_dataset

    write_csv(tmp_path / "rows.csv", HEAD, tickets(200), delimiter=";")
    draft = draft_task(tmp_path / "rows.csv", owned=True)
    task = Task.model_validate(yaml.safe_load(draft))
    assert task.data.sources[0].settings["delimiter"] == ";"
    assert build_dataset(task, tmp_path / "out", base_dir=tmp_path).counts["test"] > 0


def test_the_rows_are_named_from_where_the_task_file_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks").mkdir()
    write_csv(tmp_path / "rows.csv", HEAD, tickets())
    monkeypatch.chdir(tmp_path)
    draft = draft_task(Path("rows.csv"), owned=True, folder=Path("tasks"))
    assert yaml.safe_load(draft)["data"]["sources"][0]["path"] == "../rows.csv"
    assert yaml.safe_load(draft_task(Path("rows.csv"), owned=True))["data"]["sources"][0]["path"] == "rows.csv"


def test_names_that_yaml_would_misread_are_quoted(tmp_path: Path) -> None:
    rows = [[f"some words {i}", ["yes", "no", "#1", "a: b"][i % 4]] for i in range(20)]
    path = write_csv(tmp_path / "on.csv", ["text: full", "no"], rows)
    task = Task.model_validate(yaml.safe_load(draft_task(path, owned=True)))
    assert (task.input.columns, task.data.label) == (("text: full",), "no")


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_encodings_are_found(tmp_path: Path, encoding: str) -> None:
    lines = ["text;label", *(f"größer {i};{'ab'[i % 2]}" for i in range(9))]
    (tmp_path / "a.csv").write_bytes("\n".join(lines).encode(encoding))
    found = suggest(tmp_path / "a.csv")
    assert (found.text, found.label, found.settings.get("delimiter")) == (("text",), "label", ";")
    assert found.settings.get("encoding", "utf-8") == encoding


def test_tabs_parquet_and_chat_logs(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    write_csv(tmp_path / "a.tsv", ["text", "label"], [[f"t {i}", "ab"[i % 2]] for i in range(9)], delimiter="\t")
    assert suggest(tmp_path / "a.tsv").settings == {"delimiter": "\t"}
    assert Task.model_validate(yaml.safe_load(draft_task(tmp_path / "a.tsv", owned=True)))
    table = pa.table({"utterance": [f"t {i}" for i in range(9)], "intent": [i % 3 for i in range(9)]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert (suggest(tmp_path / "a.parquet").text, suggest(tmp_path / "a.parquet").label) == (("utterance",), "intent")
    chats = [
        {"messages": [{"role": "user", "content": f"q {i}"}, {"role": "assistant", "content": "ab"[i % 2]}]}
        for i in range(9)
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, chats)))
    found = suggest(tmp_path / "log.jsonl")
    assert (found.use, found.text, found.label) == ("chat_logs", ("text",), "label")


@pytest.mark.parametrize("name", ["banking77/test.jsonl", "clinc150/train.jsonl"])
def test_real_sets(data_folder: Path, name: str) -> None:
    task = Task.model_validate(yaml.safe_load(draft_task(data_folder / name, owned=False)))
    assert (task.input.columns, task.data.label, task.data.group, task.data.levels) == (("text",), "label", None, ())


def test_what_cannot_be_drafted_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        suggest(tmp_path / "a.csv")
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(AskError, match=r"must end in .*\.csv"):
        suggest(tmp_path / "a.xlsx")
    write_csv(tmp_path / "b.csv", ["text", "label"], [])
    with pytest.raises(AskError, match="no rows"):
        suggest(tmp_path / "b.csv")
    write_csv(tmp_path / "c.csv", ["words", "id"], [[f"all different {i}", f"x{i}"] for i in range(9)])
    with pytest.raises(AskError, match=r"no column looks like a label. Its columns are words, id"):
        suggest(tmp_path / "c.csv")
    write_csv(tmp_path / "d.csv", ["n", "m"], [[i, i] for i in range(9)])
    with pytest.raises(AskError, match="no column looks like a text"):
        suggest(tmp_path / "d.csv")


def test_a_column_with_few_values_is_no_group(tmp_path: Path) -> None:
    rows = [[f"text {i} of some length", f"l{i % 4}", ["private", "business"][i % 2], f"u{i % 50}"] for i in range(300)]
    path = write_csv(tmp_path / "a.csv", ["text", "label", "account_kind", "user"], rows)
    assert suggest(path).group == "user"
