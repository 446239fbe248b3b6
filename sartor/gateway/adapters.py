"""An upstream that is one adapter among several on a server: loaded by the server's API, believed only when proved.

Servers that hold many adapters have answered from the base, or from another adapter, without a word: a name that was
not loaded, a cache that mixed them, an adapter replaced under the same name. So questions whose answers tell the
adapters apart are asked before anybody is answered, and again at intervals. A proof holds for the moment at which it
was made: it does not sign answers. Knows no routes and no store.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sartor.core.errors import AskError, UpstreamError
from sartor.core.predict import Chunk, Prediction, Request, Usage
from sartor.core.route import Adapter, Probe, Upstream
from sartor.gateway.protocol import PROTOCOLS, Asked, Dialect, Endpoint, Events, Fault, Told
from sartor.gateway.upstream import UpstreamPredictor

REST = 5.0
"""Seconds for which an adapter that failed its proof is refused without asking again."""
THERE_ALREADY = "already been loaded"
"""In vLLM's words for an adapter of this name that it has."""


@dataclass(frozen=True)
class Proof:
    """How the probes were answered."""

    said: tuple[str, ...]
    """In the order of the probes."""
    right: int

    def body(self, adapter: Adapter) -> dict[str, Any]:
        """As JSON."""
        pairs = zip(adapter.probes, self.said, strict=True)
        asked = [
            {"text": probe.text, "wanted": probe.answer, "said": said, "right": said == probe.answer}
            for probe, said in pairs
        ]
        return {"proved": self.holds(adapter), "right": self.right, "of": len(self.said), "probes": asked}

    def holds(self, adapter: Adapter) -> bool:
        """Whether enough of them were answered as they should be."""
        return self.right >= adapter.least * len(adapter.probes)


def open_adapted(
    spec: Upstream,
    *,
    secret: Callable[[], str],
    price: Callable[[Usage], float],
    clock: Callable[[], float] = time.monotonic,
) -> "AdaptedPredictor":
    """The upstream with an adapter, ready to be asked; nothing is connected yet. Arguments as `open_upstream`.

    Raises:
        AskError: the address is not one that may be asked, or the protocol is not OpenAI's.
    """
    assert spec.adapter is not None
    if spec.protocol != "openai":
        raise AskError(
            f"The upstream '{spec.name}' has an adapter, and servers of adapters speak the protocol 'openai', not "
            f"'{spec.protocol}'.",
            param="protocol",
        )
    plugin = PROTOCOLS.take(spec.protocol)
    dialect: Dialect = plugin(plugin.read({}))
    tools: dict[str, Any] = {"secret": secret, "price": price, "clock": clock, "pool": None}
    asked = UpstreamPredictor(spec, _Adapted(dialect, spec.adapter.request), **tools)
    return AdaptedPredictor(asked, UpstreamPredictor(spec, _Order(dialect), **tools), spec.adapter, clock)


class AdaptedPredictor:
    """One adapter on one server. Belongs to one event loop."""

    def __init__(
        self, upstream: UpstreamPredictor, orders: UpstreamPredictor, adapter: Adapter, clock: Callable[[], float]
    ) -> None:
        """See `open_adapted`."""
        self.upstream, self._orders, self._adapter, self._clock = upstream, orders, adapter, clock
        self.asks = (upstream,)
        self._name = upstream.spec.model or upstream.spec.name
        self._good_until = self._bad_until = float("-inf")
        self._why: UpstreamError | None = None
        self._proving = asyncio.Lock()

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """The answers, once the adapter is proved.

        Raises:
            UpstreamError: the server answers as another model (`wrong_adapter`), or what an upstream raises.
        """
        await self._proved()
        try:
            return await self.upstream.predict(requests)
        except UpstreamError as error:
            self._doubt(error)
            raise

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer as it comes; raises what `predict` does."""
        await self._proved()
        try:
            async for chunk in self.upstream.stream(request):
                yield chunk
        except UpstreamError as error:
            self._doubt(error)
            raise

    async def load(self) -> None:
        """Tell the server to load the adapter; one that it has already is no error.

        Raises:
            UpstreamError: it refused, or did not answer.
        """
        if self._adapter.load == "none":
            return
        order = {"lora_name": self._name, "lora_path": self._adapter.path}
        try:
            await self._order("/load_lora_adapter", order)
        except UpstreamError as error:
            if THERE_ALREADY not in error.message:
                raise

    async def unload(self) -> None:
        """Tell the server to let the adapter go; what it says about one that it does not have is raised."""
        self._good_until = float("-inf")
        if self._adapter.load != "none":
            await self._order("/unload_lora_adapter", {"lora_name": self._name})

    async def prove(self) -> Proof:
        """Ask the probes.

        Raises:
            UpstreamError: the server did not answer one.
        """
        said = [await self.say(probe) for probe in self._adapter.probes]
        right = sum(a == probe.answer for a, probe in zip(said, self._adapter.probes, strict=True))
        return Proof(tuple(said), right)

    async def _proved(self) -> None:
        if self._clock() < self._good_until:
            return
        async with self._proving:
            now = self._clock()
            if now < self._good_until:
                return
            if self._why is not None and now < self._bad_until:
                raise self._why
            await self.load()
            proof = await self.prove()
            if proof.holds(self._adapter):
                self._why, self._good_until = None, self._clock() + self._adapter.every
                return
            self._why, self._bad_until = self._wrong(proof), self._clock() + REST
            raise self._why

    def _wrong(self, proof: Proof) -> UpstreamError:
        missed = next((p, s) for p, s in zip(self._adapter.probes, proof.said, strict=True) if s != p.answer)
        return UpstreamError(
            f"The upstream '{self.upstream.spec.name}' does not answer as the adapter '{self._name}' does: "
            f"{proof.right} of {len(proof.said)} probes were right; to {missed[0].text[:60]!r} it said "
            f"{missed[1][:60]!r} instead of {missed[0].answer[:60]!r}. Load the right adapter there, or find the "
            "probes anew: sartor upstream adapter.",
            retryable=False,
            code="wrong_adapter",
        )

    def _doubt(self, error: UpstreamError) -> None:
        """A server that no longer knows the name has been started anew, or has let the adapter go."""
        if error.http_status == 404:
            self._good_until = float("-inf")

    async def say(self, probe: Probe) -> str:
        """What the server answers to a probe now, proved or not."""
        (answer,) = await self.upstream.predict([request_of(probe)])
        return answer.output or ""

    async def _order(self, path: str, order: Mapping[str, Any]) -> None:
        await self._orders.predict([Request("", chat={"path": path, "order": dict(order)})])


def request_of(probe: Probe) -> Request:
    """What a probe asks."""
    said = [{"role": "system", "content": probe.system}] if probe.system else []
    messages = [*said, {"role": "user", "content": probe.text}]
    return Request(probe.text, chat={"messages": messages, "temperature": 0, "max_tokens": probe.max_tokens})


class _Adapted:
    """A dialect whose requests carry the fields that name the adapter."""

    def __init__(self, inner: Dialect, fields: Mapping[str, Any]) -> None:
        self._inner, self._fields, self.plain = inner, dict(fields), inner.plain

    def ask(self, endpoint: Endpoint, chat: Mapping[str, Any], model: str, *, stream: bool) -> Asked:
        return self._inner.ask(endpoint, {**chat, **self._fields}, model, stream=stream)

    def key_header(self, key: str) -> tuple[str, str]:
        return self._inner.key_header(key)

    def fixed_headers(self) -> Mapping[str, str]:
        return self._inner.fixed_headers()

    def read(self, endpoint: Endpoint, body: bytes) -> Told:
        return self._inner.read(endpoint, body)

    def events(self) -> Events:
        return self._inner.events()

    def fault(self, body: bytes) -> Fault:
        return self._inner.fault(body)


class _Order(_Adapted):
    """A dialect for what a server is told to do, which it answers in plain words."""

    def __init__(self, inner: Dialect) -> None:
        super().__init__(inner, {})

    def ask(self, endpoint: Endpoint, chat: Mapping[str, Any], model: str, *, stream: bool) -> Asked:  # noqa: ARG002
        return Asked(str(chat["path"]), json.dumps(chat["order"]).encode())

    def read(self, endpoint: Endpoint, body: bytes) -> Told:  # noqa: ARG002
        return Told(body.decode("utf-8", errors="replace")[:2000], Usage(), b"")

    def fault(self, body: bytes) -> Fault:
        said = json.loads(body)  # vLLM up to 0.9 tells its errors without the object around them
        return Fault(str(said["message"])) if "message" in said else self._inner.fault(body)
