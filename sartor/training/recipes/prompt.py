"""Instructions and worked examples for a language model that stays as it is: a local base, or any upstream.

The incumbent that most have, made as well as it can be: how many examples, which, always the same or the nearest ones
(Liu et al. 2022, "What makes good in-context examples for GPT-3?"), and which of several instructions, is measured on
validation rows by the engine that serves, by successive halving. Trains nothing; holds no key.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from sartor.core.claims import fields_of
from sartor.core.errors import AskError
from sartor.core.halving import Round, halve, rungs
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.job import Draft, Job, Try, Writing
from sartor.training.warm import anew

KINDS = ("extract", "generate")
SIZES = {"small": ((0, 4), 1, 16), "medium": ((0, 4, 8), 2, 48), "large": ((0, 2, 4, 8, 16), 4, 200)}
"""Numbers of examples that are tried, draws of fixed ones, validation rows that the last ones are asked."""
MS_PER_ROW = {"small": 20.0, "medium": 100.0, "large": 500.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""
LONGEST = 8
"""Examples of more than so many times the median length are not shown: they cost as much as all others."""


class Params(Base):
    """Settings of the prompt recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """What is tried: 0 or 4 examples on 16 validation rows; 0, 4, 8 on 48; 0 to 16 on 200."""
    upstream: str = ""
    """Name of a declared upstream that is asked; empty: the candidate's base."""
    instructions: tuple[str, ...] = ()
    """Tried beside the task's own (`answer.instructions`)."""
    shots: tuple[Annotated[int, Field(ge=0, le=64)], ...] = ()
    """Numbers of examples to try, instead of the ones of `size`."""
    choose: Annotated[tuple[Literal["fixed", "nearest"], ...], Field(min_length=1)] = ("fixed", "nearest")
    """How examples are chosen: the same ones always, or those nearest to the question."""
    draws: int | None = Field(default=None, ge=1, le=32)
    """How many random sets of fixed examples are tried for each number, instead of the ones of `size`."""
    rows: int | None = Field(default=None, ge=1)
    """Validation rows that the last ones are asked, instead of the ones of `size`."""
    pool: int = Field(default=300, ge=1, le=5000)
    """Training rows to find the nearest in."""
    max_money: float | None = Field(default=None, gt=0)
    """Most money that looking for the prompt may cost an upstream's owner: then the best so far is taken."""
    structured: Literal["schema", "object", "none"] = "schema"
    """How an upstream is asked for the JSON Schema: `response_format`, any JSON object, or in words alone."""
    logprobs: bool = False
    """Ask an upstream for logprobs: values then get scores, and can be told sure from unsure."""
    request: dict[str, Any] = Field(default_factory=dict)
    """Further fields of an upstream's requests; null takes one away."""


@dataclass(frozen=True)
class _Arm:
    """One prompt that is tried."""

    instructions: str
    shots: int
    choose: str
    """`fixed` or `nearest`."""
    draw: int = 0

    def told(self) -> dict[str, Any]:
        return {"shots": self.shots, "choose": self.choose if self.shots else "none", "draw": self.draw}


@dataclass
class _Trials:
    """Asks prompts on more and more of the same validation rows, and keeps what they answered."""

    job: Job
    writing: Writing
    attempt: Try
    engine: str
    files: "_Files"
    rows: list[int]
    max_money: float | None
    spent: float = 0.0
    asked: int = 0
    tokens: int = 0
    answers: dict[_Arm, list[str]] = field(default_factory=dict)

    def losses(self, arms: Sequence[_Arm], amount: int) -> list[float | None]:
        """Mean loss of each prompt on the first so many rows; None where the money is spent."""
        return [self._loss(arm, amount) for arm in arms]

    def _loss(self, arm: _Arm, amount: int) -> float | None:
        known = self.answers.setdefault(arm, [])
        missing = self.rows[len(known) : amount]
        if missing and self.max_money is not None and self.spent >= self.max_money:
            return None
        if missing:
            self._ask(arm, missing)
        answers = [""] * len(self.writing.validation)
        for row, said in zip(self.rows, known, strict=False):
            answers[row] = said
        return float(self._lost(answers)[self.rows[:amount]].mean())

    def _lost(self, answers: Sequence[str]) -> Any:
        if self.writing.score is not None:
            return np.asarray(self.writing.score(answers))
        return np.array([said != right for said, right in zip(answers, self.writing.validation, strict=True)], float)

    def _ask(self, arm: _Arm, rows: Sequence[int]) -> None:
        folder = self.job.folder / "trial"
        folder.mkdir()
        try:
            self.files.write(folder, arm)
            found = self.attempt(self.engine, folder, [self.job.validation_texts[row] for row in rows])
        finally:
            shutil.rmtree(folder)
        self.answers[arm] += [one.output for one in found]
        self.spent += sum(one.cost for one in found)
        self.tokens += sum(one.tokens for one in found)
        self.asked += len(found)
        self.job.progress("looking for a prompt", self.asked, 0)


@dataclass(frozen=True)
class _Files:
    """What stands in the variant's folder for a prompt."""

    job: Job
    writing: Writing
    params: Params
    pool: list[int]
    """Training rows that may be shown, in an order drawn by the seed."""

    def write(self, folder: Path, arm: _Arm) -> None:
        told: dict[str, Any] = {
            "kind": self.writing.kind,
            "instructions": arm.instructions,
            "json_schema": dict(self.writing.json_schema),
            "max_tokens": self.writing.max_tokens,
            "stop": [],
            "examples": [[self.job.train_texts[row], self.writing.train[row]] for row in self.examples(arm)],
        }
        told |= {"nearest": arm.shots} if arm.choose == "nearest" and arm.shots else {}
        if self.params.upstream:
            told |= self.params.model_dump(mode="json", include={"upstream", "structured", "logprobs", "request"})
        text = json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False)
        (folder / "writing.json").write_text(text + "\n", encoding="utf-8")

    def examples(self, arm: _Arm) -> list[int]:
        """The rows that a prompt may show."""
        if not arm.shots or arm.choose == "nearest":
            return self.pool[: self.params.pool] if arm.shots else []
        draw = np.random.default_rng([self.job.seed, arm.draw])
        return [self.pool[place] for place in draw.permutation(len(self.pool))[: arm.shots]]


@plugin
def prompt(job: Job, params: Params) -> Draft:
    """Find the prompt; write `writing.json`.

    Raises:
        AskError: neither a base nor an upstream is named, or both; there are no validation rows; or nothing could be
            tried for the money.
    """
    anew(job, "prompt")
    writing = _checked(job, params)
    shots, draws, most = SIZES[params.size]
    draw = np.random.default_rng(job.seed)
    files = _Files(job, writing, params, _pool(job, draw))
    arms = _arms(params, writing, params.shots or shots, params.draws or draws, len(files.pool))
    rows = [int(row) for row in draw.permutation(len(job.validation_texts))[: params.rows or most]]
    if len(arms) == 1 and not rows:
        files.write(job.folder, arms[0])
        return Draft(_engine(params), facts=arms[0].told())
    if not rows or job.attempt is None:
        raise AskError("A prompt is chosen on validation rows and there are none.", param="data.split.validation")
    trials = _Trials(job, writing, job.attempt, _engine(params), files, rows, params.max_money)
    tried: list[dict[str, Any]] = []

    def told(found: Round[_Arm]) -> None:
        for arm, loss in found.losses:
            place = [one.instructions for one in arms].index(arm.instructions)
            tried.append({**arm.told(), "instructions": place, "rows": found.amount, "loss": round(loss, 6)})

    last = halve(arms, rungs(len(arms), min(len(rows), max(4, len(rows) // 4)), len(rows)), trials.losses, told)
    if not last.losses:
        raise AskError(
            "No prompt could be tried for the money. Raise 'max_money'.", param="candidates.params.max_money"
        )
    best, loss = last.losses[0]
    files.write(job.folder, best)
    facts = {**best.told(), "instructions": best.instructions, "validation_loss": round(loss, 6), "tried": tried}
    facts |= {"upstream": params.upstream} if params.upstream else {}
    measured = {"asked": trials.asked, "tokens": trials.tokens, "charged": trials.spent}
    return Draft(_engine(params), facts=facts, measured=measured)


def _engine(params: Params) -> str:
    return "upstream" if params.upstream else "lm"


def _checked(job: Job, params: Params) -> Writing:
    if job.writing is None:
        raise AskError(
            "Recipe 'prompt' makes answers that are written, and this task's are labels. Declare a giant that answers "
            "with labels as the incumbent, or as whoever is asked under 'value.escalate'.",
            param="candidates.recipe",
        )
    if bool(params.upstream) == (job.base is not None):
        raise AskError(
            "A prompt is for one model: name a language model as 'base', or a declared upstream under "
            "'params: {upstream: NAME}', and not both.",
            param="candidates.base",
            code="whose_prompt",
        )
    return job.writing


def _arms(params: Params, writing: Writing, shots: Sequence[int], draws: int, pool: int) -> list[_Arm]:
    """Every prompt that is tried; those with fewer examples first, so that equals cost less."""
    own = writing.instructions or instructions_for(writing)
    found = []
    for count in sorted({min(count, pool) for count in shots}):
        for words in dict.fromkeys((own, *params.instructions)):
            ways = [("fixed", draw) for draw in range(draws)] if "fixed" in params.choose else []
            ways += [("nearest", 0)] if "nearest" in params.choose else []
            found += [_Arm(words, count, choose, draw) for choose, draw in (ways if count else [("fixed", 0)])]
    return found


def instructions_for(writing: Writing) -> str:
    """What a model is told where the task tells it nothing."""
    if writing.kind != "extract":
        return "Answer with the result alone, in the form of the examples where there are any."
    fields = ", ".join(name for name, _ in fields_of(writing.json_schema))
    return (
        "Read the values of these fields out of the text, exactly as they stand there, and leave out fields without a "
        f"value. Answer with one JSON object and nothing else. Fields: {fields}."
    )


def _pool(job: Job, draw: np.random.Generator) -> list[int]:
    """Training rows that may be shown, in an order drawn by the seed; the very long ones are left out."""
    assert job.writing is not None
    lengths = np.array([len(t) + len(a) for t, a in zip(job.train_texts, job.writing.train, strict=True)], dtype=float)
    most = LONGEST * float(np.median(lengths)) if len(lengths) else 0.0
    return [int(row) for row in draw.permutation(len(lengths)) if lengths[row] <= most]
