"""The few shapes of HTML that sections share: tables, figures, sections, outcome words.

A table turns into cards on a phone, so every cell carries its column's name; the roles are written out because a
browser forgets them when a table is laid out as blocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sartor.evaluation.report.markup import Child, Safe, join, soft, tag
from sartor.evaluation.report.words import known

ICONS = {
    "pass": "3,9 7,13 14,4",
    "fail": "4,4 13,13 8.5,8.5 13,4 4,13",
    "unknown": "5,6 6,4 8.5,3 11,4 12,6 11,8 8.5,9.5 8.5,11",
    "holds": "3,9 7,13 14,4",
    "worse": "3,5 8.5,12 14,5",
}
"""Outcome -> the line that is drawn for it, in a square of 17."""
WORDS = {"pass": "Passed", "fail": "Failed", "unknown": "Not known"}


@dataclass(frozen=True)
class Column:
    """A heading, and whether figures stand under it."""

    title: str
    figures: bool = False


def table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Child]], marked: Sequence[str] = ()) -> Safe:
    """A table whose first column heads the rows.

    Args:
        marked: a CSS class for each row, '' for none; may be left out.
    """
    heads = [tag("th", c.title, scope="col", role="columnheader", class_="num" if c.figures else None) for c in columns]
    body = [_row(columns, cells, marked[i] if marked else "") for i, cells in enumerate(rows)]
    drawn = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *heads, role="row"), role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        class_="stack",
        role="table",
    )
    return tag("div", drawn, class_="scroll")


def _row(columns: Sequence[Column], cells: Sequence[Child], class_: str) -> Safe:
    first = tag("th", soft(cells[0]), scope="row", role="rowheader")
    rest = [
        tag(
            "td",
            tag("span", soft(cell)),
            role="cell",
            class_="num" if column.figures else None,
            data_label=column.title,
        )
        for column, cell in zip(columns[1:], cells[1:], strict=True)
    ]
    return tag("tr", first, *rest, role="row", class_=class_ or None)


def two(value: Child, below: str) -> Safe:
    """A figure with a smaller line under it."""
    return join(soft(value), tag("small", soft(below)) if below else None)


def figure(caption: str, explained: str, *inside: Safe) -> Safe:
    """A chart with its caption and what to look for."""
    return tag("figure", tag("figcaption", caption, tag("small", explained)), *inside)


def section(anchor: str, title: str, *inside: Safe | None) -> Safe:
    """A part of the page with its heading."""
    return tag(
        "section", tag("h2", title, id=f"{anchor}-heading"), *inside, id=anchor, aria_labelledby=f"{anchor}-heading"
    )


def para(*words: Child, class_: str | None = None) -> Safe:
    """A paragraph."""
    return tag("p", *words, class_=class_)


def callout(*words: Child) -> Safe:
    """Something that the reader must not miss."""
    return tag("div", para(*words), class_="callout", role="note")


def outcome(name: str, words: str = "") -> Safe:
    """An outcome as shape, word and colour."""
    shape = ICONS.get(name)
    drawing = tag("svg", tag("polyline", points=shape), viewBox="0 0 17 17", aria_hidden="true") if shape else None
    return tag("span", drawing, words or WORDS.get(name, name.capitalize()), class_=f"outcome {name}")


def between(low: float | None, high: float | None, show: Callable[[float | None], str]) -> str:
    """An interval in words, '' where an end is missing."""
    return f"{show(low)} to {show(high)}" if known(low) and known(high) else ""


def short(digest: str) -> Safe:
    """The beginning of a digest, the whole of it on pointing."""
    return tag("code", digest[:12], title=digest)
