"""Values of a JSON object found word by word: an encoder tuned to tag each word with the field that it belongs to.

The fast rung of extraction: one pass of an encoder an answer, every value with the place where it stands, nothing that
the text does not say. It learns from where the values of right answers stand in their texts; objects in lists are told
apart by tags of their own. With `of: [one]` it learns from that tagger's chances too, on texts that nobody wrote as
well (distillation: Hinton, Vinyals and Dean 2015); with `parts: join` it becomes the mean of two taggers.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.core.tagging import Scheme
from sartor.training.encoder import Encoder, has_bfloat16, load, repeatable
from sartor.training.job import Draft, Job, Writing
from sartor.training.tagging import Tagged, Tagger, new_head, ready, save
from sartor.training.tagging_loop import Plan, train
from sartor.training.tagging_parts import Teacher, join, write
from sartor.training.tagging_rows import Lesson, learn, swapped
from sartor.training.warm import anew

log = logging.getLogger("sartor.training")

KINDS = ("extract",)
SIZES = {"small": (3, 5_000), "medium": (8, 20_000), "large": (12, 200_000)}
"""Epochs, and most rows of an epoch."""
MS_PER_ROW = {"small": 50.0, "medium": 130.0, "large": 200.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the tagger recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Epochs and most rows of an epoch: 3 of 5,000, 8 of 20,000, 12 of 200,000."""
    epochs: int | None = Field(default=None, ge=1)
    """Instead of the epochs of `size`."""
    context: str = ""
    """Regular expression of a text's beginning that tells what kind of text it is (`[^:]+: `): no value is looked for
    in it, and fields that training rows with the same beginning never have are not looked for at all."""
    rate: float = Field(default=3e-4, gt=0)
    """Greatest learning rate of the encoder's top layer; about 1e-4 for encoders of 100 million weights."""
    decay: float = Field(default=0.95, gt=0, le=1)
    """Rate of each layer by that of the one above it."""
    frozen: int = Field(default=0, ge=0)
    """Lowest layers that stay as they are: quicker, and less to learn by heart."""
    head_rate: float = Field(default=3e-3, gt=0)
    """Greatest learning rate of the head."""
    batch: int = Field(default=16, ge=1)
    """Rows of one step."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each target that is spread over the tags that may stand there."""
    max_tokens: int = Field(default=256, ge=8, le=8192)
    """Tokens of a text that are looked at; the encoder may allow fewer."""
    parts: Literal["teach", "join"] = "teach"
    """What the taggers named in `of` are for: to learn from, or to be averaged."""
    teacher_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the teacher's chances in the targets of rows whose answer is known."""
    made_up: float = Field(default=2.0, ge=0)
    """Texts for each training row that are put together from other rows' values, for the teacher to tag."""

    @field_validator("context")
    @classmethod
    def _can_be_read(cls, context: str) -> str:
        try:
            re.compile(context)
        except re.error as error:
            raise ValueError(f"'context' is no regular expression: {error}") from error
        return context


@plugin
def tagger(job: Job, params: Params) -> Draft:
    """Train the tagger; write `tagger.json`, `encoder/` and `head.safetensors`, or those of two under `members/`."""
    anew(job, "tagger")
    writing = _needed(job)
    if job.parts and params.parts == "join":
        return Draft(engine="tagger", facts=join(job.parts, job.folder))
    lesson = learn(job.train_texts, writing, params.context)
    teachers = [Teacher(part) for part in job.parts]
    base = job.needs_base("tagger")
    with repeatable(job.seed, job.threads):
        encoder = load(base)
        encoder.tokenizer.enable_truncation(_longest(encoder, params.max_tokens))
        rows, taught = _rows(encoder, job, params, lesson, teachers)
        scheme = lesson.book.scheme
        made = Tagger(encoder, new_head(encoder.model.config.hidden_size, lesson.book.gazetteer.size, scheme.size))
        epochs, most = SIZES[params.size]
        settings = params.model_dump(include={"rate", "head_rate", "batch", "decay", "frozen", "smoothing"})
        measured = train(
            made, rows, job, Plan(epochs=params.epochs or epochs, rows=most, **settings), _weights(job, len(rows))
        )
    save(made, job.folder)
    write(job.folder, lesson.book, _longest(encoder, params.max_tokens))
    facts = {"precision": "bfloat16" if has_bfloat16() else "float32", **lesson.facts, **taught}
    return Draft(engine="tagger", facts=facts, measured=measured)


def _weights(job: Job, rows: int) -> Floats | None:
    """Weights of the rows; those that a teacher tags weigh one."""
    if job.train_weights is None:
        return None
    return np.concatenate([job.train_weights, np.ones(rows - len(job.train_texts))])


def _needed(job: Job) -> Writing:
    if job.writing is None or job.writing.kind != "extract":
        raise AskError(
            "Recipe 'tagger' finds the values of a JSON object: it serves tasks of 'kind: extract' only.",
            param="candidates.recipe",
        )
    return job.writing


def _rows(
    encoder: Encoder, job: Job, params: Params, lesson: Lesson, teachers: Sequence[Teacher]
) -> tuple[list[Tagged], dict[str, Any]]:
    """Training rows with what they are to be tagged with, and what a teacher added."""
    book, scheme = lesson.book, lesson.book.scheme
    rows = []
    for text, spans in zip(job.train_texts, lesson.spans, strict=True):
        seen = book.see(text, spans)
        rows.append(ready(encoder, seen, torch.from_numpy(scheme.encode(spans, len(seen.spans)))))
    facts: dict[str, Any] = {}
    if cut := sum(row.cut for row in rows):
        facts["rows_cut"] = cut
        log.warning("%d of %d training rows are longer than the encoder reads: cut at the end", cut, len(rows))
    if not teachers:
        return rows, facts
    extra = list(job.unlabelled)
    extra += swapped(job.train_texts, lesson.spans, book.context, round(params.made_up * len(rows)), job.seed)
    said = _of_teachers(teachers, scheme, [*job.train_texts, *extra])
    share = params.teacher_weight
    for place, (row, soft) in enumerate(zip(rows, said, strict=False)):
        hard = torch.nn.functional.one_hot(row.tags, scheme.size)
        rows[place] = replace(row, tags=(1 - share) * hard + share * torch.from_numpy(soft))
    for text, soft in zip(extra, said[len(rows) :], strict=True):
        rows.append(ready(encoder, book.see(text), torch.from_numpy(soft)))
    return rows, {**facts, "taught_by": [part.title for part in job.parts], "texts_for_teacher": len(extra)}


def _of_teachers(teachers: Sequence[Teacher], scheme: Scheme, texts: Sequence[str]) -> list[Floats]:
    """(words, tags) of each text: the mean over teachers."""
    each = [teacher.chances(texts, scheme) for teacher in teachers]
    return [np.mean(one, axis=0) for one in zip(*each, strict=True)]


def _longest(encoder: Encoder, wanted: int) -> int:
    """Tokens that the encoder can look at; some count places from a number of their own, which takes two."""
    return min(wanted, int(getattr(encoder.model.config, "max_position_embeddings", wanted + 2)) - 2)
