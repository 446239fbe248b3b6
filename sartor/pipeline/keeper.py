"""What a running server does beside answering: keeps the index up, judges canaries, lets old content go.

One thread per store, in the process that also serves the control plane. Whatever fails is logged and tried again.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sartor.core.errors import SartorError
from sartor.pipeline.canary import act
from sartor.pipeline.routes import declared_routes
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
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._chores = (
            Chore("index", 0.5, shop.store.traffic.index.catch_up),
            Chore("canaries", 2.0, self._canaries),
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
            self._do(self._chores[0])

    def _run(self) -> None:
        due = dict.fromkeys(self._chores, 0.0)
        while not self._stop.is_set():
            for chore in self._chores:
                if time.monotonic() >= due[chore] and not self._stop.is_set():
                    self._do(chore)
                    due[chore] = time.monotonic() + chore.seconds
            self._stop.wait(max(0.05, min(due.values()) - time.monotonic()))

    def _do(self, chore: Chore) -> None:
        try:
            chore.work()
        except SartorError as error:
            log.warning("%s: %s", chore.name, error.message)
        except Exception:
            log.exception("%s failed", chore.name)

    def _canaries(self) -> None:
        for route in declared_routes(self._shop):
            if route.canary is not None:
                verdict = act(self._shop, route.name)
                if verdict.verdict in ("stop", "promote"):
                    log.warning("canary of '%s': %s", route.name, verdict.verdict)
