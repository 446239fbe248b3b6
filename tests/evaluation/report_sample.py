"""A report view with figures such as a real run gives, for the tests of the report."""

from sartor.core.licence import Licence
from sartor.core.records import Check, Metric
from sartor.evaluation.report.view import (
    Bin,
    CandidateView,
    ComparisonView,
    ConfusionView,
    CurationView,
    CuratorView,
    DecisionView,
    FlipView,
    LeakView,
    LineageView,
    ReportView,
    SliceView,
    TaskView,
    VerdictView,
)


def share(value: float, half: float, n: int = 3080) -> Metric:
    return Metric(value=value, low=value - half, high=min(value + half, 1.0), n=n, unit="share of rows")


def euros(value: float, half: float, n: int = 3080) -> Metric:
    return Metric(value=value, low=value - half, high=value + half, n=n, unit="money per 1,000 requests")


def candidate(title: str, accuracy: float, money: float, **more: object) -> CandidateView:
    metrics = {
        "accuracy": share(accuracy, 0.009),
        "macro_f1": share(accuracy - 0.004, 0.009),
        "calibration_error": Metric(value=round(0.11 - accuracy / 10, 4), n=3080, unit="share of rows"),
        "coverage": share(0.94, 0.008),
        "level_accuracy:product": share(accuracy + 0.01, 0.008),
        "out_of_scope_recall": share(0.71, 0.03),
        "top_accuracy": share(accuracy, 0.009),
        "out_of_scope_auroc": Metric(value=0.952, low=0.944, high=0.959, n=4080),
    }
    return CandidateView.model_validate({"title": title, "money": euros(money, 4.2), "metrics": metrics, **more})


CANDIDATES = (
    candidate("linear", 0.8912, 71.4, recipe="linear", floor=True, latency_ms=0.21, latency_p95_ms=0.34,
              unit_cost=2.1e-8, make_seconds=14.2, size_bytes=4_210_000, digest="1f" * 32),
    candidate("head:static-minilm", 0.8704, 84.9, recipe="head", base="static-minilm", latency_ms=0.16,
              latency_p95_ms=0.22, unit_cost=1.4e-8, make_seconds=6.3, size_bytes=79_000, digest="2f" * 32),
    candidate("head:minilm", 0.9236, 53.0, recipe="head", base="minilm", latency_ms=7.9, latency_p95_ms=9.6,
              unit_cost=6.2e-7, make_seconds=41.0, size_bytes=118_000, digest="3f" * 32),
    candidate("tune:minilm", 0.9331, 47.2, recipe="tune", base="minilm", latency_ms=8.1, latency_p95_ms=9.9,
              unit_cost=6.4e-7, make_seconds=1340.0, size_bytes=90_900_000, digest="4f" * 32),
    candidate("blend", 0.9393, 43.1, recipe="blend", picked=True, latency_ms=8.4, latency_p95_ms=10.4,
              unit_cost=6.6e-7, make_seconds=3.9, size_bytes=9_400, digest="5f" * 32),
    candidate("gpt-4 (recorded)", 0.8123, 131.5, incumbent=True, unit_cost=0.0062, latency_ms=840.0),
    candidate("a person answers everything", 0.97, 350.0, unit_cost=0.32),
)  # fmt: skip

LABELS = ("card arrival", "card delivery estimate", "pending transfer", "transfer timing", "top up failed",
          "balance not updated", "beneficiary not allowed", "exchange rate")  # fmt: skip


TASK = TaskView(
    name="support-triage",
    description="Which of 77 intents a customer of the bank has, from the first message.",
    currency="EUR",
    volume=60_000,
    labels=77,
)

VERDICT = VerdictView(
    verdict="ship",
    candidate="blend",
    incumbent="gpt-4 (recorded)",
    saved_per_1000=euros(88.4, 9.1),
    saved_per_month=euros(5304.0, 546.0),
    made_for=0.31,
    payback_days=0.002,
    reasons=(
        "It loses €43.10 per 1,000 requests where gpt-4 loses €131.50, and chance does not explain the difference.",
        "It is right more often: 93.9 % against 81.2 %, on the same 3,080 rows.",
        "No slice got worse by more than the margin of 5 points.",
        "The simplest honest model (linear) loses €28.30 more per 1,000, so the dearer one pays.",
    ),
)

CHECKS = (
    Check(name="value", outcome="pass", says="Saves at least €79.30 per 1,000 requests; the margin is €0."),
    Check(name="accuracy", outcome="pass", says="12.7 points better; may be 1.0 point worse."),
    Check(name="slices", outcome="pass", says="0 of 84 slices are worse after Holm's correction."),
    Check(name="calibration", outcome="pass", says="Calibration error 1.6 %; at most 10 % is allowed."),
    Check(name="latency", outcome="pass", says="95 of 100 answers within 10.4 ms; the limit is 50 ms."),
    Check(name="licence", outcome="pass", says="Attribution; nothing unknown."),
)

COMPARISONS = (
    ComparisonView(
        against="gpt-4 (recorded)",
        saved_per_1000=euros(88.4, 9.1),
        accuracy=share(0.127, 0.014),
        fixed=461,
        broken=70,
        p_value=1e-60,
    ),
    ComparisonView(
        against="linear",
        saved_per_1000=euros(28.3, 6.0),
        accuracy=share(0.0481, 0.009),
        fixed=201,
        broken=53,
        p_value=0.0213,
        note="floor",
    ),
)

BINS = tuple(
    Bin(confidence=c, right=r, n=n, low=max(r - half, 0), high=min(r + half, 1))
    for c, r, n, half in (
        (0.17, 0.2, 21, 0.16), (0.26, 0.22, 38, 0.13), (0.36, 0.41, 52, 0.13), (0.45, 0.43, 66, 0.12),
        (0.55, 0.53, 81, 0.11), (0.65, 0.69, 96, 0.09), (0.75, 0.73, 140, 0.07), (0.86, 0.88, 311, 0.037),
        (0.97, 0.975, 2275, 0.007),
    )
)  # fmt: skip

CONFUSIONS = tuple(
    ConfusionView(
        true=LABELS[i % 8],
        answer=LABELS[(i * 3 + 1) % 8],
        n=14 - i // 2,
        cost_each=4.0 if i < 3 else 1.0,
        cost_per_1000=round((14 - i // 2) * (4.0 if i < 3 else 1.0) / 3.08, 2),
    )
    for i in range(15)
)

SLICES = tuple(
    SliceView(
        column="channel" if i < 3 else "label",
        value=("app", "e-mail", "phone", *LABELS)[i],
        n=1400 - i * 121,
        accuracy=share(0.95 - i * 0.006, 0.012),
        incumbent=share(0.83 - i * 0.01, 0.02),
        difference=share(0.12 - i * 0.011, 0.04),
        outcome="holds" if i < 10 else "",
    )
    for i in range(11)
)

FLIPS = (
    FlipView(
        text="I still have not received my new card, I ordered it over a week ago and nobody tells me anything.",
        kind="fixed",
        true="card arrival",
        before="card delivery estimate",
        after="card arrival",
        saved=1.0,
    ),
    FlipView(
        text="How long will my transfer take?",
        kind="fixed",
        true="transfer timing",
        before="pending transfer",
        after="transfer timing",
        saved=1.0,
    ),
    FlipView(
        text="My top-up was refused", kind="fixed", true="top up failed", before=None, after="top up failed", saved=4.0
    ),
    FlipView(
        text="The money is gone from my account, but my friend has not got it. " * 6,
        kind="broken",
        true="pending transfer",
        before="pending transfer",
        after="transfer timing",
        saved=-1.0,
    ),
)

CURATION = CurationView(
    read=13_083,
    counts={"train": 8_442, "validation": 1_490, "test": 3_080},
    curators=(
        CuratorView(name="normalise", says="Unicode NFC, white space; 212 texts changed."),
        CuratorView(name="duplicates", taken=47, says="31 exact, 16 near (Jaccard 0.9)."),
        CuratorView(name="conflicts", taken=23, says="11 texts had two labels."),
        CuratorView(name="leakage", taken=1, says="One test row stood exactly in training."),
    ),
    quarantine={"exact duplicate": 31, "near duplicate": 16, "conflicting labels": 23, "stands in test": 1},
    leaks=(
        LeakView(kind="exact", rows=1, action="The training row went to quarantine."),
        LeakView(kind="near", rows=93, action="Reported; kept."),
    ),
    all_rows=share(0.9393, 0.0085),
    without_near_leaks=share(0.9384, 0.0086, 2987),
)

LINEAGE = (
    LineageView(role="variant", name="support-triage@v7", digest="5f" * 32, detail="recipe blend, seed 0"),
    LineageView(role="first", name="linear", digest="1f" * 32, detail="TF-IDF of words and characters, C 0.5"),
    LineageView(role="second", name="tune:minilm", digest="4f" * 32, detail="3 epochs, label smoothing 0.1"),
    LineageView(role="base", name="all-MiniLM-L6-v2", digest="a1" * 32, licence="Apache-2.0"),
    LineageView(role="data", name="support-triage, 13,012 rows", digest="b2" * 32, licence="CC-BY-4.0"),
)

DECISION = DecisionView(
    digest="c3" * 32,
    policy="release, version 1",
    who="ops@example.com",
    key_id="d4" * 16,
    replay=f"sartor decide --replay {'c3' * 6}",
    time="2026-03-02T09:14:05+00:00",
)

VIEW = ReportView(
    task=TASK,
    candidates=CANDIDATES,
    verdict=VERDICT,
    checks=CHECKS,
    comparisons=COMPARISONS,
    reliability=BINS,
    confusions=CONFUSIONS,
    slices=SLICES,
    suites=SLICES[:2],
    flips=FLIPS,
    flip_counts={"fixed": 461, "broken": 70, "changed": 58},
    curation=CURATION,
    looks=2,
    test_rows=3080,
    lineage=LINEAGE,
    licence=Licence.of("Apache-2.0", "CC-BY-4.0"),
    decision=DECISION,
    environment={"processor": "2 cores, x86-64", "python": "3.11.9", "torch": "2.13.0", "threads": "1"},
    measuring="One request at a time, 200 after 20 to warm up; unit cost is processor time at €0.05 an hour.",
)


def sample(**changes: object) -> ReportView:
    """The view; named fields replaced by `changes`."""
    return VIEW.model_copy(update=changes)
