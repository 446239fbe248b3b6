"""Every source on real small files, and every way in which a file can be wrong."""

import json
import random
import sqlite3
import sys
from pathlib import Path

import pytest

from sartor.core.errors import AskError, MissingExtraError, NotFoundError, PluginError
from sartor.core.task import SourcePick, Task
from sartor.data.reading import SOURCES, open_source, read_sources


def read(use: str, base_dir: Path, **settings: object) -> list[dict[str, object]]:
    source, params = open_source(SourcePick.model_validate({"use": use, **settings}), base_dir)
    return [dict(row) for row in source(params)]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def task(**data: object) -> Task:
    return Task.model_validate({"name": "t", "data": {"sources": [{"use": "csv", "path": "rows.csv"}], **data}})


def test_the_shelf_holds_exactly_these() -> None:
    assert SOURCES.names() == ["chat_logs", "csv", "icd10", "jsonl", "package", "parquet", "sql"]
    for name in SOURCES:
        assert SOURCES.take(name).params.model_config["frozen"], name
        assert SOURCES.summary(name), name


def test_csv_reads_quotes_byte_order_mark_and_other_delimiters(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", b'\xef\xbb\xbftext,label\n"a, b\nc",x\n\nd,y\n')
    assert read("csv", tmp_path, path="a.csv") == [{"text": "a, b\nc", "label": "x"}, {"text": "d", "label": "y"}]
    write(tmp_path, "b.csv", "text;label\r\nä;x\r\n".encode("cp1252"))
    assert read("csv", tmp_path, path="b.csv", delimiter=";", encoding="cp1252") == [{"text": "ä", "label": "x"}]
    write(tmp_path, "c.csv", "text\tlabel\na\tb\n".encode("utf-16"))
    assert read("csv", tmp_path, path="c.csv", delimiter="\t", encoding="utf-16") == [{"text": "a", "label": "b"}]


WRONG_FILES = {
    "ragged": ("text,label\na,b\nc,d,e\n", ["line 3", "has 3 cells", "header has 2", "double quotes"]),
    "short": ("text,label\na\n", ["line 2", "has 1 cells"]),
    "unclosed": ('text,label\n"a,b\nc,d\n', ["quote"]),
    "doubled": ("text,text\na,b\n", ["'text' stands twice"]),
    "nameless": ("text,\na,b\n", ["a column has no name"]),
    "delimiter": ("text;label\na;b\n", ["'text;label'", 'delimiter: ";"']),
    "nul": (b"text,label\na,b\nc\0,d\n", ["line 3", "NUL"]),
    "utf16": ("text,label\na,b\n".encode("utf-16"), ["at byte 0", "encoding: utf-16"]),
    "utf16_unmarked": ("text,label\nabc,b\n".encode("utf-16-le"), ["NUL", "encoding: utf-16-le"]),
    "empty": (b"", ["the file is empty"]),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_wrong_csv_files_are_explained(tmp_path: Path, name: str) -> None:
    content, says = WRONG_FILES[name]
    write(tmp_path, "rows.csv", content)
    with pytest.raises(AskError) as caught:
        read("csv", tmp_path, path="rows.csv")
    for part in says:
        assert part in caught.value.message
    assert "rows.csv" in caught.value.message


def test_wrong_encoding_names_the_byte_and_what_would_work(tmp_path: Path) -> None:
    # The offset must be exact beyond the first buffer, and with a multi-byte character on the chunk's edge.
    head = b"text,label\n" + b"a,b\n" * 500_000 + "é".encode() + b",b\n"
    write(tmp_path, "rows.csv", head + b"caf\xe9,b\n")
    with pytest.raises(AskError, match=f"at byte {len(head) + 3}:") as caught:
        read("csv", tmp_path, path="rows.csv")
    assert "encoding: cp1252" in caught.value.message
    assert caught.value.code == "wrong_encoding"


def test_absent_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "tickets.csv", "a")
    with pytest.raises(NotFoundError, match=r"no such file. Did you mean 'tickets.csv'\?"):
        read("csv", tmp_path, path="ticket.csv")
    with pytest.raises(NotFoundError, match="relative to the folder of the task file"):
        read("csv", tmp_path, path="zzz/q.csv")
    with pytest.raises(AskError, match="it is a folder"):
        read("csv", tmp_path, path=".")
    with pytest.raises(AskError, match="no encoding 'utf-9'"):
        read("csv", tmp_path, path="tickets.csv", encoding="utf-9")


def test_jsonl_reads_objects_and_explains_bad_lines(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", '{"text": "a", "n": 1}\n\n{"text": "b"}\n')
    assert read("jsonl", tmp_path, path="a.jsonl") == [{"text": "a", "n": 1}, {"text": "b"}]
    for content, says in [
        ('{"a": 1}\n{"a": \n', "line 2: it is no JSON"),
        ('["a"]\n', "this one is a list"),
        ("3\n", "the value '3'"),
        ('[{"a": 1},\n{"a": 2}]\n', "looks like one JSON list"),
        ("[" * 100_000 + "\n", "nested too deep"),
    ]:
        write(tmp_path, "b.jsonl", content)
        with pytest.raises(AskError, match=says):
            read("jsonl", tmp_path, path="b.jsonl")


def test_parquet_reads_rows_and_refuses_others(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"text": ["a", "b"], "label": [1, 2]}), tmp_path / "a.parquet")
    assert read("parquet", tmp_path, path="a.parquet") == [{"text": "a", "label": 1}, {"text": "b", "label": 2}]
    whole = (tmp_path / "a.parquet").read_bytes()
    write(tmp_path, "b.parquet", whole[: len(whole) // 2])
    with pytest.raises(AskError, match=r"b.parquet as Parquet failed"):
        read("parquet", tmp_path, path="b.parquet")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        connection.execute("create table t (text, label, at)")
        connection.executemany("insert into t values (?, ?, ?)", [("a", "x", "10:30%"), ("b", "y", None)])
    connection.close()
    return tmp_path / "rows.db"


def test_sql_reads_a_query(database: Path) -> None:
    rows = read(
        "sql",
        database.parent,
        url="sqlite:///rows.db",
        query="select * from t where at is null or at = '10:30%' order by text",
    )
    assert rows == [{"text": "a", "label": "x", "at": "10:30%"}, {"text": "b", "label": "y", "at": None}]


@pytest.mark.parametrize(
    ("url", "query", "says"),
    [
        ("sqlite:///rows.db", "delete from t", "must only read"),
        ("sqlite:///rows.db", "", "must only read"),
        ("sqlite:///rows.db", "with x as (select 1) delete from t", "readonly"),
        ("sqlite:///rows.db", "select absent from t", "no such column"),
        ("sqlite:///rowz.db", "select 1", "Did you mean 'rows.db'"),
        ("nonsense", "select 1", "cannot be read"),
        ("frog://u:secret@h/d", "select 1", "cannot be read"),
    ],
)
def test_sql_refuses_what_is_not_reading(database: Path, url: str, query: str, says: str) -> None:
    with pytest.raises(AskError, match=says) as caught:
        read("sql", database.parent, url=url, query=query)
    assert "secret" not in caught.value.message
    assert len(read("sql", database.parent, url="sqlite:///rows.db", query="select * from t")) == 2
    assert not (database.parent / "rowz.db").exists()


@pytest.mark.postgres
def test_sql_reads_postgresql_and_cannot_write_there(postgres_url: str, tmp_path: Path) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("create sequence s")
        connection.exec_driver_sql("create table t (text text, label text, at timestamptz)")
        connection.exec_driver_sql("insert into t values ('a 10%%', 'x', '2026-01-02T03:04:05Z')")
    (row,) = read(
        "sql", tmp_path, url=postgres_url, query="select * from t where text like '%:%' or at < '2030-01-01 10:30'"
    )
    assert row["text"] == "a 10%"
    with pytest.raises(AskError, match="read-only"):
        read("sql", tmp_path, url=postgres_url, query="select nextval('s')")
    engine.dispose()


def chat(user: object, answer: str | None) -> dict[str, object]:
    return {
        "messages": [
            {"role": "system", "content": "sort"},
            {"role": "user", "content": user},
            {"role": "assistant", "content": answer},
        ]
    }


def test_chat_logs_of_both_shapes(tmp_path: Path) -> None:
    log = {
        "customer": "c1",
        "request": {
            "model": "big",
            "messages": [
                {"role": "user", "content": "old"},
                {"role": "assistant", "content": "no"},
                {"role": "user", "content": [{"type": "text", "text": "new"}]},
            ],
        },
        "response": {"created": 1767225600, "choices": [{"message": {"role": "assistant", "content": "card"}}]},
    }
    lines = [chat("where is my card", "card"), log, chat("x", None), {"messages": []}]
    write(tmp_path, "log.jsonl", "\n".join(map(json.dumps, lines)))
    plain, logged, unanswered, empty = read("chat_logs", tmp_path, path="log.jsonl")
    assert (plain["text"], plain["label"], plain["system"], plain["turns"]) == ("where is my card", "card", "sort", 1)
    assert (logged["text"], logged["label"], logged["customer"], logged["model"]) == ("new", "card", "c1", "big")
    assert logged["time"] == "2026-01-01T00:00:00+00:00"
    assert (unanswered["label"], empty["text"]) == (None, None)
    write(tmp_path, "odd.jsonl", json.dumps({**log, "response": {"created": 10**30, "choices": []}}))
    assert read("chat_logs", tmp_path, path="odd.jsonl")[0]["time"] is None
    write(tmp_path, "bad.jsonl", '{"messages": []}\n{"prompt": "x"}\n')
    with pytest.raises(AskError, match=r"line 2: it holds no messages.*keys prompt"):
        read("chat_logs", tmp_path, path="bad.jsonl")


def test_package_reads_a_table_without_running_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tables_of_somebody" / "data").mkdir(parents=True)
    write(tmp_path / "tables_of_somebody", "__init__.py", "raise SystemExit('was run')")
    write(tmp_path / "tables_of_somebody" / "data", "birds.csv", "text,label\na,b\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert read("package", tmp_path, module="tables_of_somebody", table="data/birds.csv") == [
        {"text": "a", "label": "b"}
    ]
    assert "tables_of_somebody" not in sys.modules
    with pytest.raises(NotFoundError, match=r"Did you mean 'data/birds.csv'"):
        read("package", tmp_path, module="tables_of_somebody", table="data/bird.csv")
    with pytest.raises(AskError, match="leads out of the package"):
        read("package", tmp_path, module="tables_of_somebody", table="../../etc/rows.csv")
    with pytest.raises(MissingExtraError, match="no_such_package"):
        read("package", tmp_path, module="no_such_package", table="a.csv")


def test_icd10_yields_blocks_and_chapters(tmp_path: Path) -> None:
    pytest.importorskip("simple_icd_10_cm", reason="the extra 'demo' is not installed")
    few = read("icd10", tmp_path, per_category=2)
    more = read("icd10", tmp_path, per_category=4)
    assert {r["code"] for r in few} < {r["code"] for r in more}
    assert {len({r["chapter"] for r in few}), len({r["label"] for r in few})} == {22, 285}
    (fracture,) = [r for r in read("icd10", tmp_path) if r["code"] == "S72.001A"]
    assert (fracture["label"], fracture["chapter"], fracture["category"]) == ("S70-S79", "19", "S72")
    assert fracture["block_name"] == "Injuries to the hip and thigh"
    terms = read("icd10", tmp_path, part="inclusion_terms")
    assert len(terms) > 12_000
    assert {"text": "Classical cholera", "label": "A00-A09", "kind": "inclusion"}.items() <= terms[0].items()


def test_a_missing_column_lists_those_there(tmp_path: Path) -> None:
    write(tmp_path, "rows.csv", "text,lable,when\na,b,c\n")
    with pytest.raises(
        AskError,
        match=r"'label' in data.label, but csv:rows.csv has no such .* Did you mean 'lable'\? It has: text, lable",
    ):
        read_sources(task(), tmp_path)
    with pytest.raises(AskError, match=r"'day' in data\.time"):
        read_sources(task(label="lable", time="day"), tmp_path)


def test_a_header_alone_is_no_source(tmp_path: Path) -> None:
    write(tmp_path, "rows.csv", "text,label\n")
    with pytest.raises(AskError, match="gave no rows"):
        read_sources(task(), tmp_path)


def test_ids_stay_when_rows_are_added_moved_or_the_file_renamed(tmp_path: Path) -> None:
    write(tmp_path, "rows.csv", "text,label,other\na,x,1\nb,y,2\na,x,3\n")
    before = read_sources(task(), tmp_path).rows
    write(tmp_path, "more.csv", "text,other,label\nnew,9,x\nb,2,y\na,1,x\na,3,x\n")
    after = read_sources(task(sources=[{"use": "csv", "path": "more.csv"}]), tmp_path).rows
    assert {(r.id, r.text) for r in before} < {(r.id, r.text) for r in after}
    assert len({r.id for r in before}) == 3
    assert before[2].id == f"{before[0].id}-2"
    assert before[0].extra == {"other": "1"}


def test_values_that_are_no_text_become_text(tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", '{"text": 3.5, "label": true, "a": null, "b": [1, "ä"], "c": NaN}\n')
    (row,) = read_sources(task(sources=[{"use": "jsonl", "path": "rows.jsonl"}]), tmp_path).rows
    assert (row.text, row.label, row.extra) == ("3.5", "true", {"b": '[1, "ä"]'})


def test_several_columns_fill_the_template(tmp_path: Path) -> None:
    write(tmp_path, "rows.csv", "title,body,label\nHi,there,x\n")
    spec = {"columns": ["title"], "template": "{title}: {body}"}
    made = Task.model_validate({**task().model_dump(exclude={"input"}), "input": spec})
    (row,) = read_sources(made, tmp_path).rows
    assert (row.text, dict(row.inputs)) == ("Hi: there", {"title": "Hi", "body": "there"})


def test_a_split_column_is_read_and_bad_words_are_named(tmp_path: Path) -> None:
    write(tmp_path, "rows.csv", "text,label,part\na,x,Dev\nb,y,\nc,x,test\n")
    reading = read_sources(task(split={"column": "part"}), tmp_path)
    assert [reading.given.get(row.id) for row in reading.rows] == ["validation", None, "test"]
    write(tmp_path, "rows.csv", "text,label,part\na,x,holdout\n")
    with pytest.raises(AskError, match=r"row 1: column 'part' says 'holdout'"):
        read_sources(task(split={"column": "part"}), tmp_path)


def test_a_strangers_source_that_yields_no_rows_of_columns_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real installed distribution with an entry point, found the way pip would leave it."""
    write(
        tmp_path,
        "strange_source.py",
        (
            "from sartor.core.shelf import Params as Settings, plugin\n"
            "class Params(Settings):\n    rows: int = 2\n    broken: bool = False\n"
            "@plugin\ndef birds(params):\n"
            "    for i in range(params.rows):\n"
            "        row = {'text': f'bird {i}', 'label': 'x'}\n        yield [i] if params.broken else row\n"
        ),
    )
    info = tmp_path / "strange_source-1.0.dist-info"
    info.mkdir()
    write(info, "METADATA", "Metadata-Version: 2.1\nName: strange-source\nVersion: 1.0\n")
    write(info, "entry_points.txt", "[sartor.data.sources]\nbirds = strange_source\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sartor.data.reading.SOURCES", type(SOURCES)("sartor.data.sources"))
    reading = read_sources(task(sources=[{"use": "birds", "rows": 3, "licence": "MIT"}]), tmp_path)
    assert [row.text for row in reading.rows] == ["bird 0", "bird 1", "bird 2"]
    with pytest.raises(PluginError, match=r"source.* 'birds' failed: TypeError"):
        read_sources(task(sources=[{"use": "birds", "broken": True}]), tmp_path)
    with pytest.raises(AskError, match=r"unknown key 'rowz' \(did you mean 'rows'"):
        read_sources(task(sources=[{"use": "birds", "rowz": 1}]), tmp_path)
    with pytest.raises(NotFoundError, match=r"no source 'bird'.*'birds'"):
        read_sources(task(sources=[{"use": "bird"}]), tmp_path)


def test_titles_hold_no_path_and_no_password() -> None:
    from sartor.data.reading import title

    assert title(SourcePick.model_validate({"use": "csv", "path": "/home/me/rows.csv"})) == "csv:rows.csv"
    assert title(SourcePick.model_validate({"use": "sql", "url": "postgresql://u:pw@h/d", "query": "select"})) == "sql"


def test_the_label_may_not_be_an_input(tmp_path: Path) -> None:
    write(tmp_path, "rows.csv", "text,label\na,b\n")
    made = Task.model_validate({**task().model_dump(exclude={"input"}), "input": {"template": "{text} {label}"}})
    with pytest.raises(AskError, match=r"'label' is also an input column: the model would be told the answer"):
        read_sources(made, tmp_path)


def test_slices_and_levels_stay_among_the_other_columns(tmp_path: Path) -> None:
    write(tmp_path, "rows.csv", "text,label,team\na,b,c\n")
    (row,) = read_sources(task(group="team", slices=["team", "text"]), tmp_path).rows
    assert (row.group, row.extra) == ("c", {"team": "c", "text": "a"})


def test_half_a_surrogate_pair_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", '{"text": "a \\ud83d", "label": "x", "k\\udc00": ["\\ud83d\\ude00"]}\n')
    (row,) = read_sources(task(sources=[{"use": "jsonl", "path": "rows.jsonl"}]), tmp_path).rows
    assert (row.text, row.extra) == ("a \ufffd", {"k\ufffd": '["\U0001f600"]'})


def test_long_cells_are_read(tmp_path: Path) -> None:
    write(tmp_path, "rows.csv", "text,label\n" + "w" * 500_000 + ",x\n")
    assert len(str(read("csv", tmp_path, path="rows.csv")[0]["text"])) == 500_000


SOUND = {
    "csv": b'text,label\n"a ""b"" c",x\nd\xc3\xa9,y\nhello world,x\n',
    "jsonl": b'{"text": "a", "label": "x"}\n{"text": "b\\u00e9", "label": 1}\n',
    "chat_logs": json.dumps(chat("a", "x")).encode() + b'\n{"request": {"messages": []}, "response": {"created": 5}}\n',
}
PIECES = [b"\n", b'"', b",", b"{", b"null", b"[]", b"\\ud800", b"\xff", b"1e999", b"9" * 30, b"NaN", b"\0", b"\r"]


@pytest.mark.parametrize("use", SOUND)
def test_whatever_the_bytes_are_the_error_speaks_to_the_user(tmp_path: Path, use: str) -> None:
    chance = random.Random(use)
    outcomes = set()
    for _ in range(400):
        content = bytearray(SOUND[use])
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(content) + 1)
            content[at : at + chance.choice([0, 0, 1, 9])] = chance.choice(PIECES)
        write(tmp_path, "rows.txt", bytes(content))
        try:
            read_sources(task(sources=[{"use": use, "path": "rows.txt"}]), tmp_path)
            outcomes.add("read")
        except AskError as error:
            outcomes.add(error.code)
    assert {"read", "wrong_encoding", "nul_byte"} <= outcomes
