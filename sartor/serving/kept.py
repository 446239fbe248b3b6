"""What is loaded when it is first asked for, within a budget of memory; the least valuable goes first.

A thing is worth what loading it again would take, times how often it was asked for lately, by its size (Cherkasova
1998, "GreedyDual-Size-Frequency"). Knows nothing of what it keeps.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """A thing of a known size."""

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        ...

    @property
    def busy(self) -> bool:
        """Whether it can't go now."""
        ...


Thing = TypeVar("Thing", bound=Sized)


@dataclass
class _Entry(Generic[Thing]):
    thing: Thing
    uses: int
    seconds: float
    worth: float = 0.0


class Kept(Generic[Thing]):
    """Things by key. Safe to use from several threads; one is loaded at a time."""

    def __init__(self, load: Callable[[str], Thing], budget: int) -> None:
        """Keep nothing yet.

        Args:
            budget: bytes; a thing that is larger alone, or asked for while all others are busy, is kept all the same.
        """
        self._load = load
        self._budget = budget
        self._entries: dict[str, _Entry[Thing]] = {}
        self._floor = 0.0
        self._lock = RLock()
        self.loads = 0
        """Things loaded so far."""
        self.evictions = 0
        """Things let go for want of memory so far."""

    def take(self, key: str) -> Thing:
        """The thing of that key, loaded if it is not here."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                begun = time.perf_counter()
                thing = self._load(key)
                entry = self._entries[key] = _Entry(thing, 0, time.perf_counter() - begun)
                self.loads += 1
            entry.uses += 1
            entry.worth = self._floor + entry.uses * entry.seconds / max(entry.thing.bytes, 1)
            self._make_room(key)
            return entry.thing

    def settle(self) -> None:
        """Let go what was kept beyond the budget because it was busy."""
        with self._lock:
            self._make_room("")

    def forget(self, key: str) -> None:
        """Let a thing go; those who use it keep it until they are done."""
        with self._lock:
            self._entries.pop(key, None)

    @property
    def bytes(self) -> int:
        """Memory of all that is kept."""
        with self._lock:
            return sum(entry.thing.bytes for entry in self._entries.values())

    def _make_room(self, newest: str) -> None:
        held = self.bytes
        while held > self._budget:
            idle = [key for key, entry in self._entries.items() if key != newest and not entry.thing.busy]
            if not idle:
                return
            least = min(idle, key=lambda key: self._entries[key].worth)
            gone = self._entries.pop(least)
            self._floor = gone.worth
            held -= gone.thing.bytes
            self.evictions += 1
