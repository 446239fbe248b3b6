"""Judge by what another variant, or any model with labels, answers to the same text: the same is right, else wrong."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from sartor.core.errors import SartorError
from sartor.core.predict import Prediction, Request
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.feedback.judging import Bench, Case, Opinion


class Params(Settings):
    """Who is asked."""

    of: str
    """Handle of a variant (`triage@v3`), or of another task with the same labels."""
    sure: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Confidence below which it gives no verdict."""


@plugin
class Variant:
    """A judge who answers for himself."""

    def __init__(self, params: Params, bench: Bench) -> None:
        self._model, self._sure, self._same = bench.model(params.of), params.sure, bench.same

    async def judge(self, cases: Sequence[Case]) -> list[Opinion]:
        """One opinion a case; none where the variant is not sure."""
        requests = [Request(case.text, case.id, case.inputs, case.extra) for case in cases]
        try:
            answers = await self._model.predict(requests)
        except SartorError as error:
            return [Opinion(None, why=error.code or "failed") for _ in cases]
        return [self._one(case, answer) for case, answer in zip(cases, answers, strict=True)]

    def _one(self, case: Case, answer: Prediction) -> Opinion:
        if answer.output is None or (case.labels and answer.output not in case.labels):
            return Opinion(None, why="no label of the task", cost=answer.cost)
        if (answer.confidence or 0.0) < self._sure:
            return Opinion(None, why="not sure", cost=answer.cost)
        return Opinion(self._same(answer.output, case.answer), answer.output, "another variant", answer.cost)
