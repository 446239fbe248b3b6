"""What answers in the tests of the gateway: a real linear variant, and a few predictors that misbehave on purpose."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sartor.core.calibration import Calibration
from sartor.core.predict import Chunk, Hop, Prediction, Request, Usage, one_chunk
from sartor.core.route import Route
from sartor.core.task import Task
from sartor.core.value import Value, choose, cost_matrix, target_costs
from sartor.gateway.routes import Served

VARIANT = "ab" * 32


@dataclass
class LinearPredictor:
    """A trained scikit-learn model as a Predictor: the gateway knows nothing else of serving."""

    model: Any
    """The `tiny_linear` fixture."""
    value: Value
    seen: list[Request] = field(default_factory=list)

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        from scipy.sparse import hstack

        self.seen.extend(requests)
        texts = [request.text for request in requests]
        labels = tuple(self.model.classifier.classes_)
        features = hstack([v.transform(texts) for v in self.model.vectorizers])
        shares = Calibration(temperature=0.5).probabilities(self.model.classifier.decision_function(features))
        matrix = cost_matrix(self.value, labels)
        choice = choose(shares, matrix, target_costs(self.value, matrix) if self.value.escalate else None)
        return [
            self._prediction(labels[i], float(p[i]), e) for p, i, e in zip(shares, *self._pairs(choice), strict=True)
        ]

    def _pairs(self, choice: Any) -> tuple[list[int], list[bool]]:
        return choice.answer.tolist(), choice.escalate.tolist()

    def _prediction(self, label: str, confidence: float, escalate: bool) -> Prediction:
        usage = Usage(cpu_seconds=0.001)
        return Prediction(
            output=label,
            served_by=VARIANT,
            decision="escalate" if escalate else "answer",
            confidence=round(confidence, 3),
            usage=usage,
            cost=1.25e-6,
            hops=(Hop(VARIANT, label, usage, 1.25e-6, confidence),),
        )

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        return one_chunk(self, request)


@dataclass(frozen=True)
class Failing:
    """Raises, hangs, or has no answer."""

    how: str

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        if self.how == "hang":
            await asyncio.sleep(60)
        if self.how == "raise":
            raise ZeroDivisionError("secret: /root/key")
        return [Prediction(output=None, served_by="x", decision="escalate") for _ in requests]

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        return one_chunk(self, request)


def make_task(name: str, **settings: Any) -> Task:
    return Task.model_validate({"name": name, "data": {"sources": [{"use": "csv"}]}} | settings)


def served(task: Task, predictor: Any, *names: str) -> list[Served]:
    route = Route(name=task.name, task=task.name, policy=task.name)
    return [Served(name, f"{task.name}@v7", VARIANT, task, predictor, route) for name in names or (task.name,)]
