"""The sections about where the picked candidate is wrong: confusions, slices, flips.

Draws figures that others have computed; decides nothing.
"""

from sartor.core.records import Metric
from sartor.evaluation.report import words
from sartor.evaluation.report.charts import bar
from sartor.evaluation.report.markup import Safe, join, tag
from sartor.evaluation.report.tables import Column, between, outcome, para, section, table, two
from sartor.evaluation.report.view import FlipView, ReportView, SliceView

COUNTED = {"fixed": "rows fixed", "broken": "broken", "changed": "changed but still wrong"}
SHOWN = 12
"""Rows of a long table that are shown before the rest is folded."""


def mistakes(view: ReportView) -> Safe | None:
    """Confusions of the picked candidate, weighted by money."""
    if not view.confusions:
        return None
    currency = view.task.currency
    dearest = max((c.cost_per_1000 or 0.0 for c in view.confusions), default=0.0)
    columns = [
        Column("It was"),
        Column("The answer said"),
        Column("Rows", figures=True),
        Column("Cost of each", figures=True),
        Column("Cost per 1,000", figures=True),
        Column("Share of the dearest"),
    ]
    rows = [
        [
            c.true,
            c.answer,
            f"{c.n:,}",
            words.money(c.cost_each, currency) if c.cost_each is not None else "–",
            words.money(c.cost_per_1000, currency) if c.cost_per_1000 is not None else "–",
            bar((c.cost_per_1000 or 0.0) / dearest if dearest > 0 else 0.0),
        ]
        for c in view.confusions
    ]
    return section(
        "mistakes",
        "The dearest mistakes",
        para("What the picked candidate mixes up, by the money that it loses.", class_="note"),
        folded("Confusions weighted by money", columns, rows),
    )


def folded(caption: str, columns: list[Column], rows: list[list[Safe | str]]) -> Safe:
    """A table whose rows after the first dozen are folded away."""
    if len(rows) <= SHOWN:
        return table(caption, columns, rows)
    more = table(f"{caption}, continued", columns, rows[SHOWN:])
    return join(
        table(caption, columns, rows[:SHOWN]),
        tag("details", tag("summary", f"{len(rows) - SHOWN:,} more"), more),
    )


def slices(view: ReportView) -> Safe | None:
    """Parts of the rows, those that got worse first."""
    if not view.slices:
        return None
    ordered = sorted(view.slices, key=lambda s: (s.outcome != "worse", -s.n))
    worse = sum(s.outcome == "worse" for s in ordered)
    said = (
        outcome(
            "fail",
            f"{worse} of these slices got worse by more than the margin, and chance does not explain it.",
        )
        if worse
        else outcome("pass", "None of these slices surely got worse by more than the margin.")
    )
    columns = [
        Column("Slice"),
        Column("Rows", figures=True),
        Column("Picked", figures=True),
        Column("Incumbent", figures=True),
        Column("Difference", figures=True),
        Column("Outcome"),
    ]
    return section(
        "slices",
        "Does it hold everywhere?",
        para(
            "Right answers on parts of the rows. Looking at many parts makes some look bad by luck; the outcome is "
            "corrected for how many there are.",
            class_="note",
        ),
        para(said),
        folded("Right answers by slice", columns, [_slice(s, view.task.currency) for s in ordered]),
    )


def suites(view: ReportView) -> Safe | None:
    """Rows that stand: old eras, labels, and what was mended before."""
    if not view.suites:
        return None
    lost = sum(s.outcome == "worse" for s in view.suites)
    said = (
        outcome("fail", f"{lost} of these suites surely lost more than the task allows.")
        if lost
        else outcome("pass", "None of these suites surely lost more than the task allows.")
    )
    columns = [
        Column("Suite"),
        Column("Rows", figures=True),
        Column("Candidate", figures=True),
        Column("Live", figures=True),
        Column("Difference", figures=True),
        Column("Outcome"),
    ]
    return section(
        "suites",
        "Was anything forgotten?",
        para(
            "What the live variant can do already, by era and label of the standing test, and every row that somebody "
            "corrected and a released variant then got right. The outcome is corrected for how many there are.",
            class_="note",
        ),
        para(said),
        folded("Right answers by standing suite", columns, [_slice(s, view.task.currency) for s in view.suites]),
    )


def _slice(s: SliceView, currency: str) -> list[Safe | str]:
    gap = s.difference or _gap(s)
    return [
        two(s.value, s.column),
        f"{s.n:,}",
        two(words.figure("accuracy", s.accuracy, currency), words.interval("accuracy", s.accuracy, currency)),
        words.figure("accuracy", s.incumbent, currency) if s.incumbent else "–",
        two(f"{words.points(gap.value)} points", between(gap.low, gap.high, words.points)) if gap else "–",
        outcome(s.outcome) if s.outcome else "–",
    ]


def _gap(s: SliceView) -> Metric | None:
    """The plain difference, where nobody worked out an interval of it."""
    old, new = s.incumbent.value if s.incumbent else None, s.accuracy.value
    return Metric(value=new - old) if words.known(old) and words.known(new) else None


def flips(view: ReportView) -> Safe | None:
    """Rows on which the picked candidate and the incumbent differ, with examples."""
    if not view.flips and not view.flip_counts:
        return None
    said = ", ".join(f"{n:,} {COUNTED.get(name, name)}" for name, n in view.flip_counts.items())
    whole = f"{said}, compared with {view.verdict.incumbent or 'what answers today'}. " if said else ""
    kinds = {"broken": "Got worse", "fixed": "Got better", "changed": "Wrong both ways"}
    folds = []
    for kind, title in kinds.items():
        found = [f for f in view.flips if f.kind == kind]
        if found:
            summary = tag("summary", f"{title}: {_many(len(found))}")
            folds.append(tag("details", summary, _examples(found, view.task.currency), open=kind == "broken"))
    return section(
        "flips", "What changes for whom", para(whole, "The examples move most money; texts are shortened."), *folds
    )


def _many(count: int) -> str:
    return "1 example" if count == 1 else f"{count:,} examples"


def _examples(items: list[FlipView], currency: str) -> Safe:
    def answer(label: str | None) -> str:
        return "no valid answer" if label is None else label

    def one(f: FlipView) -> Safe:
        saved = words.money(f.saved, currency, signed=True) if f.saved is not None else None
        return tag(
            "li",
            tag("blockquote", words.shorten(f.text)),
            tag(
                "dl",
                tag("dt", "It is"), tag("dd", f.true),
                tag("dt", "Before"), tag("dd", answer(f.before)),
                tag("dt", "Now"), tag("dd", answer(f.after)),
                *((tag("dt", "Saved"), tag("dd", saved)) if saved else ()),
            ),
        )  # fmt: skip

    return tag("ul", *(one(f) for f in items), class_="flips")
