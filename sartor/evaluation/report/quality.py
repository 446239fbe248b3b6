"""The sections about what the models do: candidates, frontier, reliability.

Draws figures that others have computed; decides nothing.
"""

from functools import partial

from sartor.core.records import Metric
from sartor.evaluation.report import words
from sartor.evaluation.report.charts import (
    Mark,
    Point,
    Whisker,
    frontier,
    reliability,
    sign,
    whiskers,
)
from sartor.evaluation.report.markup import Safe, join, soft, tag
from sartor.evaluation.report.tables import Column, between, figure, para, section, table, two
from sartor.evaluation.report.view import CandidateView, ComparisonView, ReportView

ROLES = ("picked", "floor", "incumbent")


def mark_of(candidate: CandidateView) -> Mark:
    """The mark that stands for a candidate in every chart; being picked wins over being the floor."""
    if candidate.picked:
        return "picked"
    return "incumbent" if candidate.incumbent else "floor" if candidate.floor else "other"


def candidates(view: ReportView) -> Safe:
    """Money and quality of every candidate, with intervals."""
    currency = view.task.currency
    lines = [Whisker(c.title, c.money.value, c.money.low, c.money.high, mark_of(c)) for c in by_money(view)]
    quality = [
        Whisker(c.title, m.value, m.low, m.high, mark_of(c))
        for c in by_money(view)
        if (m := c.metrics.get("accuracy")) is not None
    ]
    confidence = words.percent(view.task.confidence)
    show, tick = partial(words.money, currency=currency), partial(words.round_money, currency=currency)
    return section(
        "candidates",
        "Money and quality",
        para(
            "Every way to answer, on the same test rows. Money counts mistakes, escalations, serving and waiting "
            f"together; lines show the range that holds the true figure with {confidence} confidence.",
            class_="note",
        ),
        figure(
            "Money lost per 1,000 requests",
            "Further left is better.",
            whiskers(lines, show, tick=tick, name="chart-money", title="Money lost per 1,000 requests"),
            legend(view),
        ),
        figure(
            "Right answers",
            "Further right is better. A request that is passed on counts with the chance that its answer is right.",
            whiskers(
                quality, words.share, tick=words.round_share, name="chart-accuracy", title="Share of right answers"
            ),
            legend(view),
        )
        if quality
        else None,
        _candidate_table(view),
        _all_metrics(view),
        _comparisons(view),
    )


def by_money(view: ReportView) -> list[CandidateView]:
    """Candidates, cheapest first; those without a figure last."""
    return sorted(view.candidates, key=lambda c: (not words.known(c.money.value), c.money.value or 0.0))


def legend(view: ReportView) -> Safe:
    """What the marks mean, for the marks that occur."""
    names: dict[Mark, str] = {
        "picked": "picked on validation rows",
        "incumbent": "answers today (incumbent)",
        "floor": "floor: simplest model that is honest",
        "other": "other candidates",
    }
    there = {mark_of(c) for c in view.candidates}
    items = [tag("li", sign(mark), text) for mark, text in names.items() if mark in there]
    return tag("ul", *items, class_="legend")


def _named(candidate: CandidateView) -> Safe:
    tags = [tag("span", r, class_=f"tag {r}") for r in ROLES if getattr(candidate, r)]
    made = " on ".join(x for x in (candidate.recipe, candidate.base) if x)
    below = made if made and candidate.title not in {made, f"{candidate.recipe}:{candidate.base}"} else ""
    return join(soft(candidate.title), tag("small", *tags, soft(below)) if tags or below else None)


def _candidate_table(view: ReportView) -> Safe:
    columns = [
        Column("Candidate"),
        Column("Money lost per 1,000", figures=True),
        Column("Right answers", figures=True),
        Column("Serving, per 1,000", figures=True),
        Column("One answer takes", figures=True),
        Column("Made in", figures=True),
    ]
    rows = [_candidate_row(c, view.task.currency) for c in by_money(view)]
    return table("All candidates, cheapest first", columns, rows, _marked(view))


def _candidate_row(c: CandidateView, currency: str) -> list[Safe | str]:
    tail = f"95{words.THIN}% within {words.milliseconds(c.latency_p95_ms)}" if c.latency_p95_ms is not None else ""
    size = words.size(c.size_bytes) if c.size_bytes is not None else ""
    return [
        _named(c),
        _metric("money", c.money, currency),
        _metric("accuracy", c.metrics.get("accuracy"), currency),
        words.money(c.unit_cost * 1000, currency) if c.unit_cost is not None else "–",
        two(words.milliseconds(c.latency_ms), tail) if c.latency_ms is not None else "–",
        two(words.seconds(c.make_seconds), size) if c.make_seconds is not None else "–",
    ]


def _metric(name: str, metric: Metric | None, currency: str) -> Safe | str:
    """A metric with its interval, or with the reason why there is none."""
    if metric is None:
        return "–"
    return two(words.figure(name, metric, currency), words.interval(name, metric, currency) or metric.note)


def _marked(view: ReportView) -> list[str]:
    return ["picked" if c.picked else "" for c in by_money(view)]


def _all_metrics(view: ReportView) -> Safe | None:
    names = list(dict.fromkeys(name for c in view.candidates for name in c.metrics))
    if not names:
        return None
    columns = [Column("Candidate"), *(Column(words.title_of(n), figures=True) for n in names)]
    rows = [[_named(c), *(_metric(n, c.metrics.get(n), view.task.currency) for n in names)] for c in by_money(view)]
    inside = table("Every metric of every candidate", columns, rows, _marked(view))
    return tag("details", tag("summary", "Every metric"), inside)


def _comparisons(view: ReportView) -> Safe | None:
    if not view.comparisons:
        return None
    rows = [_comparison(c, view.task.currency) for c in view.comparisons]
    columns = [
        Column("Against"),
        Column("Saved per 1,000", figures=True),
        Column("Right answers", figures=True),
        Column("Fixed / broken", figures=True),
        Column("Such a gap by luck", figures=True),
    ]
    return join(
        tag("h3", "Pair by pair"),
        para(
            "The picked candidate against others on the same rows. Two models can have overlapping ranges above and "
            "still differ clearly here, because each row is compared with itself.",
            class_="note",
        ),
        table("Differences to the picked candidate", columns, rows),
    )


def _comparison(c: ComparisonView, currency: str) -> list[Safe | str]:
    def signed(v: float | None) -> str:
        return words.money(v, currency, signed=True)

    money = two(signed(c.saved_per_1000.value), between(c.saved_per_1000.low, c.saved_per_1000.high, signed))
    gap = c.accuracy
    accuracy = two(f"{words.points(gap.value)} points", between(gap.low, gap.high, words.points)) if gap else join("–")
    flips = f"{c.fixed:,} / {c.broken:,}" if c.fixed is not None and c.broken is not None else "–"
    chance = "–" if c.p_value is None else "less than 0.0001" if c.p_value < 0.0001 else words.number(c.p_value, 4)
    return [two(c.against, c.note), money, accuracy, flips, chance]


def cost_frontier(view: ReportView) -> Safe | None:
    """The frontier of serving cost against quality."""
    found = [
        Point(c.title, c.unit_cost * 1000, m.value, mark_of(c))
        for c in view.candidates
        if (m := c.metrics.get("accuracy")) is not None and words.known(m.value)
        if words.known(c.unit_cost)
    ]
    if len(found) < 2:
        return None
    currency = view.task.currency
    drawing = frontier(
        found,
        partial(words.round_money, currency=currency),
        words.round_share,
        name="chart-frontier",
        title="Serving cost against right answers",
    )
    return section(
        "frontier",
        "What quality costs",
        para(
            "Up is better, left is cheaper. Nothing stands above and to the left of the dotted steps: only the "
            "candidates on them are worth choosing on these two figures.",
            class_="note",
        ),
        figure(
            "Right answers against the cost of serving",
            "Each step to the right on the lower scale is ten times dearer.",
            drawing,
            para("Serving cost per 1,000 requests", class_="below"),
            legend(view),
        ),
    )


def trust(view: ReportView) -> Safe | None:
    """The reliability diagram of the picked candidate."""
    if not view.reliability:
        return None
    bins = [(b.confidence, b.right, b.n, b.low, b.high) for b in view.reliability]
    rows = [
        [
            words.share(b.confidence),
            two(words.share(b.right), f"{words.share(b.low)} to {words.share(b.high)}" if words.known(b.low) else ""),
            f"{b.n:,}",
        ]
        for b in view.reliability
    ]
    columns = [Column("Says it is sure"), Column("Was right", figures=True), Column("Rows", figures=True)]
    picked = view.picked()
    error = picked.metrics.get("calibration_error") if picked else None
    said = f" On average it is off by {words.share(error.value)}." if error and words.known(error.value) else ""
    return section(
        "reliability",
        "Can its confidence be believed?",
        para(
            "Where the model says 80 %, it should be right 8 times in 10: then the dots lie on the diagonal. The "
            f"least-cost answer and the decision to ask someone else rest on this.{said}",
            class_="note",
        ),
        figure(
            "Confidence against right answers",
            "Dots below the diagonal: too sure of itself. Columns at the foot: how many answers were that sure.",
            reliability(bins, name="chart-reliability", title="Reliability of the picked candidate"),
            para("Confidence of the answer", class_="below"),
        ),
        tag("details", tag("summary", "The same as a table"), table("Reliability", columns, rows)),
    )
