"""Adapters on other people's servers: probes that tell them apart are found, asked and declared; loaded and let go.

A probe is a text to which the adapter's answer differs from that of every rival: of the server's base, and of every
other upstream declared at the same address. Knows no training and no files of adapters.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sartor.core.errors import AskError, UpstreamError
from sartor.core.predict import Usage
from sartor.core.records import UpstreamRecord
from sartor.core.route import Adapter, Probe, Upstream
from sartor.gateway.adapters import AdaptedPredictor, open_adapted
from sartor.pipeline.declared import UPSTREAM, names, standing
from sartor.pipeline.upstreams import declare_upstream, price_for, secret_of
from sartor.pipeline.workshop import Workshop

T = TypeVar("T")


@dataclass(frozen=True)
class Search:
    """How probes are looked for."""

    texts: Sequence[str]
    """To choose from, in this order."""
    answers: Sequence[str] = ()
    """What the adapter must answer to each, known from elsewhere; empty: what the server answers now is believed."""
    system: str = ""
    """Instructions that go with each."""
    base: str = ""
    """What the server calls its model without any adapter; '': it is no rival."""
    most: int = 3
    """Probes that are wanted."""
    max_tokens: int = 16


@dataclass(frozen=True)
class Told:
    """How a server is told which adapter is meant."""

    load: str = "none"
    path: str = ""
    request: dict[str, Any] | None = None


def find_probes(shop: Workshop, name: str, search: Search, told: Told, why: str = "probes found") -> dict[str, Any]:
    """Load the adapter, find what tells it from its rivals, and declare that with the upstream.

    Raises:
        NotFoundError: there is no such upstream.
        AskError: no text tells it apart, or it does not answer as it must.
        UpstreamError: the server did not answer.
    """
    spec = _declared(shop, name)
    request = told.request or {}
    trial = _adapter(spec, load=told.load, path=told.path, request=request)
    rivals = [other for other in (_declared(shop, n) for n in names(shop, UPSTREAM)) if _rival(other, spec)]
    if search.base:
        rivals.append(spec.model_copy(update={"model": search.base, "adapter": None}))
    probes = _run(lambda: _search(shop, trial, [_adapter(rival) for rival in rivals], search))
    if not probes:
        raise AskError(
            f"None of {len(search.texts)} texts tells '{name}' from {len(rivals)} others on its server: all answer "
            "alike, or not as they must. Give texts of its own task, or look whether the server really loads it.",
            code="no_probe",
            param="rows",
        )
    kept = Adapter.model_validate(
        {"probes": probes, "load": told.load, "path": told.path, "request": request}
        | ({"every": spec.adapter.every, "least": spec.adapter.least} if spec.adapter else {})
    )
    shown = declare_upstream(shop, spec.model_copy(update={"adapter": kept}), why)
    return {"upstream": name, "rivals": [rival.model or rival.name for rival in rivals], "adapter": shown["adapter"]}


def prove_adapter(shop: Workshop, name: str) -> dict[str, Any]:
    """Load the adapter if it is to be loaded, and ask its probes.

    Raises:
        AskError: the upstream has no adapter.
        UpstreamError: the server did not answer.
    """
    spec = _with_adapter(shop, name)
    assert spec.adapter is not None

    async def proved() -> dict[str, Any]:
        opened = _open(shop, spec)
        await opened.load()
        return (await opened.prove()).body(spec.adapter)  # type: ignore[arg-type]

    return {"upstream": name, **_run(proved)}


def unload_adapter(shop: Workshop, name: str) -> None:
    """Tell the server to let the adapter go.

    Raises:
        AskError: the upstream has no adapter, or none that is loaded by an API.
        UpstreamError: the server refused, or did not answer.
    """
    spec = _with_adapter(shop, name)
    if spec.adapter is None or spec.adapter.load == "none":
        raise AskError(f"The adapter of '{name}' is not loaded by an API: the server had it at its start.")
    _run(lambda: _open(shop, spec).unload())


async def _search(shop: Workshop, trial: Upstream, rivals: Sequence[Upstream], search: Search) -> list[Probe]:
    """Probes to which nobody else answers alike."""
    mine, *others = [_open(shop, one) for one in (trial, *rivals)]
    for one in (mine, *others):
        await one.load()
    found: list[Probe] = []
    for place, text in enumerate(search.texts):
        asked = Probe(text=text, system=search.system, answer="", max_tokens=search.max_tokens)
        said = await mine.say(asked)
        theirs = await asyncio.gather(*(_say(other, asked) for other in others))
        right = not search.answers or said == search.answers[place]
        # What a server says differently from one time to the next, as batches change its sums, proves nothing.
        if said and right and said not in theirs and said == await mine.say(asked):
            found.append(asked.model_copy(update={"answer": said}))
        if len(found) == search.most:
            break
    return found


async def _say(rival: AdaptedPredictor, probe: Probe) -> str | None:
    """What a rival answers; None where the server does not hold it now."""
    try:
        return await rival.say(probe)
    except UpstreamError as error:
        if error.http_status == 404:
            return None
        raise


def _declared(shop: Workshop, name: str) -> Upstream:
    record, _ = standing(shop, name, UPSTREAM)
    assert isinstance(record, UpstreamRecord)
    return Upstream.model_validate(record.spec)


def _with_adapter(shop: Workshop, name: str) -> Upstream:
    spec = _declared(shop, name)
    if spec.adapter is None:
        raise AskError(
            f"The upstream '{name}' has no adapter declared. Find probes for one: sartor upstream adapter {name} ROWS",
            code="no_adapter",
        )
    return spec


def _rival(other: Upstream, spec: Upstream) -> bool:
    return other.base_url == spec.base_url and other.name != spec.name


def _adapter(spec: Upstream, **told: Any) -> Upstream:
    """The upstream as one that is asked and not yet believed."""
    known = spec.adapter.model_dump() if spec.adapter else {}
    known |= {"probes": [{"text": "?", "answer": "?"}]} | told
    return spec.model_copy(update={"adapter": Adapter.model_validate(known)})


def _open(shop: Workshop, spec: Upstream) -> AdaptedPredictor:
    price: Callable[[Usage], float] = price_for(shop, spec) if spec.price else lambda _: 0.0
    return open_adapted(spec, secret=lambda: secret_of(shop, spec), price=price, clock=time.monotonic)


def _run(work: Callable[[], Awaitable[T]]) -> T:
    async def whole() -> T:
        return await work()

    return asyncio.run(whole())
