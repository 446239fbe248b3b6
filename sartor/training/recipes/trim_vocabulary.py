"""A made encoder without the words that its task does not use: word vectors are half of a small encoder's bytes.

The idea as in Abdaoui et al. 2020, "Load what you need: smaller versions of multilingual BERT", with the task's own
texts in place of a language's. A text of words that stayed is read as before, to the bit; one with others in pieces.
"""

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.job import Draft, Job
from sartor.training.shards import Spec, Values
from sartor.training.surgery import WORDS, Patient, carry_over, needs_encoder, patients, promised, write_body
from sartor.training.vocabulary import Trimmed, trim
from sartor.training.warm import anew

KINDS = ("classify", "extract")
SIZES = {"small": 0, "medium": 3000, "large": 10_000}
"""Words from the head of the vocabulary that stay beside the task's own."""
SURGERY = True
"""Its parts are operated on, and not asked."""
MS_PER_ROW = {"small": 0.1, "medium": 0.1, "large": 0.1}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the trim_vocabulary recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Words from the head of the vocabulary that stay beside those of the task's texts: none, 3,000, 10,000."""
    first: int | None = Field(default=None, ge=0)
    """Instead of the words of `size`."""
    least: int = Field(default=1, ge=1)
    """Texts that must have a word for it to stay."""
    tolerance: float = Field(default=0.02, ge=0, le=1)
    """Share of the validation rows on which it may answer otherwise than what it was made of."""


@plugin
def trim_vocabulary(job: Job, params: Params) -> Draft:
    """Write `encoder/` with fewer word vectors and a tokenizer to match; all else is the parent's.

    Raises:
        AskError: not one encoder is named under `of`, or its tokenizer can't be trimmed.
    """
    anew(job, "trim_vocabulary")
    (patient,) = patients(job, "trim_vocabulary")
    needs_encoder("trim_vocabulary", patient, ("encoder", "tagger"))
    first = SIZES[params.size] if params.first is None else params.first
    trimmed = trim(patient.home, [*job.train_texts, *job.unlabelled], first=first, least=params.least)
    body = patient.body
    words = body.specs[WORDS]
    plan = {**body.specs, WORDS: Spec(words.dtype, (len(trimmed.kept), words.shape[1]))}

    def make(name: str) -> Values:
        values = body.read(name)
        return values[trimmed.kept] if name == WORDS else values

    carry_over(patient, job.folder)
    write_body(patient, job.folder, plan, make, config=trimmed.config(patient.config))
    trimmed.write(job.folder / patient.own)
    other = _read_otherwise(patient, trimmed, job.validation_texts)
    facts = promised(params.tolerance, words=len(trimmed.kept), words_before=words.shape[0], read_otherwise=other)
    return Draft(patient.part.engine, facts, {"bytes_before": body.bytes, "bytes": sum(s.bytes for s in plan.values())})


def _read_otherwise(patient: Patient, trimmed: Trimmed, texts: Sequence[str]) -> float:
    """Share of texts that are now read in other pieces."""
    from tokenizers import Tokenizer

    before = Tokenizer.from_file(str(patient.home / "tokenizer.json"))
    after = Tokenizer.from_str(json.dumps(trimmed.spec))
    for tokenizer in (before, after):
        tokenizer.no_padding()
    pairs = zip(before.encode_batch(list(texts)), after.encode_batch(list(texts)), strict=True)
    return round(sum(one.tokens != other.tokens for one, other in pairs) / max(len(texts), 1), 6)
