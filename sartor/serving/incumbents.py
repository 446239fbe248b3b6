"""What answers today, as Predictors: a giant's recorded answers, a rule, a person. They stand beside the candidates."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from sartor.core.errors import AskError
from sartor.core.predict import Chunk, Hop, Prediction, Request, Usage, one_chunk
from sartor.core.value import Value


@dataclass(frozen=True)
class Recorded:
    """Answers that somebody recorded in a column of the rows, e.g. GPT-4's."""

    column: str
    labels: tuple[str, ...]
    model: str = ""
    """Name of what answered, as it is to appear in reports; default the column."""
    unit_cost: float = 0.0
    """Money that one of its answers costs."""
    read: Callable[[str], str | None] | None = None
    """Brings a written answer to its one form, None for one that is no answer; needed where there are no labels."""

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """The recorded answers; one that is empty or no label of the task is None: nobody here could answer."""
        return [self._answer(request.extra.get(self.column, "").strip()) for request in requests]

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in one chunk."""
        return one_chunk(self, request)

    def _answer(self, said: str) -> Prediction:
        name = self.model or self.column
        output = self.read(said) if self.read is not None else said if said in self.labels else None
        wrong = "is no label of the task" if self.labels else "is no answer"
        why = "" if output is not None else f"'{said[:80]}' {wrong}" if said else "no answer recorded"
        hop = Hop(name, output, Usage(), self.unit_cost, why=why)
        return Prediction(output=output, served_by=name, cost=self.unit_cost, hops=(hop,))


@dataclass(frozen=True)
class Rule:
    """The same answer always."""

    label: str

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """The label, once per request; it costs nothing."""
        return [Prediction(output=self.label, served_by="rule") for _ in requests]

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in one chunk."""
        return one_chunk(self, request)


class Person:
    """Somebody who is asked every time, at the declared price and with the declared errors."""

    def __init__(self, value: Value) -> None:
        """Read who is asked from the value function.

        Raises:
            AskError: it declares no escalation.
        """
        if value.escalate is None:
            raise AskError(
                "A person as incumbent needs the value function to say what asking costs: add 'escalate: {to, price}'.",
                param="value.escalate",
            )
        self._to = value.escalate.to

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """Every request is escalated: the price of asking is the escalation's, so the answer itself costs nothing."""
        asked = Prediction(output=None, served_by=self._to, decision="escalate")
        return [asked for _ in requests]

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in one chunk."""
        return one_chunk(self, request)
