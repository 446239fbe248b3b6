"""Certify a cascade's threshold: a finite-sample guarantee on rows that never tested anything, kept as a report."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.records import Dataset, Report
from sartor.core.route import Route
from sartor.core.rows import Snapshot
from sartor.core.task import Task
from sartor.data.kind import kind_of
from sartor.evaluation.answers import Answers
from sartor.evaluation.guarantee import Certificate
from sartor.evaluation.guarantee import certify as guarantee
from sartor.gateway.policy import POLICIES
from sartor.pipeline.answer import answer, read_answers
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.routes import route_named
from sartor.pipeline.serve import Bound, Handles, variant_named
from sartor.pipeline.stages import change_policy
from sartor.pipeline.terms import terms_of
from sartor.pipeline.workshop import Workshop

NEEDS = {"local", "threshold", "certificate"}
"""Settings of a policy that can be certified."""
SPLIT = "validation"
"""Whose rows calibrate: a variant answers its own training rows too well, and test rows choose nothing."""
CAVEAT = "These rows also chose among the candidates and fitted the calibration; rows kept apart promise more."


@dataclass(frozen=True)
class Certified:
    """A certificate, and where it is kept."""

    route: str
    certificate: Certificate
    report: str
    """Digest of the report."""
    applied: bool
    note: str

    def body(self) -> dict[str, Any]:
        """As JSON."""
        kept = {"route": self.route, "report": self.report, "applied": self.applied, "note": self.note}
        return kept | self.certificate.body()


def certify_route(
    shop: Workshop,
    name: str,
    *,
    alpha: float,
    delta: float = 0.05,
    against: str = "",
    apply: bool = False,
) -> Certified:
    """The lowest threshold of a route's cascade that can be promised.

    Args:
        alpha: share of wrong ones among local answers, or with `against` the loss to the giant, that it may have.
        delta: chance with which the promise may fail.
        against: column with the giant's recorded answers; the loss against it is then what is bounded.
        apply: put the threshold and the certificate into the route, by a recorded decision.

    Raises:
        NotFoundError: no such route.
        AskError: its policy has no threshold to certify, or rows lack what is needed.
    """
    route = route_named(shop, name)
    policy = _policy(route)
    bound = Handles(shop).resolve(str(policy["local"]))
    dataset = shop.store.ledger.get(variant_named(shop, bound.variant).data)
    assert isinstance(dataset, Dataset)
    snapshot = open_dataset(shop, dataset)
    variant, slices = variant_named(shop, bound.variant), bound.task.data.slices
    kept = answer(shop, EmbeddingCache(shop), variant, dataset, snapshot, SPLIT, slices)
    confidence, wrong = decided(bound.task, snapshot, read_answers(shop, kept))
    giant = _giant_wrong(bound.task, snapshot, against) if against else None
    found = guarantee(confidence, wrong, alpha=alpha, delta=delta, giant_wrong=giant)
    report = _keep(shop, bound, dataset, found)
    applied = apply and found.threshold is not None
    if applied:
        changed = policy | {"by": "threshold", "threshold": found.threshold, "certificate": report}
        change_policy(shop, route, changed, why=found.says)
    return Certified(name, found, report, applied, CAVEAT)


def decided(task: Task, snapshot: Snapshot, answers: Answers) -> tuple[Floats, Floats]:
    """(rows,) confidence of the least-cost answers, and 1.0 where they are wrong: as the gateway would give them.

    Raises:
        AskError: the variant says nothing of how sure it is.
    """
    judging = terms_of(task, snapshot).judging
    here = judging.here(answers)
    confidence = judging.chances(here)
    if confidence is None:
        raise AskError(
            f"What answers '{task.name}' here gives no chance that it is right, so that there is nothing to compare "
            "with a threshold.",
            param="policy.local",
            code="no_confidence",
        )
    return confidence, 1.0 - judging.judge(here).right


def _policy(route: Route) -> dict[str, Any]:
    policy = route.policy if isinstance(route.policy, dict) else {}
    use = str(policy.get("use", ""))
    fields = set(POLICIES.take(use).params.model_fields) if use in POLICIES else set[str]()
    if not fields >= NEEDS or not isinstance(policy.get("local"), str):
        raise AskError(
            f"Route '{route.name}' has no threshold to certify: its policy must ask a variant first, e.g. "
            "{use: cascade, local: triage@v1, to: gpt-4, by: threshold, threshold: 0.9}.",
            param="policy",
            code="nothing_to_certify",
        )
    return policy


def _giant_wrong(task: Task, snapshot: Snapshot, column: str) -> Floats:
    rows = snapshot.splits[SPLIT]
    if not any(row.extra.get(column) for row in rows):
        raise AskError(
            f"No {SPLIT} row has an answer in the column '{column}', so the loss against it can't be bounded.",
            param="against",
            code="no_recorded_answers",
        )
    kind, judging = kind_of(task), terms_of(task, snapshot).judging
    said = [kind.truth(task, row.extra.get(column)) for row in rows]
    right = [text is not None and judging.same(row.label or "", text) for row, text in zip(rows, said, strict=True)]
    return 1.0 - np.array(right, dtype=np.float64)


def _keep(shop: Workshop, bound: Bound, dataset: Dataset, found: Certificate) -> str:
    return shop.store.ledger.put(
        Report(
            purpose="guarantee",
            subject=bound.variant,
            title=bound.version,
            task=bound.task.name,
            data=dataset.digest,
            split=SPLIT,
            rows=dataset.files[f"{SPLIT}.parquet"],
            facts=found.body() | {"note": CAVEAT},
        )
    )
