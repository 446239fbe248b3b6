"""What policies are tested with: a real linear variant, small models that do as told, a purse and a runner."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sartor.core.errors import UpstreamError, unknown
from sartor.core.licence import Licence
from sartor.core.predict import Chunk, Hop, Prediction, Predictor, Request, Usage, one_chunk
from sartor.core.records import Variant
from sartor.core.task import Task
from sartor.core.value import Escalation, Value, cost_matrix, target_costs
from sartor.gateway.policy import Tools, build
from sartor.serving.fleet import Fleet
from sartor.serving.predictor import Answering, VariantPredictor

LABELS = ("card", "money", "other")
TASK = Task.model_validate(
    {
        "name": "triage",
        "data": {"sources": [{"use": "csv"}]},
        "labels": LABELS,
        "value": {"escalate": {"to": "giant", "price": 0.2}},
    }
)
SURE, UNSURE = "my card has not arrived", "hello there"


def linear(tiny: Any, *, price: float | None = None) -> VariantPredictor:
    """The trained model of the fixture behind a real fleet; with a price it would rather ask than err."""
    variant = Variant(licence=Licence.of("owned"), name="v", task="triage", recipe="r", engine="linear", labels=LABELS)
    fleet = Fleet({variant.digest: variant}.__getitem__, {variant.digest: tiny.folder}.__getitem__)
    value = Value(escalate=Escalation(price=price)) if price is not None else Value()
    matrix = cost_matrix(value, LABELS)
    target = target_costs(value, matrix) if value.escalate else None
    return VariantPredictor(fleet, variant.digest, Answering(LABELS, matrix, target, unit_cost=0.01))


def completion(content: str | None, reason: str = "stop", **message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content} | message, "finish_reason": reason}
    return json.dumps({"id": "up-1", "object": "chat.completion", "choices": [choice]}).encode()


@dataclass
class Giant:
    """Somebody else's model: says what it is told to, as an upstream does, in its own bytes."""

    name: str
    says: str | Callable[[Request], str] = "card"
    cost: float = 0.5
    reason: str = "stop"
    fails: Exception | None = None
    cut: bool = False
    """Whether a stream breaks off after its first piece."""
    asked: list[str] = field(default_factory=list)
    closed: int = 0
    hold: asyncio.Event | None = None

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        return [await self._one(request) for request in requests]

    async def _one(self, request: Request) -> Prediction:
        self.asked.append(request.text)
        if self.hold is not None:
            await self.hold.wait()
        if self.fails is not None:
            raise self.fails
        text = self.says if isinstance(self.says, str) else self.says(request)
        usage = Usage(10, 2)
        hop = Hop(self.name, None, usage, self.cost, seconds=0.1, kind="upstream")
        reply = completion(text, self.reason)
        return Prediction(text, self.name, usage=usage, cost=self.cost, hops=(hop,), reply=reply)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        answer = await self._one(request)
        try:
            yield Chunk("", raw=b"data: begun\n\n")
            if self.cut:
                raise UpstreamError("cut", retryable=True, code="stream_cut")
            yield Chunk(answer.output or "", raw=b"data: text\n\n")
            yield Chunk("", final=answer, raw=b"data: [DONE]\n\n")
        finally:
            self.closed += 1


@dataclass
class Local:
    """A model whose answers stand in a table: text -> (label, confidence, decision)."""

    answers: Mapping[str, tuple[str | None, float, str]]
    cost: float = 0.001
    batches: list[int] = field(default_factory=list)

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        self.batches.append(len(requests))
        return [self._one(request.text) for request in requests]

    def _one(self, text: str) -> Prediction:
        label, confidence, decision = self.answers[text]
        usage = Usage(cpu_seconds=0.001)
        made: Any = {"decision": decision, "confidence": confidence, "usage": usage, "cost": self.cost}
        hops = (Hop("local", label, usage, self.cost, confidence),)
        return Prediction(label, "local", hops=hops, out_of_scope=float(len(text)), **made)

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        return one_chunk(self, request)


@dataclass
class Money:
    """A purse in memory."""

    held: dict[tuple[str, str], float] = field(default_factory=dict)

    async def take(self, holder: str, period: str, limit: float, money: float) -> bool:
        held = self.held.get((holder, period), 0.0)
        if held + money > limit + 1e-12:
            return False
        self.held[holder, period] = held + money
        return True

    def settle(self, holder: str, period: str, taken: float, spent: float) -> None:
        self.held[holder, period] += spent - taken


@dataclass
class House:
    """Tools over named models."""

    models: dict[str, Predictor]
    labels: tuple[str, ...] = LABELS
    task: Task | None = TASK
    room: int = 100
    now: float = 0.0
    embed: Any = None
    purse: Money = field(default_factory=Money)
    shadowed: list[tuple[str, Any]] = field(default_factory=list)
    running: list[asyncio.Task[None]] = field(default_factory=list)

    def tools(self) -> Tools:
        return Tools(
            route="triage",
            target=self._target,
            background=self._background,
            shadowed=lambda request, said: self.shadowed.append((request.id, said)),
            purse=self.purse,
            task=self.task,
            labels=self.labels,
            embed=self.embed,
            clock=lambda: self.now,
        )

    def build(self, use: str, **settings: Any) -> Any:
        return build({"use": use, **settings}, self.tools())

    def _target(self, name: Any) -> Predictor:
        if name not in self.models:
            raise unknown("target", name, self.models)
        return self.models[name]

    def _background(self, work: Coroutine[Any, Any, None]) -> bool:
        if len(self.running) >= self.room:
            return False
        self.running.append(asyncio.ensure_future(work))
        return True


def asked(text: str = SURE, ident: str = "1", **more: Any) -> Request:
    chat = more.pop("chat", {"model": "triage", "messages": [{"role": "user", "content": text}]})
    return Request(text, ident, {"text": text}, chat=chat, **more)


async def streamed(predictor: Predictor, request: Request) -> tuple[list[Chunk], Prediction]:
    chunks = [chunk async for chunk in predictor.stream(request)]
    finals = [chunk.final for chunk in chunks if chunk.final is not None]
    assert len(finals) == 1
    assert chunks[-1].final is finals[0]
    return chunks, finals[0]


def down(code: str = "connect_timeout") -> UpstreamError:
    return UpstreamError("The upstream is down.", retryable=True, code=code)
