"""Each curator finds what was planted, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from sartor.core.errors import AskError
from sartor.core.rows import Row
from sartor.data.curate import CURATORS
from sartor.data.curator import Bench, Curated
from sartor.data.near import NearIndex, bands_for, jaccard
from sartor.data.text import clean, key


def run(name: str, rows: list[Row], split_of: dict[str, str] | None = None, **settings: Any) -> Curated:
    curator = CURATORS.take(name)
    result: Curated = curator(rows, curator.read(settings), Bench(split_of or {}))
    assert sorted(row.id for row in rows) == sorted([r.id for r in result.kept] + [t.row.id for t in result.taken])
    json.dumps(result.notes, allow_nan=False)
    return result


def rows_of(*cells: tuple[str, str]) -> list[Row]:
    return [Row(id=f"r{i}", text=text, label=label, inputs={"text": text}) for i, (text, label) in enumerate(cells)]


def ids(result: Curated) -> list[str]:
    return [taken.row.id for taken in result.taken]


def test_the_shelf_holds_exactly_these() -> None:
    known = [
        "conflicts",
        "duplicates",
        "label_errors",
        "length",
        "near_duplicates",
        "normalise",
        "personal_data",
        "poison",
        "rare_labels",
    ]
    assert CURATORS.names() == known
    for name in CURATORS:
        assert CURATORS.take(name).params.model_config["frozen"], name
        assert CURATORS.summary(name), name
        assert run(name, []).kept == [], name


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("  a   b ", "a b"),
        ("cafe\u0301", "café"),
        ("a\u200bb\ufeff\x07", "ab"),
        ("a\u00a0b", "a b"),
        ("a \r\n\r\n\r\n\r\n b\t\tc", "a\n\nb c"),
        ("می\u200cخواهم 👩\u200d⚕️", "می\u200cخواهم 👩\u200d⚕️"),
        ("Case, Punctuation!", "Case, Punctuation!"),
        ("", ""),
    ],
)
def test_clean_changes_form_only(raw: str, wanted: str) -> None:
    assert clean(raw) == wanted
    assert clean(clean(raw)) == clean(raw)


def test_key_ignores_case_and_space() -> None:
    assert key("  Straße\nA ") == key("STRASSE a")
    assert key("ﬁne") == key("fine")
    assert key("a b") != key("ab")


def test_normalise_counts_and_keeps_the_inputs() -> None:
    rows = rows_of(("a  b", "x"), ("c", " y "), ("d", "z"))
    result = run("normalise", rows)
    assert [(r.text, r.label) for r in result.kept] == [("a b", "x"), ("c", "y"), ("d", "z")]
    assert result.notes == {"texts_changed": 1, "labels_changed": 1}
    assert result.kept[0].inputs == {"text": "a  b"}
    assert result.kept[2] is rows[2]


def test_duplicates_keep_the_first_within_a_split() -> None:
    rows = rows_of(("Hello", "x"), ("hello ", "x"), ("hello", "y"), ("HELLO", "x"))
    result = run("duplicates", rows, {"r3": "test"})
    assert ids(result) == ["r1"]
    assert result.taken[0].detail == "same as row r0"


@pytest.mark.parametrize(
    ("action", "gone"), [("drop", ["r0", "r1", "r2", "r4", "r5"]), ("majority", ["r2", "r4", "r5"]), ("report", [])]
)
def test_conflicts(action: str, gone: list[str]) -> None:
    rows = rows_of(("a", "x"), ("A", "x"), ("a", "y"), ("b", "x"), ("c", "x"), ("c", "y"), ("b", "y"))
    result = run("conflicts", rows, {"r6": "test"}, action=action)
    assert ids(result) == gone
    assert result.notes["texts_in_conflict"] == 2
    assert not gone or result.taken[0].detail == ("labelled x (2), y (1)")


def test_near_duplicates_need_the_same_label_and_split() -> None:
    long = "the machine in the city centre kept my card and did not give it back although I waited for half an hour"
    rows = rows_of(
        (long, "x"), (long.replace("half", "one"), "x"), (f"{long}!", "y"), ("other words", "x"), (f"{long}.", "x")
    )
    reported = run("near_duplicates", rows, {"r4": "test"})
    assert (reported.taken, reported.notes["near_duplicates"], reported.notes["near_with_another_label"]) == (
        [],
        {"train": 1},
        1,
    )
    dropped = run("near_duplicates", rows, {"r4": "test"}, action="drop")
    assert ids(dropped) == ["r1"]
    assert dropped.taken[0].detail.endswith("like row r0")


def test_near_index_finds_every_near_pair_of_real_text(data_folder: Path) -> None:
    """Against all pairs, compared one by one."""
    lines = (data_folder / "banking77" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:700]
    texts = [json.loads(line)["text"] for line in lines]
    index = NearIndex(texts, threshold=0.6, shingle=4)
    found: dict[int, float] = {}
    for at in range(len(texts)):
        if (near := index.closest(at)) is not None:
            found[at] = near[0]
        index.add(at)
    true = {
        at: best
        for at in range(1, len(texts))
        if (best := max(jaccard(texts[at], texts[o], 4) for o in range(at))) >= 0.6
    }
    assert len(true) > 30
    assert found == true


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.85, 1.0])
def test_bands_meet_pairs_at_the_threshold(threshold: float) -> None:
    bands = bands_for(threshold)
    assert 1 - (1 - threshold ** (128 // bands)) ** bands > (0.98 if threshold >= 0.5 else 0.4)


def test_length_takes_training_rows_only() -> None:
    usual = ((f"some words of usual length {'w' * (i % 9)}", "x") for i in range(50))
    rows = rows_of(*usual, ("w" * 5000, "x"), ("v" * 5000, "x"))
    result = run("length", rows, {"r51": "test"}, action="drop")
    assert ids(result) == ["r50"]
    assert result.notes["outliers"] == 2
    bounds = run(
        "length", rows_of(("ab", "x"), ("abcdef", "x"), ("abcd", "x")), min_chars=3, max_chars=5, z=None, action="drop"
    )
    assert ids(bounds) == ["r0", "r1"]


def test_rare_labels_count_training_rows_and_leave_every_split() -> None:
    rows = rows_of(("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"), ("out of scope", "z"))
    result = run("rare_labels", rows, {"r3": "test", "r4": "test"}, min_rows=2, action="drop")
    assert ids(result) == ["r2", "r3"]
    assert result.notes["rare"] == {"y": 1}
    assert run("rare_labels", rows, {"r3": "test"}, min_rows=2).taken == []


def test_label_errors_finds_planted_ones(data_folder: Path) -> None:
    pytest.importorskip("cleanlab", reason="the extra 'train' is not installed")
    lines = (data_folder / "banking77" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    real = [json.loads(line) for line in lines]
    chosen = sorted({r["label"] for r in real})[:6]
    rows = rows_of(*((r["text"], r["label"]) for r in real if r["label"] in chosen))
    planted = {row.id for row in rows[::25]}
    spoilt = [
        Row(id=r.id, text=r.text, label=chosen[(chosen.index(r.label or "") + 1) % 6]) if r.id in planted else r
        for r in rows
    ]
    result = run("label_errors", spoilt, {rows[0].id: "test"}, action="drop")
    found = set(ids(result))
    assert rows[0].id not in found
    assert len(found & planted) >= 0.8 * (len(planted) - 1)
    assert len(found - planted) <= 0.02 * len(rows)
    assert "reads like" in result.taken[0].detail
    again = run("label_errors", spoilt, {rows[0].id: "test"})
    assert (again.taken, again.notes) == ([], result.notes)


def test_label_errors_says_when_it_cannot_look() -> None:
    pytest.importorskip("cleanlab", reason="the extra 'train' is not installed")
    assert "fewer than two labels" in run("label_errors", rows_of(("a", "x"), ("b", "y"))).notes["why"]


def test_wrong_settings_name_the_nearest_key() -> None:
    with pytest.raises(AskError, match=r"'conflicts'.*did you mean 'action'"):
        CURATORS.take("conflicts").read({"actoin": "drop"})
    with pytest.raises(AskError, match="'action': Input should be"):
        CURATORS.take("conflicts").read({"action": "burn"})
