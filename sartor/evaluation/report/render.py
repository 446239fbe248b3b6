"""Draws a `ReportView` as one HTML file that needs nothing else: no network, no script, no font.

Its content policy allows the page its own style sheet, by hash, and nothing more. Knows the order of the page and
draws its top; the sections stand in `quality` and `provenance`.
"""

import base64
import functools
import hashlib
from collections.abc import Callable
from importlib.resources import files

from sartor.core.records import Metric
from sartor.evaluation.report import mistakes, provenance, quality, words
from sartor.evaluation.report.markup import Safe, join, tag
from sartor.evaluation.report.tables import Column, callout, outcome, para, section, table
from sartor.evaluation.report.view import ReportView, VerdictView

WORD = {"ship": "SHIP", "hold": "HOLD", "need_data": "NEED DATA"}
SHAPE = {"ship": "M8 23 18 33 36 12", "hold": "M15 10V34M29 10V34", "need_data": "M22 8V36M8 22H36"}
"""A tick, a pause, a plus: the verdict can be told without its colour."""


def render(view: ReportView) -> str:
    """The report as an HTML document."""
    drawn = [(anchor, name, draw(view)) for anchor, name, draw in SECTIONS]
    there = [(anchor, name, part) for anchor, name, part in drawn if part is not None]
    contents = tag(
        "nav",
        tag("ol", *(tag("li", tag("a", name, href=f"#{anchor}")) for anchor, name, _ in there)),
        aria_label="On this page",
    )
    page = tag(
        "div",
        tag("a", "Skip to the verdict", href="#verdict", class_="skip"),
        _header(view),
        tag(
            "main",
            _verdict(view),
            tag("div", contents, tag("div", *(part for _, _, part in there), class_="sections"), class_="body"),
        ),
        _footer(view),
        class_="page",
    )
    return f"<!doctype html>\n{tag('html', _head(view), tag('body', page), lang='en')}\n"


@functools.cache
def _style() -> Safe:
    return Safe(files("sartor.evaluation.report").joinpath("style.css").read_text(encoding="utf-8"))


def _head(view: ReportView) -> Safe:
    style = _style()
    mark = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{mark}'; base-uri 'none'; form-action 'none'"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="robots", content="noindex"),
        tag("title", f"{WORD[view.verdict.verdict]}: {view.task.name} · inspection report"),
        tag("style", style),
    )


def _header(view: ReportView) -> Safe:
    said = view.task.description
    return tag(
        "header",
        para("Sartor inspection report", class_="brand"),
        tag("h1", view.task.name),
        para(said, class_="lead") if said else None,
    )


def _verdict(view: ReportView) -> Safe:
    verdict = view.verdict
    shape = tag("svg", tag("path", d=SHAPE[verdict.verdict]), viewBox="0 0 44 44", aria_hidden="true")
    reasons = [tag("li", reason) for reason in verdict.reasons]
    return tag(
        "section",
        tag("h2", shape, WORD[verdict.verdict], class_="word", id="verdict-heading"),
        para(_sentence(verdict), class_="sentence"),
        _figures(view),
        tag("ul", *reasons, class_="reasons") if reasons else None,
        id="verdict",
        aria_labelledby="verdict-heading",
        class_=f"verdict {verdict.verdict}",
    )


def _sentence(verdict: VerdictView) -> Safe:
    candidate = tag("strong", verdict.candidate or "No candidate")
    incumbent = tag("strong", verdict.incumbent or "what answers today")
    if not verdict.candidate:
        return join(candidate, " could be picked; ", incumbent, " goes on answering.")
    if verdict.verdict == "ship":
        return join("Put ", candidate, " in the place of ", incumbent, ".")
    if verdict.verdict == "hold":
        return join("Keep ", incumbent, ". ", candidate, " does not pass, for the reasons below.")
    needed = verdict.rows_needed
    more = f"About {needed:,} more labelled rows would settle it." if needed else "More labelled rows would settle it."
    return join("Keep ", incumbent, " for now. Too few rows to say whether ", candidate, f" is better. {more}")


def _figures(view: ReportView) -> Safe:
    verdict, currency = view.verdict, view.task.currency
    volume = f"at {view.task.volume:,} requests a month" if view.task.volume else ""
    made = f"for {words.money(verdict.made_for, currency)} spent on making it" if verdict.made_for is not None else ""
    known = words.known(verdict.payback_days) or (verdict.saved_per_month is not None)
    payback = words.days(verdict.payback_days) if known else "not known"
    return tag(
        "dl",
        _saved("per 1,000 requests", verdict.saved_per_1000, currency, ""),
        _saved("per month", verdict.saved_per_month, currency, volume or "no volume is declared"),
        tag("div", tag("dt", "Paid back"), tag("dd", payback, tag("small", made) if made else None)),
        class_="figures",
    )


def _saved(per: str, saved: Metric | None, currency: str, below: str) -> Safe:
    """One figure of money, named by its sign: nobody should have to read a minus as a loss."""
    value = saved.value if saved else None
    if saved is None or value is None or not words.known(value):
        shown, name = "not known", "Saved"
    else:
        shown, name = words.money(abs(value), currency), "Lost" if value < 0 else "Saved"
    reach = words.reach(saved.low, saved.high, currency) if saved else ""
    small = [tag("small", line) for line in (reach, below or (saved.note if saved else "")) if line]
    return tag("div", tag("dt", f"{name} {per}"), tag("dd", shown, *small))


def checks(view: ReportView) -> Safe | None:
    """Every check of the gate: what was asked, and what was found."""
    if not view.checks:
        return None
    order = {"fail": 0, "unknown": 1, "pass": 2}
    rows = [
        [check.name.replace("_", " ").replace(":", ": ").capitalize(), outcome(check.outcome), check.says]
        for check in sorted(view.checks, key=lambda c: order[c.outcome])
    ]
    missing = any(c.outcome == "unknown" for c in view.checks)
    return section(
        "checks",
        "What was checked",
        table("Checks of the gate, failed ones first", [Column("Check"), Column("Outcome"), Column("Found")], rows),
        callout("What is not known counts as not passed: the gate never guesses in a model's favour.")
        if missing
        else None,
    )


def _footer(view: ReportView) -> Safe:
    when = f" {view.decision.time}." if view.decision.time else ""
    said = f"Ranges hold the true figure with {words.percent(view.task.confidence)} confidence."
    return tag("footer", para(f"{said} Money in {view.task.currency}.{when}"))


SECTIONS: tuple[tuple[str, str, Callable[[ReportView], Safe | None]], ...] = (
    ("checks", "Checks", checks),
    ("candidates", "Money and quality", quality.candidates),
    ("frontier", "Frontier", quality.cost_frontier),
    ("reliability", "Confidence", quality.trust),
    ("mistakes", "Mistakes", mistakes.mistakes),
    ("slices", "Slices", mistakes.slices),
    ("suites", "What stands", mistakes.suites),
    ("flips", "What changes", mistakes.flips),
    ("curation", "Data", provenance.curation),
    ("looks", "Test set", provenance.looks),
    ("lineage", "Lineage", provenance.lineage),
    ("replay", "Replay", provenance.replay),
    ("machine", "Measuring", provenance.machine),
)
"""Anchor, name in the contents, and what draws it, in reading order."""
