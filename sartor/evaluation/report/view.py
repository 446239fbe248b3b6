"""What a report says, as plain data: the JSON report is exactly this, the HTML page is drawn from it.

Whoever runs the chain fills it; nothing here computes a figure, reads a store or knows HTML. Every part but the
task, the candidates and the verdict may be missing: the page then leaves its section out or says what is missing.

Money is in the task's currency. Cost is money lost, so lower is better; `saved` figures are better when higher.
Shares are between 0 and 1.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sartor.core.licence import Licence
from sartor.core.records import Check, Metric


class View(BaseModel):
    """A frozen part of the report; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskView(View):
    """The work that the report is about."""

    name: str
    description: str = ""
    currency: str = "EUR"
    volume: int = 0
    """Requests a month; 0: not declared."""
    confidence: float = 0.95
    """Of every interval on the page."""
    labels: int = 0
    """How many labels there are."""
    contract: str = ""
    """Digest of the TaskRecord."""


class CandidateView(View):
    """One way to answer, measured on the same test rows as all others."""

    title: str
    recipe: str = ""
    base: str = ""
    digest: str = ""
    picked: bool = False
    """Chosen on validation rows; the only one that is gated."""
    floor: bool = False
    incumbent: bool = False
    money: Metric = Metric(value=None, note="not measured")
    """Money lost per 1,000 requests: mistakes, escalations, serving and waiting together."""
    metrics: dict[str, Metric] = Field(default_factory=dict)
    """By name of the metrics shelf: accuracy, macro_f1, calibration_error, …"""
    validation: Metric | None = None
    """Money lost per 1,000 requests on the validation rows, by which the candidate was picked."""
    latency_ms: float | None = None
    """Median of one answer at a time."""
    latency_p95_ms: float | None = None
    unit_cost: float | None = None
    """Money that serving one request costs."""
    make_seconds: float | None = None
    size_bytes: int | None = None
    note: str = ""


class VerdictView(View):
    """The decision, and what it is worth."""

    verdict: Literal["ship", "hold", "need_data"]
    reasons: tuple[str, ...] = ()
    """In plain words, the weightiest first."""
    candidate: str = ""
    """Title of the picked candidate."""
    incumbent: str = ""
    """Title of what answers today."""
    saved_per_1000: Metric | None = None
    """Money saved per 1,000 requests against the incumbent; negative: lost."""
    saved_per_month: Metric | None = None
    """At the declared volume; None where none is declared."""
    made_for: float | None = None
    """Money that making the candidate cost."""
    payback_days: float | None = None
    """None where it never pays back, or no volume is declared."""
    rows_needed: int | None = None
    """How many more labelled test rows would settle it."""


class ComparisonView(View):
    """The picked candidate against another, on the same rows, pair by pair."""

    against: str
    saved_per_1000: Metric
    accuracy: Metric | None = None
    """Difference of the shares of right answers; positive: the picked candidate is better."""
    fixed: int | None = None
    """Rows that only the picked candidate gets right."""
    broken: int | None = None
    """Rows that only the other gets right."""
    p_value: float | None = None
    """Exact McNemar test of fixed against broken."""
    note: str = ""


class Bin(View):
    """Answers of about the same confidence, and how many of them were right."""

    confidence: float
    """Mean confidence in the bin."""
    right: float
    """Share of right answers in the bin."""
    n: int
    low: float | None = None
    high: float | None = None
    """Interval of `right`."""


class ConfusionView(View):
    """One kind of mistake of the picked candidate."""

    true: str
    answer: str
    n: int
    cost_each: float | None = None
    cost_per_1000: float | None = None
    """What this mistake alone costs in 1,000 requests."""


class SliceView(View):
    """The picked candidate on a part of the rows."""

    column: str
    value: str
    n: int
    accuracy: Metric
    incumbent: Metric | None = None
    """Accuracy of the incumbent on the same rows."""
    difference: Metric | None = None
    outcome: Literal["worse", "holds", ""] = ""
    """Whether it is worse than the incumbent by more than the margin, corrected for the number of slices."""


class FlipView(View):
    """A row on which the picked candidate and the incumbent differ."""

    text: str
    kind: Literal["fixed", "broken", "changed"]
    """Only the picked candidate is right; only the incumbent is; both are wrong, in two ways."""
    true: str
    before: str | None
    """The incumbent's answer; None: no valid one."""
    after: str | None
    saved: float | None = None
    """Money saved by the change on this row; negative: lost."""


class CuratorView(View):
    """What one curator did."""

    name: str
    taken: int = 0
    says: str = ""


class LeakView(View):
    """A fact about rows that stand on both sides of a split."""

    kind: str
    """exact, group, near, label in text …"""
    rows: int
    action: str = ""
    """What was done about them."""


class CurationView(View):
    """How raw rows became the data set."""

    read: int | None = None
    """Rows that came from the sources."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Rows per split."""
    curators: tuple[CuratorView, ...] = ()
    quarantine: dict[str, int] = Field(default_factory=dict)
    """Reason -> rows taken out for it."""
    leaks: tuple[LeakView, ...] = ()
    metric: str = "accuracy"
    """The metric that the next two are of."""
    all_rows: Metric | None = None
    without_near_leaks: Metric | None = None
    """The same metric on the test rows that resemble no training row."""
    notes: tuple[str, ...] = ()


class LineageView(View):
    """Something that the picked candidate was made from, or with."""

    role: str
    """base, data, recipe, first, second, contract …"""
    name: str
    digest: str = ""
    licence: str = ""
    detail: str = ""


class DecisionView(View):
    """The signed record behind the verdict."""

    digest: str = ""
    policy: str = ""
    who: str = ""
    key_id: str = ""
    replay: str = ""
    """The command that verifies the signature and judges the evidence again."""
    time: str = ""


class ReportView(View):
    """Everything that the report of one run says."""

    schema_version: int = 1
    task: TaskView
    candidates: tuple[CandidateView, ...]
    """In the order of the task file; the incumbent is one of them."""
    verdict: VerdictView
    checks: tuple[Check, ...] = ()
    comparisons: tuple[ComparisonView, ...] = ()
    reliability: tuple[Bin, ...] = ()
    confusions: tuple[ConfusionView, ...] = ()
    """Dearest first."""
    slices: tuple[SliceView, ...] = ()
    suites: tuple[SliceView, ...] = ()
    """Standing suites against what is live, the most suspect first; empty where none stand."""
    flips: tuple[FlipView, ...] = ()
    flip_counts: dict[str, int] = Field(default_factory=dict)
    """How many rows changed in which way, of which `flips` are examples."""
    curation: CurationView | None = None
    looks: int | None = None
    """How often the test rows have been looked at, this time included."""
    test_rows: int | None = None
    lineage: tuple[LineageView, ...] = ()
    licence: Licence | None = None
    """The union over all parents."""
    decision: DecisionView = DecisionView()
    environment: dict[str, str] = Field(default_factory=dict)
    """The machine and versions on which latency and cost were measured."""
    measuring: str = ""
    """How latency and unit cost were measured, in one sentence."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """Anything else for machines; not drawn."""

    def picked(self) -> CandidateView | None:
        """The candidate that was gated."""
        return next((c for c in self.candidates if c.picked), None)

    def to_json(self) -> str:
        """The JSON report. Figures that are not finite are written as null."""
        return self.model_dump_json(indent=2)
