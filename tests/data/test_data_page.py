"""The datasheet as a page: whole, self-contained, and safe whatever the rows say."""

import re
from html.parser import HTMLParser
from pathlib import Path

from sartor.core.rows import Row
from sartor.core.task import Task
from sartor.data.curate import build_dataset
from sartor.data.datasheet import datasheet_html
from sartor.data.describe import EDGES, length_histogram
from sartor.data.snapshot import read_datasheet

EVIL = "<script>alert('&')</script>"
VOID = {"meta", "rect", "i", "br"}


class Balanced(HTMLParser):
    """Fails where a tag closes another than the last opened one."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(folder: Path, labels: int) -> str:
    rows = [f'"{EVIL} no {i} said","{EVIL if i % labels == 0 else f"label{i % labels}"}"' for i in range(labels * 8)]
    (folder / "rows.csv").write_text("\n".join(["text,label", *rows, "same,label1", "same,label2"]), encoding="utf-8")
    task = Task.model_validate(
        {
            "name": "t",
            "description": EVIL,
            "data": {"sources": [{"use": "csv", "path": "rows.csv"}], "edits": ["nothing"]},
        }
    )
    build_dataset(task, folder / "out", base_dir=folder)
    return datasheet_html(read_datasheet(folder / "out"))


def test_the_page_is_whole_and_needs_no_network(tmp_path: Path) -> None:
    html = page(tmp_path, 12)
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    assert parser.seen.count("svg") == 2
    assert parser.seen.count("script") == 0
    assert not re.search(r"(src|href)=|url\(|@import", html)
    assert "prefers-color-scheme:dark" in html


def test_what_it_says(tmp_path: Path) -> None:
    html = page(tmp_path, 3)
    for part in (
        "csv:rows.csv",
        "2 same text, different labels",
        "Unknown licences: unstated",
        "quarantine",
        "label2",
        "nothing",
    ):
        assert part in html


def test_many_labels_are_drawn_in_part_and_it_says_so(tmp_path: Path) -> None:
    assert "10 labels in the middle are not drawn" in page(tmp_path, 70)


def test_lengths_fall_into_their_bins() -> None:
    rows = [Row(str(n), "x" * n) for n in (0, 9, 10, 19, 20, 99_999)]
    counts = length_histogram(rows)
    assert (counts[0], counts[1], counts[2], counts[-1], sum(counts), len(counts)) == (2, 2, 1, 1, 6, len(EDGES))
    assert sum(length_histogram([])) == 0
