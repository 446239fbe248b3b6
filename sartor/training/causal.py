"""What the recipes `lora` and `full` share: from a job with written answers to rows, a learner and files.

Models of a known build go through the lean loop's own forward pass; others, and any where it is asked for, through
transformers and peft, the reference. Knows no strategy and no engine.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from sartor.core.errors import AskError
from sartor.training.causal_lean import Lean, knows, load
from sartor.training.causal_learners import Kept, Learner
from sartor.training.causal_loop import Plan, train
from sartor.training.causal_rows import Reader, Rows, TooLong
from sartor.training.device import Device, device_for
from sartor.training.encoder import has_bfloat16, repeatable
from sartor.training.job import Draft, Job, Writing
from sartor.training.warm import anew

Loop = Literal["auto", "lean", "plain"]


@dataclass(frozen=True)
class How:
    """What both recipes are told."""

    recipe: str
    plan: Plan
    layers: int | None
    """Top layers that are trained; None: all."""
    keep_trunk: bool
    """Whether what the layers below made of the rows is kept in memory."""
    max_row: int | None
    too_long: TooLong
    rationale_weight: float
    loop: Loop
    four_bit: bool = False
    """Whether the frozen base is held in 4 bits; on a GPU only."""


Lean_ = Callable[[Lean, Kept], Learner]
Plain = Callable[[Path, int | None, Device], Learner]


def teach(job: Job, how: How, lean: Lean_, plain: Plain) -> Draft:
    """Train, and write the learner's files and `writing.json`.

    Args:
        lean: makes the learner on the model that is written out here.
        plain: makes it on transformers and peft; given the base's folder, how many top layers are trained, and where.

    Raises:
        AskError: the task's answers are labels, it was to go on from an earlier variant, no row fits, the device is
            not there, or the lean loop is asked for and does not know the base.
    """
    writing = _writing(job, how.recipe)
    anew(job, how.recipe)
    base = job.needs_base(how.recipe)
    device = device_for(job.device, four_bit=how.four_bit, cpu_bfloat16=has_bfloat16())
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    tokenizer = tokenizer_of(base)
    reader = Reader(tokenizer, writing.instructions, _limit(config, how), how.too_long, how.rationale_weight)
    weight = how.rationale_weight
    given = reader.read(job.train_texts, writing.train, writing.rationales if weight else ())
    validation = Reader(tokenizer, writing.instructions, reader.limit, "drop").read(
        job.validation_texts, writing.validation
    ) if len(job.validation_texts) else Rows([], [])  # fmt: skip
    with repeatable(job.seed, job.threads):
        learner = _learner(base, config, how, (lean, plain), (given, validation), device)
        made = train(learner, given, validation.rows, job, how.plan)
    learner.save(job.folder, made.which)
    write_writing(job.folder, writing)
    facts = {
        "precision": device.facts()["precision"],
        **({} if device.name == "cpu" else device.facts()),
        "loop": type(learner).__module__.rsplit("_", 1)[-1].replace("learners", "lean"),
        **({"too_long": given.facts} if given.facts else {}),
        **({"rationales": sum(len(row.branches) > 1 for row in given.rows)} if writing.rationales else {}),
        **({"rate": how.plan.rates[made.which]} if len(how.plan.rates) > 1 else {}),
        **made.facts,
    }
    return Draft(engine="lm", facts=facts, measured=made.measured)


def write_writing(folder: Path, writing: Writing) -> None:
    """What the engine must know of the task when it serves."""
    told = {
        "kind": writing.kind,
        "instructions": writing.instructions,
        "json_schema": dict(writing.json_schema),
        "max_tokens": writing.max_tokens,
        "stop": [],
    }
    (folder / "writing.json").write_text(json.dumps(told, indent=2, sort_keys=True), encoding="utf-8")


def tokenizer_of(base: Path) -> Any:
    """The base's own tokenizer, with its chat template."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base, local_files_only=True)


def dtype() -> torch.dtype:
    """What frozen weights and products are held in: bfloat16 where that is faster."""
    return torch.bfloat16 if has_bfloat16() else torch.float32


def _learner(
    base: Path, config: dict[str, Any], how: How, makers: tuple[Lean_, Plain], parts: tuple[Rows, Rows], device: Device
) -> Learner:
    lean, plain = makers
    can = knows(config) and device.name == "cpu"
    if how.loop == "plain" or (how.loop == "auto" and not can):
        return plain(base, how.layers, device)
    if not can:
        raise AskError(
            "The lean loop knows models built like Llama and trains on the CPU; this base is of type "
            f"'{config.get('model_type')}', and the device is {device.name}: leave 'loop' out, or set it to plain.",
            code="unknown_build",
            param="candidates.params.loop",
        )
    model = load(base, dtype())
    bottom = 0 if how.layers is None else max(model.shape.layers - how.layers, 0)
    kept = Kept(model, bottom)
    if how.keep_trunk:
        kept.fill([row for part in parts for row in part.rows])
    return lean(model, kept)


def _writing(job: Job, recipe: str) -> Writing:
    if job.writing is None:
        raise AskError(
            f"Recipe '{recipe}' teaches a language model to write answers, and this task's answers are labels: take "
            "head, adapter or tune, or make the task one of kind 'generate'.",
            code="wrong_kind",
            param="candidates.recipe",
        )
    return job.writing


def _limit(config: dict[str, Any], how: How) -> int:
    allowed = int(config.get("max_position_embeddings") or config.get("n_positions") or 0)
    if how.max_row and allowed and how.max_row > allowed:
        raise AskError(
            f"'max_row' is {how.max_row:,} tokens and the base reads {allowed:,} at most: set it to that or less.",
            code="bad_params",
            param="candidates.params.max_row",
        )
    return how.max_row or allowed
