"""A made encoder as an ONNX graph with int8 weights: a quarter of the bytes, and a fraction of the time on a CPU.

Weights by output channel, word vectors by row, activations by their own range at run time (as Zafrir et al. 2019,
"Q8BERT", without training again). The head stays as it is; calibration is fitted anew by the engine that serves.
"""

import json
import shutil
from typing import Literal

from pydantic import Field

from sartor.core.positions import longest
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.job import Draft, Job
from sartor.training.onnx_graph import family_of, write_onnx
from sartor.training.surgery import bytes_of, carry_over, needs_encoder, patients, promised
from sartor.training.warm import anew

SURGERY = True
"""Its parts are operated on, and not asked."""
MS_PER_ROW = {"small": 0.1, "medium": 0.1, "large": 0.1}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the quantise recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Bears on nothing here."""
    precision: Literal["int8", "float32"] = "int8"
    """Of the weights; float32 only changes the engine."""
    tolerance: float = Field(default=0.02, ge=0, le=1)
    """Share of the validation rows on which it may answer otherwise than what it was made of."""


@plugin
def quantise(job: Job, params: Params) -> Draft:
    """Write `encoder.onnx`, its tokenizer and the parent's head.

    Raises:
        AskError: not one encoder is named under `of`, or its architecture can't be written.
    """
    anew(job, "quantise")
    (patient,) = patients(job, "quantise")
    needs_encoder("quantise", patient)
    family_of(patient.config)
    carry_over(patient, job.folder)
    write_onnx(patient.config, patient.body.read, job.folder / "encoder.onnx", params.precision)
    shutil.copyfile(patient.home / "tokenizer.json", job.folder / "tokenizer.json")
    facts = {
        "most_tokens": longest(patient.config),
        "pad": int(patient.config.get("pad_token_id") or 0),
        "precision": params.precision,
    }
    (job.folder / "onnx.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    measured = {"bytes_before": patient.body.bytes, "bytes": bytes_of(job.folder)}
    return Draft("onnx", promised(params.tolerance, precision=params.precision), measured)
