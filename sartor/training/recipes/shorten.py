"""A made encoder that reads fewer tokens: texts are cut earlier, and the positions behind are taken out.

Pays where few texts are long, since a long one makes its whole batch wait and attention grows with the square. The
cut is chosen on the training texts: the shortest that leaves all but a stated share of them whole.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from sartor.core.errors import AskError
from sartor.core.positions import first_position, longest
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.job import Draft, Job
from sartor.training.shards import Spec, Values
from sartor.training.surgery import Patient, carry_over, needs_encoder, patients, promised, write_body
from sartor.training.warm import anew

SIZES = {"small": 0.05, "medium": 0.01, "large": 0.001}
"""Share of the training texts that may be cut."""
SURGERY = True
"""Its parts are operated on, and not asked."""
MS_PER_ROW = {"small": 0.1, "medium": 0.1, "large": 0.1}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""
PLACES = "embeddings.position_embeddings.weight"
STEP = 8
"""Lengths are multiples of it."""


class Params(Base):
    """Settings of the shorten recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Share of the training texts that may be cut: 5 %, 1 %, 0.1 %."""
    tokens: int | None = Field(default=None, ge=8)
    """Longest text, instead of what `size` chooses."""
    tolerance: float = Field(default=0.02, ge=0, le=1)
    """Share of the validation rows on which it may answer otherwise than what it was made of."""


@plugin
def shorten(job: Job, params: Params) -> Draft:
    """Write `encoder/` with fewer positions; all else is the parent's.

    Raises:
        AskError: not one encoder is named under `of`, or it is no longer than that already.
    """
    anew(job, "shorten")
    (patient,) = patients(job, "shorten")
    needs_encoder("shorten", patient)
    lengths = _lengths(patient, job)
    tokens = params.tokens or _shortest(lengths, SIZES[params.size])
    body = patient.body
    places = body.specs[PLACES]
    before = first_position(patient.config)
    if before + tokens >= places.shape[0]:
        raise AskError(
            f"'{patient.part.title}' was to be cut to {tokens} tokens and reads {places.shape[0] - before}: "
            "name fewer under 'params.tokens'.",
            param="candidates.params",
            code="nothing_to_cut",
        )
    plan = {**body.specs, PLACES: Spec(places.dtype, (before + tokens, places.shape[1]))}

    def make(name: str) -> Values:
        values = body.read(name)
        return values[: before + tokens] if name == PLACES else values

    carry_over(patient, job.folder)
    write_body(patient, job.folder, plan, make, config={"max_position_embeddings": before + tokens})
    facts = promised(params.tolerance, tokens=tokens, cut=round(float((lengths > tokens).mean()), 6))
    return Draft(patient.part.engine, facts, {"bytes_before": body.bytes, "bytes": sum(s.bytes for s in plan.values())})


def _lengths(patient: Patient, job: Job) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(patient.home / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest(patient.config))
    return np.array([len(found.ids) for found in tokenizer.encode_batch_fast(list(job.train_texts))], dtype=np.int64)


def _shortest(lengths: np.ndarray[tuple[int], np.dtype[np.int64]], share: float) -> int:
    return int(np.ceil(np.quantile(lengths, 1.0 - share) / STEP) * STEP)
