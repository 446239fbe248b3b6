"""What a running server does beside answering: keeps the index up, judges canaries, turns the wheel, lets content go.

One thread per store, in the process that also serves the control plane. Whatever fails is logged and tried again, and
stops nothing else. Who asks the index brings it up to date first, so that here it is only kept from falling behind.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sartor.core.errors import SartorError
from sartor.pipeline.canary import act
from sartor.pipeline.declared import ROUTE, names
from sartor.pipeline.drift import watch_live
from sartor.pipeline.notify import deliver
from sartor.pipeline.recall_proof import all_routes_back
from sartor.pipeline.routes import route_named
from sartor.pipeline.wheel import turn
from sartor.pipeline.workshop import Workshop

log = logging.getLogger("sartor.keeper")


@dataclass(frozen=True)
class Chore:
    """Something to do again and again."""

    name: str
    seconds: float
    """Between two times."""
    work: Callable[[], object]


class Keeper:
    """Does the chores of a store until it is stopped."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self._failing: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._chores = (
            Chore("index", 5.0, shop.store.traffic.index.catch_up),
            Chore("canaries", 2.0, self._canaries),
            Chore("drift", 60.0, partial(watch_live, shop, {})),
            Chore("wheel", 30.0, partial(turn, shop)),
            Chore("recalls", 15.0, partial(all_routes_back, shop)),
            Chore("news", 5.0, partial(deliver, shop)),
            Chore("old content", 3600.0, shop.store.traffic.compact),
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is being done now, with the index up to date."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=60)
            self._do(self._chores[0].name, self._chores[0].work)

    def _run(self) -> None:
        due = dict.fromkeys(self._chores, 0.0)
        while not self._stop.is_set():
            for chore in self._chores:
                if time.monotonic() >= due[chore] and not self._stop.is_set():
                    self._do(chore.name, chore.work)
                    due[chore] = time.monotonic() + chore.seconds
            self._stop.wait(max(0.05, min(due.values()) - time.monotonic()))

    def _do(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except SartorError as error:
            if self._is_new(name, error.message):
                log.warning("%s: %s", name, error.message)
        except Exception as error:
            if self._is_new(name, str(error)):
                log.exception("%s failed", name)
        else:
            self._failing.pop(name, None)

    def _is_new(self, name: str, why: str) -> bool:
        """Whether this is not what it failed of before already: each failure is told once."""
        before, self._failing[name] = self._failing.get(name), why
        return before != why

    def _canaries(self) -> None:
        for name in names(self._shop, ROUTE):
            self._do(f"canary of '{name}'", partial(self._canary, name))

    def _canary(self, name: str) -> None:
        if route_named(self._shop, name).canary is None:
            return
        self._shop.store.traffic.index.catch_up()
        verdict = act(self._shop, name)
        if verdict.verdict in ("stop", "promote"):
            log.warning("canary of '%s': %s", name, verdict.verdict)
