"""Charts as SVG, drawn by pure functions. Colours and type come from the page's style sheet by class.

Across, places are percentages; down, they are pixels. So a chart fills any width, from a phone to a printed page,
while its letters and dots keep their size, without scripts. Marks differ in shape as well as in colour.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from sartor.evaluation.report.markup import Safe, join, tag
from sartor.evaluation.report.words import MISSING, known, percent, shorten, spread

Mark = Literal["picked", "floor", "incumbent", "other"]
Show = Callable[[float], str]

EDGE = 2.5
"""Percent left free at both sides, so that a dot at the end is not cut."""
ROW = 46
CLEAR = 20
"""Pixels between two labels that must not touch."""


@dataclass(frozen=True)
class Whisker:
    """A figure with its interval, as one line of a chart."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    mark: Mark = "other"


@dataclass(frozen=True)
class Point:
    """A candidate by what serving it costs and how good it is."""

    label: str
    cost: float
    quality: float
    mark: Mark = "other"


@dataclass(frozen=True)
class Scale:
    """Maps values to places between two ends; logarithmic if asked."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The place of a value, kept between the ends."""
        low, high, here = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        part = (here - low) / (high - low) if high > low else 0.5
        return self.start + min(max(part, 0.0), 1.0) * (self.end - self.start)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round values from below `low` to above `high`, about as many as asked."""
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-6):
        high = low + max(abs(low), 1.0)
    step = 10.0 ** math.floor(math.log10((high - low) / about))
    step *= next((m for m in (1, 2, 5) if (high - low) / (step * m) <= about), 10)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    places = 3 - math.floor(math.log10(step))
    return [round(i * step, places) for i in range(first, max(last, first + 1) + 1)]


def whiskers(rows: Sequence[Whisker], show: Show, *, tick: Show, name: str, title: str) -> Safe:
    """A dot with its interval for each row, the row's words above it.

    Args:
        show: turns a value into words; `tick` does so for the scale.
        name: unique on the page, for the ids of title and description.
    """
    low, high = spread([v for r in rows for v in (r.value, r.low, r.high)])
    marks = ticks(low, high)
    scale = Scale(marks[0], marks[-1], EDGE, 100 - EDGE)
    bottom = len(rows) * ROW + 8
    grid = [_upright(scale.at(t), 0, bottom, "grid") for t in marks]
    labels = [_tick(scale.at(t), bottom + 18, tick(t)) for t in marks]
    body = [_whisker(row, i * ROW, scale, show) for i, row in enumerate(rows)]
    said = "; ".join(_spoken(row, show) for row in rows)
    return _chart(bottom + 26, name, title, said, *grid, *labels, *body)


def frontier(points: Sequence[Point], show_cost: Show, show_quality: Show, *, name: str, title: str) -> Safe:
    """Cost of serving (logarithmic, free ones at the left end) against quality, and the line that nothing beats."""
    paid = [p.cost for p in points if p.cost > 0]
    least = 10.0 ** math.floor(math.log10(min(paid))) if paid else 0.001
    most = 10.0 ** math.ceil(math.log10(max(paid))) if paid else 1.0
    across = Scale(least / 3, max(most, least * 10), 10, 94, log=True)
    heights = ticks(*spread([p.quality for p in points]))
    down = Scale(heights[0], heights[-1], 286, 18)
    decades = range(round(math.log10(least)), round(math.log10(max(most, least * 10))) + 1)
    every = max(1, math.ceil(len(decades) / 4))
    grid = [tag("line", class_="grid", x1="10%", x2="98%", y1=down.at(h), y2=down.at(h)) for h in heights]
    grid += [tag("text", show_quality(h), class_="tick", x="0", y=down.at(h) + 4) for h in heights]
    grid += [_upright(across.at(10.0**d), 12, 292, "grid") for d in decades]
    grid += [_tick(across.at(10.0**d), 312, show_cost(10.0**d)) for d in decades if (d - decades[0]) % every == 0]
    places = {p: (across.at(max(p.cost, least / 3)), down.at(p.quality)) for p in points}
    stair = _stair([places[p] for p in unbeaten(points)])
    dots = [_mark(p.mark, *places[p]) for p in points]
    said = "; ".join(f"{p.label}: {show_quality(p.quality)} at {show_cost(p.cost)}" for p in points)
    return _chart(322, name, title, said, *grid, *stair, *dots, *_labels(points, places))


def unbeaten(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both cost and quality, cheapest first."""
    best, kept = -math.inf, []
    for point in sorted(points, key=lambda p: (p.cost, -p.quality)):
        if point.quality > best:
            best = point.quality
            kept.append(point)
    return kept


def reliability(bins: Sequence[tuple[float, float, int, float | None, float | None]], *, name: str, title: str) -> Safe:
    """How often answers of each confidence were right; on the diagonal, confidence means what it says.

    Args:
        bins: (confidence, share right, rows, low, high) each; columns below show how many rows lie in each tenth.
    """
    across, down = Scale(0, 1, 9, 97), Scale(0, 1, 250, 14)
    shapes: list[Safe] = []
    for i in range(6):
        at = i / 5
        shapes.append(tag("line", class_="grid", x1="9%", x2="97%", y1=down.at(at), y2=down.at(at)))
        shapes.append(tag("text", percent(at), class_="tick", x="0", y=down.at(at) + 4))
        shapes.append(_upright(across.at(at), 14, 250, "grid"))
        shapes.append(_tick(across.at(at), 326, percent(at)))
    shapes.append(tag("line", class_="ideal", x1="9%", y1=250, x2="97%", y2=14))
    for confidence, right, _, low, high in bins:
        x = across.at(confidence)
        if known(low) and known(high):
            shapes.append(_upright(x, down.at(high), down.at(low), "whisker picked"))
        shapes.append(tag("circle", class_="mark picked", cx=f"{x:.2f}%", cy=down.at(right), r=4.5))
    shapes += _tenths([(b[0], b[2]) for b in bins], across)
    shapes.append(tag("line", class_="axis", x1="9%", x2="97%", y1=306, y2=306))
    said = "; ".join(f"confidence {percent(c)}: {percent(r)} right in {n} rows" for c, r, n, _, _ in bins)
    return _chart(334, name, title, said, *shapes)


def _tenths(rows: Sequence[tuple[float, int]], across: Scale) -> list[Safe]:
    """Columns of rows in each tenth of confidence, standing on the lower axis."""
    counts = [0] * 10
    for confidence, n in rows:
        counts[min(max(int(confidence * 10), 0), 9)] += n
    most, wide = max(1, *counts), across.at(0.1) - across.at(0) - 0.8
    return [
        tag(
            "rect",
            class_="column",
            x=f"{across.at(i / 10) + 0.4:.2f}%",
            y=306 - tall,
            width=f"{wide:.2f}%",
            height=tall,
        )
        for i, n in enumerate(counts)
        if n and (tall := max(44 * n / most, 1.5))
    ]


def bar(part: float) -> Safe:
    """A bar for a table cell, `part` of its full length; the figure beside it says the same, so it is silent."""
    wide = f"{min(max(part, 0.0), 1.0) * 100:.2f}%"
    shapes = (
        tag("rect", class_="track", width="100%", height="8", rx="4"),
        tag("rect", class_="fill", width=wide, height="8", rx="4"),
    )
    return tag("svg", *shapes, class_="bar", aria_hidden="true")


def sign(mark: Mark) -> Safe:
    """A mark by itself, for a legend or a table."""
    return tag("svg", _mark(mark, 50, 8), class_="sign", aria_hidden="true")


def _chart(tall: float, name: str, title: str, said: str, *shapes: Safe) -> Safe:
    heading = (tag("title", title, id=f"{name}-title"), tag("desc", said, id=f"{name}-desc"))
    return tag(
        "svg", *heading, *shapes, class_="chart", width="100%", height=tall, role="img",
        aria_labelledby=f"{name}-title", aria_describedby=f"{name}-desc",
    )  # fmt: skip


def _upright(x: float, top: float, bottom: float, class_: str) -> Safe:
    return tag("line", class_=class_, x1=f"{x:.2f}%", x2=f"{x:.2f}%", y1=top, y2=bottom)


def _tick(x: float, y: float, words: str) -> Safe:
    anchor = "start" if x < 3 else "end" if x > 97.2 else "middle"
    return tag("text", words, class_="tick", x=f"{x:.2f}%", y=y, text_anchor=anchor)


def _spoken(row: Whisker, show: Show) -> str:
    if not known(row.value):
        return f"{row.label}: {MISSING}"
    if not (known(row.low) and known(row.high)):
        return f"{row.label}: {show(row.value)}"
    return f"{row.label}: {show(row.value)}, between {show(row.low)} and {show(row.high)}"


def _whisker(row: Whisker, top: float, scale: Scale, show: Show) -> Safe:
    words = show(row.value) if known(row.value) else MISSING
    parts = [
        tag("text", shorten(row.label, 34), class_=f"label {row.mark}", x=f"{EDGE}%", y=top + 17),
        tag("text", words, class_=f"value {row.mark}", x=f"{100 - EDGE}%", y=top + 17, text_anchor="end"),
    ]
    middle = top + 32
    if known(row.low) and known(row.high):
        left, right = scale.at(row.low), scale.at(row.high)
        line = {"y1": middle, "y2": middle}
        parts.append(tag("line", class_=f"whisker {row.mark}", x1=f"{left:.2f}%", x2=f"{right:.2f}%", **line))
        parts += [_upright(x, middle - 4, middle + 4, f"whisker {row.mark}") for x in (left, right)]
    if known(row.value):
        parts.append(_mark(row.mark, scale.at(row.value), middle))
    return join(*parts)


def _mark(mark: Mark, x: float, y: float) -> Safe:
    """Filled dot: picked. Square: floor. Diamond: incumbent. Ring: any other."""
    if mark in {"picked", "other"}:
        return tag("circle", class_=f"mark {mark}", cx=f"{x:.2f}%", cy=y, r=6 if mark == "picked" else 5)
    shape = (
        tag("rect", class_=f"mark {mark}", x=-5, y=-5, width=10, height=10)
        if mark == "floor"
        else tag("polygon", class_=f"mark {mark}", points="0,-7 7,0 0,7 -7,0")
    )
    # A nested drawing is the only thing that can be placed in percent and still be drawn in pixels.
    return tag("svg", shape, x=f"{x:.2f}%", y=y, overflow="visible", class_="at")


def _stair(places: Sequence[tuple[float, float]]) -> list[Safe]:
    """Steps through places: across at the height of the cheaper, then up to the next; on to the right end."""
    lines = []
    for (x, y), (after, above) in zip(places, [*places[1:], (98.0, None)], strict=True):
        lines.append(tag("line", class_="stair", x1=f"{x:.2f}%", x2=f"{after:.2f}%", y1=y, y2=y))
        if above is not None:
            lines.append(tag("line", class_="stair", x1=f"{after:.2f}%", x2=f"{after:.2f}%", y1=y, y2=above))
    return lines


def _labels(points: Sequence[Point], places: dict[Point, tuple[float, float]]) -> list[Safe]:
    """Names beside the dots, each moved down until it stands clear of those on its side."""
    taken: list[tuple[bool, float]] = []
    lines = []
    for point in sorted(points, key=lambda p: places[p][1]):
        x, y = places[point]
        left = x > 60
        while any(there == left and abs(y - other) < CLEAR for there, other in taken):
            y += 2
        taken.append((left, y))
        place = {"x": f"{x:.2f}%", "dx": "-12" if left else "12", "text_anchor": "end" if left else "start"}
        lines.append(tag("text", shorten(point.label, 26), class_=f"label {point.mark}", y=y + 4, **place))
    return lines
