"""Answers in memory: by the very body that was sent, or by the nearest text. Bounded in number, size and age.

Knows no policy and no models. Nothing is found across tenants.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import orjson

from sartor.core.predict import Chunk, Floats, Prediction, Request

VOLATILE = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key")
"""Fields of a request that do not bear on its answer. How it is streamed does bear on the form in which it came."""


def body_key(request: Request, *, stream: bool) -> bytes:
    """What two requests with the same answer have in common, and the requests of two tenants never."""
    if request.chat is None:
        said = orjson.dumps([request.text, request.inputs], option=orjson.OPT_SORT_KEYS)
    else:
        body = {name: value for name, value in request.chat.items() if name not in VOLATILE}
        said = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    # Lengths first, so that no tenant's name can run over into a body.
    head = orjson.dumps([request.tenant, request.endpoint, stream, len(said)])
    return hashlib.sha256(head + said).digest()


def complete(reply: bytes | None) -> bool:
    """Whether a completion ended by itself and was not cut; an answer that was made here always did."""
    if reply is None:
        return True
    try:
        choices = orjson.loads(reply).get("choices")
    except (ValueError, AttributeError):
        return False
    # Embeddings have no choices.
    return choices is None or all(c.get("finish_reason") in ("stop", "tool_calls", "function_call") for c in choices)


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, and its pieces where it was streamed."""

    answer: Prediction
    chunks: tuple[Chunk, ...] = ()

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        pieces = sum(len(c.raw) + len(c.text) + 200 for c in self.chunks)
        return 1000 + len(self.answer.reply or b"") + len(self.answer.output or "") + pieces


class Recent:
    """Answers by key; the one not used for longest makes room."""

    def __init__(self, entries: int, size: int, seconds: float) -> None:
        self._entries, self._size, self._seconds = entries, size, seconds
        self._kept: OrderedDict[bytes, tuple[float, Kept]] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes, now: float) -> Kept | None:
        """The answer under a key, if it is not too old."""
        found = self._kept.get(key)
        if found is None:
            return None
        if now - found[0] >= self._seconds:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: bytes, kept: Kept, now: float) -> None:
        """Keep an answer; one that is larger than all the room is not kept."""
        if kept.size > self._size:
            return
        self._drop(key)
        self._kept[key] = (now, kept)
        self._held += kept.size
        while len(self._kept) > self._entries or self._held > self._size:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._held -= found[1].size


class Near:
    """Answers by the embedding of their question; the oldest makes room."""

    def __init__(self, entries: int, seconds: float) -> None:
        self._entries, self._seconds = entries, seconds
        self._answers: list[Prediction] = []
        self._vectors = np.empty((0, 0), dtype=np.float32)
        self._until = np.empty(0)
        self._owner = np.empty(0, dtype=np.int64)
        self._owners: dict[str, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, tenant: str, vector: Floats, distance: float, now: float) -> Prediction | None:
        """The answer to this tenant's nearest question, if it is near enough and not too old.

        Args:
            vector: (d,), of length 1.
        """
        owner = self._owners.get(tenant)
        count = len(self._answers)
        if owner is None or not count:
            return None
        near = self._vectors[:count] @ vector.astype(np.float32)
        near[(self._owner[:count] != owner) | (self._until[:count] <= now)] = -2.0
        best = int(near.argmax())
        return self._answers[best] if 1.0 - float(near[best]) <= distance else None

    def put(self, tenant: str, vector: Floats, answer: Prediction, now: float) -> None:
        """Keep an answer."""
        self._grow(len(vector))
        at = self._next
        if at == len(self._answers):
            self._answers.append(answer)
        else:
            self._answers[at] = answer
        self._vectors[at] = vector
        self._until[at] = now + self._seconds
        self._owner[at] = self._owners.setdefault(tenant, len(self._owners))
        self._next = (at + 1) % self._entries

    def _grow(self, width: int) -> None:
        """Room for one more, doubling as needed."""
        rows = len(self._vectors)
        if self._next < rows:
            return
        wanted = min(self._entries, max(64, 2 * rows))
        vectors, until, owner = np.zeros((wanted, width), np.float32), np.zeros(wanted), np.zeros(wanted, np.int64)
        if rows:
            vectors[:rows], until[:rows], owner[:rows] = self._vectors, self._until, self._owner
        self._vectors, self._until, self._owner = vectors, until, owner
