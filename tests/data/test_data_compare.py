"""What changed between two data sets."""

import json
from typing import Any

from sartor.core.rows import Row, Snapshot
from sartor.data.compare import Change, diff


def snapshot(**splits: list[tuple[str, str]]) -> Snapshot:
    made = {
        s: [Row(f"{s}{i}", t, y) for i, (t, y) in enumerate(splits.get(s, []))] for s in ("train", "validation", "test")
    }
    return Snapshot(made, ("a", "b"))


def test_the_same_rows_under_other_ids_are_the_same() -> None:
    one = snapshot(train=[("x", "a"), ("y", "b")])
    other = snapshot(train=[("Y ", "b"), ("x", "a")])
    assert diff(one, other).same


def test_added_removed_relabelled_moved() -> None:
    before = snapshot(train=[("x", "a"), ("y", "b"), ("gone", "b"), ("z", "a")], test=[("t", "a")])
    after = snapshot(train=[("x", "b"), ("y", "b"), ("new", "a")], test=[("t", "a"), ("z", "a")])
    found = diff(before, after)
    assert found.counts == {"train": (4, 3), "validation": (0, 0), "test": (1, 2)}
    assert found.added == (Change("new", "", "a"),)
    assert found.removed == (Change("gone", "b", ""),)
    assert found.relabelled == (Change("x", "a", "b"),)
    assert found.moved == (Change("z", "train", "test"),)
    assert found.labels == {"a": (0.5, 1 / 3), "b": (0.5, 2 / 3)}
    assert abs(found.shift - 1 / 6) < 1e-12
    assert not found.same
    assert json.loads(json.dumps(found.body()))["added"][0]["text"] == "new"


def sheet(*steps: tuple[str, dict[str, Any], dict[str, int]]) -> dict[str, Any]:
    return {"curators": [{"use": use, "settings": settings, "taken": taken} for use, settings, taken in steps]}


def test_curators_are_compared_where_datasheets_are_given() -> None:
    one = sheet(("normalise", {}, {}), ("conflicts", {"action": "drop"}, {"same text": 4}))
    other = sheet(("conflicts", {"action": "majority"}, {"same text": 1}), ("length", {}, {}))
    same = snapshot(train=[("x", "a")])
    assert diff(same, same, sheet_a=one, sheet_b=one).same
    assert diff(same, same, sheet_a=one, sheet_b=other).curators == (
        "normalise: only in the first",
        "conflicts: settings {'action': 'drop'} became {'action': 'majority'}",
        "conflicts: took 4 rows, now 1",
        "length: only in the second",
    )
