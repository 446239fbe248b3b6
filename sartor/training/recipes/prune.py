"""A made variant with fewer layers, or an encoder with fewer attention heads, and if wanted trained on for a little.

Which ones go is measured (`training.pruning`). Cut layers are gone; cut heads are zero in the files, and left out for
good by recipe `quantise`, whose graphs may have layers of different width. Healing is the loop of `tune`.
"""

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import Field

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.folds import sample
from sartor.training.job import Draft, Job
from sartor.training.onnx_graph import PRUNED
from sartor.training.shards import Spec, Values
from sartor.training.surgery import Patient, carry_over, needs_encoder, patients, promised, write_body
from sartor.training.warm import anew, read_head

KINDS = ("classify", "extract", "generate")
SIZES = {"small": 0.5, "medium": 0.67, "large": 0.84}
"""Share of the layers that stay."""
SURGERY = True
"""Its parts are operated on, and not asked."""
MS_PER_ROW = {"small": 3.0, "medium": 3.0, "large": 3.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""
LOOKED_AT = 300
"""Most rows on which is measured what can go."""
LAYER = re.compile(r"^(?P<before>.*\blayers?\.)(?P<number>\d+)\.(?P<after>.*)$")


class Params(Base):
    """Settings of the prune recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Share of the layers that stay: a half, two thirds, five sixths."""
    layers: int | None = Field(default=None, ge=1)
    """Layers that stay, instead of the share of `size`; all of them where only heads are to go."""
    heads: float = Field(default=0.0, ge=0, lt=1)
    """Share of the attention heads that go, of an encoder."""
    choose: Literal["measured", "influence"] = "measured"
    """How layers are chosen: by the loss on validation rows (classifiers), or by how much they turn what passes."""
    epochs: int = Field(default=0, ge=0)
    """Of healing: tuning on after the cut, of a classifier."""
    rate: float = Field(default=1e-4, gt=0)
    """Greatest learning rate of healing."""
    tolerance: float = Field(default=0.1, ge=0, le=1)
    """Share of the validation rows on which it may answer otherwise than what it was made of."""


@plugin
def prune(job: Job, params: Params) -> Draft:
    """Write the cut weights, healed if `epochs` says so; all else is the parent's.

    Raises:
        AskError: not one variant is named under `of`, or it has no more layers than shall stay.
    """
    anew(job, "prune")
    (patient,) = patients(job, "prune")
    classifier = patient.own == "encoder" and patient.part.engine == "encoder"
    if params.heads or params.epochs:
        needs_encoder("prune", patient)
    count = int(patient.config["num_hidden_layers"])
    keep = params.layers or max(round(SIZES[params.size] * count), 1)
    if keep > count or (keep == count and not params.heads):
        raise AskError(
            f"'{patient.part.title}' was to be cut to {keep} layers and has {count}: name fewer under 'params.layers'.",
            param="candidates.params",
            code="nothing_to_cut",
        )
    kept = list(range(count)) if keep == count else _kept(job, patient, keep, params, classifier=classifier)
    carry_over(patient, job.folder)
    _cut(patient, job, kept)
    facts: dict[str, Any] = {"layers": kept, "layers_before": count}
    if params.heads or params.epochs:
        facts |= _on_the_cut(job, params)
    sizes = {"bytes_before": patient.body.bytes}
    return Draft(patient.part.engine, promised(params.tolerance, **facts), sizes)


def _kept(job: Job, patient: Patient, keep: int, params: Params, *, classifier: bool) -> list[int]:
    from sartor.training.encoder import repeatable
    from sartor.training.pruning import influence, least_missed, passes_of

    with repeatable(job.seed, job.threads):
        if patient.own == "model":
            return _greatest(_turned_in_model(job, patient), keep)
        encoder = _loaded(patient)
        if params.choose == "influence" or not classifier:
            return _greatest(influence(encoder.model, passes_of(encoder, job.train_texts[:LOOKED_AT])), keep)
        known = np.flatnonzero(np.asarray(job.validation_targets) >= 0)
        targets = np.asarray(job.validation_targets)[known]
        rows = sample(targets, LOOKED_AT, job.seed)
        tokens = encoder.tokens([job.validation_texts[known[row]] for row in rows])
        return least_missed(encoder, read_head(patient.folder), tokens, targets[rows], keep)


def _greatest(scores: Floats, keep: int) -> list[int]:
    return sorted(np.argsort(scores, kind="stable")[-keep:].tolist())


def _loaded(patient: Patient) -> Any:
    from sartor.training.encoder import adapted_as, load

    encoder = load(patient.home)
    if patient.adapter is None:
        return encoder
    with_adapter = adapted_as(encoder, patient.adapter)
    return type(encoder)(with_adapter.model.merge_and_unload(), encoder.tokenizer, encoder.pad, encoder.home)


def _turned_in_model(job: Job, patient: Patient) -> Floats:
    """Influence of a language model's layers; its adapter is small beside it and is left aside."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sartor.training.pruning import influence

    model: Any = AutoModelForCausalLM.from_pretrained(patient.home, local_files_only=True)
    model.eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(patient.home, local_files_only=True)
    ids = [tokenizer(text, truncation=True, max_length=256)["input_ids"] for text in job.train_texts[:LOOKED_AT]]
    return influence(model, [partial(model, torch.tensor([one])) for one in ids if one])


def _cut(patient: Patient, job: Job, kept: list[int]) -> None:
    """Write the layers that stay, under their new numbers."""
    body = patient.body
    new = {old: place for place, old in enumerate(kept)}
    source: dict[str, str] = {}
    for name in body.specs:
        found = LAYER.match(name)
        if found is None:
            source[name] = name
        elif int(found["number"]) in new:
            source[f"{found['before']}{new[int(found['number'])]}.{found['after']}"] = name
    plan: dict[str, Spec] = {name: body.specs[old] for name, old in source.items()}

    def make(name: str) -> Values:
        return body.read(source[name])

    config: dict[str, Any] = {"num_hidden_layers": len(kept)}
    if isinstance(types := patient.config.get("layer_types"), list):
        config["layer_types"] = [types[old] for old in kept]
    write_body(patient, job.folder, plan, make, config=config)


def _on_the_cut(job: Job, params: Params) -> dict[str, Any]:
    """Heads silenced, and training on, of the encoder that was cut."""
    from sartor.training.encoder import load, repeatable
    from sartor.training.heads import write_head
    from sartor.training.loop import Plan, train
    from sartor.training.pruning import silenced, silent, slopes

    home, facts = job.folder / "encoder", {}
    with repeatable(job.seed, job.threads):
        encoder = load(home)
        cut: dict[int, list[int]] = {}
        if params.heads:
            targets = np.asarray(job.train_targets)
            rows = sample(targets, LOOKED_AT, job.seed)
            tokens = encoder.tokens([job.train_texts[row] for row in rows])
            cut = silenced(slopes(encoder, read_head(job.folder), tokens, targets[rows]), params.heads)
            facts["heads_cut"] = {str(layer): heads for layer, heads in cut.items()}
        encoder.model.get_input_embeddings().requires_grad_(False)  # noqa: FBT003 - torch's signature
        with silent(encoder.model, cut) if cut else nullcontext():
            if params.epochs:
                plan = Plan(epochs=params.epochs, rows=20_000, rate=params.rate, head_rate=params.rate)
                healed = train(encoder, replace(job, start=job.folder, start_labels=job.labels, embed=None), plan)
                write_head(job.folder, healed.head, healed.centroids)
                facts["healed"] = healed.facts
    encoder.save(job.folder / "after")
    for file in (job.folder / "after").iterdir():
        file.replace(home / file.name)
    (job.folder / "after").rmdir()
    if cut:
        config = json.loads((home / "config.json").read_text(encoding="utf-8")) | {PRUNED: facts["heads_cut"]}
        (home / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return facts
