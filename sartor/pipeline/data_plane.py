"""The data plane of one process over a store: names, keys, limits, capture and counters, put together and kept fresh.

Opens no sockets: `interfaces` listens and hands requests to `Station.app`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sartor.core.errors import SartorError, StoreError
from sartor.core.predict import Prediction, Request
from sartor.core.route import Capture, Route
from sartor.core.traffic import Exchange
from sartor.feedback.inbox import Inbox, Log
from sartor.gateway import booking
from sartor.gateway.answers import label_in
from sartor.gateway.app import DataPlane
from sartor.gateway.auth import Keyring
from sartor.gateway.background import Background
from sartor.gateway.bounds import Limits
from sartor.gateway.capture import Recorder, Unwritten
from sartor.gateway.counters import Counters
from sartor.gateway.door import LOOPBACK
from sartor.gateway.limits import LeasedPurse, Limiter
from sartor.pipeline.building import Aids
from sartor.pipeline.canary import trip
from sartor.pipeline.finetune_port import Bureau
from sartor.pipeline.routing import RoutingTable
from sartor.pipeline.serve import Asker, Handles
from sartor.pipeline.traffic import redact
from sartor.pipeline.workshop import Workshop
from sartor.store.allowances import Allowances
from sartor.store.keys import Keys

TRIP_SECONDS = 1.0

"""Name of a task -> its labels."""


@dataclass
class Station:
    """A data plane with all that it rests on. `start` and `close` belong to the loop that serves."""

    shop: Workshop
    app: DataPlane
    routes: RoutingTable
    keyring: Keyring
    limiter: Limiter
    recorder: Recorder | Unwritten
    counters: Counters
    beside: Background
    _tasks: list["asyncio.Task[Any]"] = field(default_factory=list)

    async def start(self) -> None:
        """Read keys and names, load what is live, and go on looking for changes.

        Raises:
            StoreError: the store can't be read.
        """
        await asyncio.to_thread(self.keyring.refresh)
        await asyncio.to_thread(self.routes.start)
        beside = (self.keyring.watch(), self.limiter.tend(), self._stop_tripped())
        self._tasks = [asyncio.create_task(work) for work in beside]

    async def close(self, seconds: float = 10.0) -> None:
        """Let work beside the answers end, give back what was leased, and write what is still in memory."""
        await self.beside.drain(seconds)
        self.routes.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(SartorError):  # what was leased and can't be given back counts as used
            await self.limiter.give_back()
        await self.recorder.close()

    async def _stop_tripped(self) -> None:
        """Put on record what the guards of a canary in this process have stopped, so that it stops everywhere."""
        while True:
            await asyncio.sleep(TRIP_SECONDS)
            for name, policy in list(self.routes.predictors()):
                if why := getattr(policy, "tripped", ""):
                    with contextlib.suppress(SartorError):  # it answers nobody here, and is tried again
                        await asyncio.to_thread(trip, self.shop, name, why)


def open_station(
    shop: Workshop,
    *,
    writer: str = "w0",
    workers: int = 1,
    models: Asker | None = None,
    loopback: bool = True,
    hosts: Collection[str] = LOOPBACK,
    limits: Limits = Limits(),
) -> Station:
    """A data plane over a store; nothing is loaded before it is started.

    Args:
        writer: names this process's segments of the traffic log.
        workers: how many processes share the limits.
        models: where variants answer; default in this process.
        loopback: whether only this machine can reach the server, so that it may do without keys.
        hosts: names under which it may be called.

    """
    ledger = shop.store.ledger
    keyring = Keyring(Keys(ledger.database).everything, ledger.revision, loopback=loopback)
    limiter = Limiter(Allowances(ledger.database), keyring.limits_of, workers=workers)
    recorder, inbox = _books(shop, writer)
    counters, beside = Counters(), Background()
    booked = ShadowBooks(recorder, counters)
    aids = Aids(background=beside, shadowed=booked.shadowed, purse=LeasedPurse(limiter), clock=time.monotonic)
    routes = RoutingTable(shop, Handles(shop, models), aids)
    bureau = Bureau(shop, lambda caller, name: any(served.name == name for served in routes.names(caller)))
    app = DataPlane(
        routes,
        keyring=keyring,
        limiter=limiter,
        recorder=recorder,
        counters=counters,
        inbox=inbox(routes),
        tuner=bureau,
        limits=limits,
        hosts=hosts,
    )
    return Station(shop, app, routes, keyring, limiter, recorder, counters, beside)


def _books(shop: Workshop, writer: str) -> tuple[Recorder | Unwritten, Callable[[RoutingTable], Inbox]]:
    """Where exchanges and feedback go; nowhere, and counted, where the store can't be written."""
    traffic = shop.store.traffic
    try:
        log = traffic.log(writer)
        recorder: Recorder | Unwritten = Recorder(log, redact=redact, mark=traffic.mark)
    except StoreError as error:
        logging.getLogger("sartor.capture").warning("nothing is captured: %s", error.message)
        recorder = nothing = Unwritten(error)
        return recorder, lambda routes: _inbox(shop, nothing, routes)
    return recorder, lambda routes: _inbox(shop, log, routes)


def _inbox(shop: Workshop, log: Log, routes: RoutingTable) -> Inbox:
    traffic = shop.store.traffic
    return Inbox(
        log, traffic.index, mark=traffic.mark, redact=redact, labels_of=routes.labels_of, reads_of=routes.reads_of
    )


@dataclass(frozen=True)
class ShadowBooks:
    """Books what shadows said, as exchanges of their own."""

    recorder: Recorder | Unwritten
    counters: Counters

    def shadowed(self, route: Route, known: Sequence[str], request: Request, said: Prediction | Exception) -> None:
        """One shadow's answer, or how it failed."""
        exchange = Exchange(
            id=f"shadow-{request.id}",
            at=time.time(),
            tenant=request.tenant,
            key="",
            route=route.name,
            model=route.name,
            task=route.task,
            endpoint="shadow",
            shadow_of=request.id,
        )
        if isinstance(said, Exception):
            exchange.decision, exchange.status = "failed", getattr(said, "http_status", 500)
            exchange.error = getattr(said, "code", type(said).__name__)
        else:
            _tell(exchange, said, known)
        self.counters.exchange(exchange)
        self.recorder.record(exchange, None, Capture(level="off"))


def _tell(exchange: Exchange, said: Prediction, known: Sequence[str]) -> None:
    """Write an answer into its exchange."""
    exchange.hops = booking.rows(booking.hops_of(said), known)
    exchange.cost = sum(hop.cost for hop in exchange.hops)
    exchange.version = exchange.variant = said.served_by
    exchange.decision, exchange.confidence = said.decision, said.confidence
    output = said.output
    exchange.label = output if output is not None and output in known else label_in(output, known)
    exchange.input_tokens, exchange.output_tokens = said.usage.input_tokens, said.usage.output_tokens
    exchange.seconds = exchange.first_seconds = sum(hop.seconds for hop in exchange.hops)
