"""Turns a language model's variant into a GGUF file, for llama.cpp: one file, quantised, fast on a CPU.

What was tuned whole is written as it is; an adapter is merged into its base first, or written alone to be laid over
the base's own GGUF file. Trains nothing: the candidate names another one in `of`.
"""

from typing import Literal

from pydantic import field_validator

from sartor.core.errors import AskError
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.gguf_file import LEVELS, readable, write_adapter, write_model
from sartor.training.job import Draft, Job
from sartor.training.surgery import Patient, bytes_of, carry_over, patients, promised

KINDS = ("extract", "generate")

SIZES = {"small": "q4_0", "medium": "q8_0", "large": "f16"}
"""Level."""

MS_PER_ROW = {"small": 0.1, "medium": 0.1, "large": 0.1}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""

TOLERANCE = {"f32": 0.02, "f16": 0.02, "bf16": 0.05, "q8_0": 0.05}
"""Most answers that may differ from the parent's, as a share, unless the candidate says otherwise."""
ROUGH = 0.25
"""The same for levels below eight bits."""


class Params(Base):
    """Settings of the gguf recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Level: q4_0, q8_0, f16."""
    level: str = ""
    """Instead of the level of `size`: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0."""
    keep: Literal["model", "adapter"] = "model"
    """`adapter`: write only the adapter; `base` names a base that is a GGUF file, over which it is laid."""
    tolerance: float | None = None
    """Most answers that may differ from the parent's, as a share; default by level: 0.02 to 0.25."""

    @field_validator("level")
    @classmethod
    def _level_can_be_made(cls, level: str) -> str:
        if level and level not in LEVELS:
            tool = " (k-quants and i-quants need llama.cpp's own tool: import what it writes)"
            raise ValueError(f"levels that can be made here are {', '.join(LEVELS)}{tool if '_' in level else ''}")
        return level


@plugin
def gguf(job: Job, params: Params) -> Draft:
    """Write `model.gguf`, or `adapter.gguf`, and what else the parent brought.

    Raises:
        AskError: the candidate names no other one, or one that can't be written as GGUF.
    """
    (patient,) = patients(job, "gguf")
    level = params.level or SIZES[params.size]
    if patient.own != "model":
        raise AskError(
            f"Recipe 'gguf' writes language models, and '{patient.part.title}' is served by engine "
            f"'{patient.part.engine}'. Name a candidate of 'lora' or 'full'.",
            param="candidates.of",
            code="parts_do_not_fit",
        )
    model = readable(patient.home, patient.config, patient.part.title)
    carry_over(patient, job.folder)
    if params.keep == "adapter":
        level = "f32"
        _needs_gguf(job, patient)
        assert patient.body.lora is not None
        tensors = write_adapter(model, patient.body.lora, job.folder / "adapter.gguf")
    else:
        tensors = write_model(model, patient.body, job.folder / "model.gguf", level)
    tolerance = TOLERANCE.get(level, ROUGH) if params.tolerance is None else params.tolerance
    facts = promised(tolerance, level=level, keep=params.keep, tensors=tensors)
    return Draft(engine="gguf", facts=facts, measured={"bytes": bytes_of(job.folder)})


def _needs_gguf(job: Job, patient: Patient) -> None:
    if patient.adapter is None:
        raise AskError(
            f"Recipe 'gguf' was to write the adapter of '{patient.part.title}', which was tuned whole and has none. "
            "Leave 'keep' out.",
            param="candidates.params.keep",
            code="no_adapter",
        )
    if len(list(job.needs_base("gguf").glob("*.gguf"))) != 1:
        raise AskError(
            "Recipe 'gguf' with 'keep: adapter' lays the adapter over a base that is one GGUF file. Name such a base "
            "(for 'smollm2': 'smollm2-gguf'), or leave 'keep' out.",
            param="candidates.base",
            code="no_gguf_base",
        )
