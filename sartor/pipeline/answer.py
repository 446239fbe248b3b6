"""Ask a variant every row of a split, once: probabilities are kept, so that a new value function asks nothing again."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sartor.core.licence import Licence
from sartor.core.predict import Prediction, Predictor, Request
from sartor.core.records import Artifact, Dataset, Record, Variant
from sartor.core.rows import Row, Snapshot
from sartor.core.stating import Pricing
from sartor.evaluation.answers import Answers, collect
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.memo import Step, once
from sartor.pipeline.serve import fleet_of
from sartor.pipeline.workshop import Workshop
from sartor.serving.engine import ENGINES
from sartor.serving.predictor import Answering, Deciding, Stating, VariantPredictor

PROBES, PAID_PROBES = 200, 10
"""Single requests by which latency is measured; where somebody else charges for each."""


def answer_step(variant: Variant, dataset: Dataset, split: str, slices: tuple[str, ...] = ()) -> Step:
    """The memo's view: no value function, since only probabilities are kept."""
    modules = ("sartor.serving.predictor", "sartor.evaluation.answers", ENGINES.take(variant.engine).module)
    inputs = {"variant": variant.digest, "data": dataset.digest}
    return Step(
        "answer", variant.task, f"serving.engines/{variant.engine}", modules, inputs, {"split": split, "slices": slices}
    )


def answer(
    shop: Workshop,
    cache: EmbeddingCache,
    variant: Variant,
    dataset: Dataset,
    snapshot: Snapshot,
    split: str,
    slices: tuple[str, ...] = (),
) -> Artifact:
    """The variant's answers on a split, as an artifact with `answers.parquet` and measured latency and CPU."""

    def work(_: Path) -> dict[str, Record]:
        rows = snapshot.splits[split]
        predictor = VariantPredictor(fleet_of(shop, cache), variant.digest, likeliest(variant.labels))
        predictions = asyncio.run(_ask(shop, predictor, rows, f"{variant.title}: {split}"))
        answers = collect(rows, variant.labels, predictions, slices)
        charged = sum(prediction.cost for prediction in predictions) / max(len(predictions), 1)
        return {
            "answers": Artifact(
                name=f"answers/{variant.digest}/{split}",
                files={"answers.parquet": shop.store.vault.put_bytes(answers.to_parquet())},
                parents={"variant": variant.digest, "data": dataset.digest},
                made_by=f"serving.engines/{variant.engine}",
                licence=Licence.union([variant.licence, dataset.licence]),
                facts={"split": split, "rows": len(rows)},
                measured=_measure(shop, variant, rows, charged),
            )
        }

    made = once(shop, answer_step(variant, dataset, split, slices), work)["answers"]
    assert isinstance(made, Artifact)
    return made


def likeliest(labels: tuple[str, ...]) -> Deciding:
    """Decisions where every mistake costs 1 and nobody is asked: the likeliest answer, whatever the contract says.

    Args:
        labels: of the variant; none where it writes its answers.
    """
    if labels:
        return Answering(labels, 1.0 - np.eye(len(labels)))
    return Stating(Pricing((1.0, 1.0, 1.0)))


def read_answers(shop: Workshop, kept: Artifact) -> Answers:
    """The answers of an artifact, verified."""
    return Answers.from_parquet(shop.store.vault.read(kept.files["answers.parquet"]))


def requests_of(rows: Sequence[Row]) -> list[Request]:
    """Rows as requests."""
    return [Request(row.text, row.id, row.inputs, row.extra) for row in rows]


async def _ask(shop: Workshop, predictor: Predictor, rows: Sequence[Row], what: str) -> list[Prediction]:
    answered: list[Prediction] = []
    for start in range(0, len(rows), 1024):
        shop.progress(what, start, len(rows))
        answered += await predictor.predict(requests_of(rows[start : start + 1024]))
    shop.progress(what, len(rows), len(rows))
    return answered


def _measure(shop: Workshop, variant: Variant, rows: Sequence[Row], charged: float) -> dict[str, float]:
    """Latency of single requests and CPU seconds a request in batches of 32, without what is kept.

    Args:
        charged: money that somebody else charged for an answer, in the mean.
    """
    fleet = fleet_of(shop, None)
    texts = [row.text for row in rows[: PAID_PROBES if charged else PROBES]] or ["a"]
    fleet.probabilities([(variant.digest, texts[0])])
    singles = []
    for text in texts:
        started = time.perf_counter()
        fleet.probabilities([(variant.digest, text)])
        singles.append(time.perf_counter() - started)
    cpu = time.process_time()
    for start in range(0, 0 if charged else len(texts), 32):
        fleet.probabilities([(variant.digest, text) for text in texts[start : start + 32]])
    each = (time.process_time() - cpu) / len(texts)
    p50, p95 = np.percentile(singles, [50, 95]) * 1000
    return {
        "latency_ms": round(float(p50), 3),
        "latency_p95_ms": round(float(p95), 3),
        "cpu_seconds": each,
        "unit_cost": each * shop.second_price + charged,
        "threads": shop.threads,
    }
