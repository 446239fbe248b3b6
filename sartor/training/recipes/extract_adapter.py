"""A variant that was tuned whole, as an adapter on its base: the nearest low rank to what tuning changed.

Of each layer the difference to the base is decomposed (Eckart & Young 1936; as LoRA adapters are extracted by mergekit
and kohya). Biases, norms and word vectors go back to the base's, so the head is fitted again to what is left.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from sartor.core.errors import AskError
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.heads import centroids, fit_head, write_head
from sartor.training.job import Draft, Job
from sartor.training.lowrank import Factors, nearest, write_lora
from sartor.training.shards import Shards
from sartor.training.surgery import ADAPTER, Body, Patient, bytes_of, carry_over, patients, promised
from sartor.training.warm import anew

KINDS = ("classify", "extract", "generate")
SIZES = {"small": 8, "medium": 16, "large": 64}
"""Rank."""
SURGERY = True
"""Its parts are operated on, and not asked."""
MS_PER_ROW = {"small": 5.0, "medium": 5.0, "large": 5.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""
NOT_LAYERS = ("embeddings", "embed_tokens", "lm_head", "wte", "relative_attention_bias", "pooler")
"""Matrices that are no linear layers on the way."""


class Params(Base):
    """Settings of the extract_adapter recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Rank: 8, 16, 64."""
    rank: int | None = Field(default=None, ge=1)
    """Instead of the rank of `size`."""
    refit: bool = True
    """Fit the head anew to the embeddings that the adapter gives; else it is the parent's."""
    c: float = Field(default=10.0, gt=0)
    """How freely the head is fitted (inverse of its penalty)."""
    tolerance: float = Field(default=0.1, ge=0, le=1)
    """Share of the validation rows on which it may answer otherwise than what it was made of."""


@plugin
def extract_adapter(job: Job, params: Params) -> Draft:
    """Write `adapter/` and a head for it.

    Raises:
        AskError: the one part was not tuned whole, or on another base than the one that is named.
    """
    anew(job, "extract_adapter")
    (patient,) = patients(job, "extract_adapter")
    base = Body(Shards(job.needs_base("extract_adapter")))
    if patient.adapter is not None:
        raise AskError(
            f"Recipe 'extract_adapter' takes what was tuned whole, and '{patient.part.title}' has an adapter already.",
            param="candidates.of",
            code="parts_do_not_fit",
        )
    _same_base(patient, base)
    rank = params.rank or SIZES[params.size]
    layers: dict[str, Factors] = {}
    lost = whole = 0.0
    for name in _changed(patient.body, base):
        found = nearest(patient.body.read(name).astype(np.float32) - base.read(name).astype(np.float32), rank)
        layers[name.removesuffix(".weight")] = found.factors
        lost, whole = lost + found.lost, whole + found.whole
    if not layers:
        raise AskError(f"'{patient.part.title}' differs from its base in no layer.", code="nothing_to_extract")
    carry_over(patient, job.folder)
    causal = "CAUSAL_LM" if patient.own == "model" else None
    write_lora(job.folder / ADAPTER, layers, task_type=causal)
    if params.refit and patient.own == "encoder" and (job.folder / "head.safetensors").is_file():
        _refit(job, params.c)
    facts = promised(params.tolerance, rank=rank, layers=len(layers), kept=round(1.0 - lost / max(whole, 1e-30), 6))
    measured = {"bytes_before": patient.body.bytes, "bytes": bytes_of(job.folder / ADAPTER)}
    return Draft(patient.part.engine, facts, measured)


def _same_base(patient: Patient, base: Body) -> None:
    for name, spec in patient.body.specs.items():
        if name in base.specs and base.specs[name].shape != spec.shape:
            shapes = [" × ".join(map(str, one.shape)) for one in (spec, base.specs[name])]
            raise AskError(
                f"An adapter was to be extracted from '{patient.part.title}', and its base is another one: '{name}' is "
                f"{shapes[0]} and the base has {shapes[1]}. Name the base that it was tuned from.",
                code="weights_do_not_fit",
                param="candidates.base",
            )


def _changed(body: Body, base: Body) -> Iterator[str]:
    """Names of the layers' weights that tuning changed."""
    for name, spec in sorted(body.specs.items()):
        linear = len(spec.shape) == 2 and name.endswith(".weight") and not any(part in name for part in NOT_LAYERS)
        if linear and name in base.specs and not np.array_equal(body.read(name), base.read(name)):
            yield name


def _refit(job: Job, c: float) -> None:
    """The head of least loss on the embeddings of base and adapter."""
    from sartor.training.encoder import adapted_as, load, repeatable

    with repeatable(job.seed, job.threads):
        encoder = adapted_as(load(job.needs_base("extract_adapter")), job.folder / ADAPTER)
        embedded = encoder.embed(encoder.tokens(job.train_texts))
    targets = np.asarray(job.train_targets)
    head = fit_head(embedded, targets, len(job.labels), c, weights=job.train_weights)
    write_head(job.folder, head, centroids(embedded, targets, len(job.labels)))
