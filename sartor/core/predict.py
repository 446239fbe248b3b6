"""The one call that every model answers: a linear model, an encoder, a giant, a recorded answer, a person, a cascade.

Batch first: evaluation works on batches, servers gather single requests into batches.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller asks of one answer that is written, beyond its input; a model heeds what it can."""

    max_tokens: int | None = None
    """None: what the variant was made for."""
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    """0: the likeliest token every time."""
    seed: int | None = None
    json_schema: Mapping[str, Any] | None = None
    """Another schema than the variant's own; the answer can't break it."""
    logprobs: bool = False
    deadline: float | None = None
    """`time.monotonic()` after which no further token is made."""
    gone: Callable[[], bool] | None = None
    """Asked before every token: whether nobody wants the answer any more."""


@dataclass(frozen=True, slots=True)
class Request:
    """One input to answer."""

    text: str
    """The input as models see it (the task's template filled)."""
    id: str = ""
    """Row id in batch work, exchange id behind a server."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Named input columns, where the caller gave them."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Other columns of the row: recorded answers are found here."""
    chat: Mapping[str, Any] | None = None
    """The request as the application sent it (OpenAI's body), for models that answer chats; None in batch work."""
    endpoint: Literal["chat", "completions", "embeddings"] = "chat"
    """Which of OpenAI's endpoints `chat` came to."""
    sticky: str = ""
    """Requests of equal value stay on one side of a split or canary: the user, else the key."""
    tenant: str = ""
    """Whose request it is; a cache never answers across tenants."""
    key: str = ""
    """Id of the access key that it came with."""
    wish: Wish | None = None
    """How the answer is to be written, where models write it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer consumed."""

    input_tokens: int = 0
    output_tokens: int = 0
    cpu_seconds: float = 0.0
    cached_tokens: int = 0
    """Of `input_tokens`, those that the provider had cached."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One model that was asked on the way to an answer; all of them are kept, thrown-away answers too."""

    served_by: str
    """Digest of the variant, or the name of the upstream."""
    output: str | None
    usage: Usage
    cost: float
    """Money that this hop alone cost."""
    confidence: float | None = None
    why: str = ""
    """Why it was asked, or why its answer did not count: `escalated`, `failed: timeout`."""
    seconds: float = 0.0
    """From asking to its whole answer."""
    kind: Literal["local", "upstream", "cache"] = "local"


@dataclass(frozen=True, slots=True)
class Claim:
    """One value that an answer states, with the chances that it should."""

    path: str
    """Where it stands in the answer, as a JSON pointer (`/lines/0/price`); '' for a whole text."""
    value: Any
    """The JSON value, or the text."""
    right: float
    """Calibrated chance that exactly this value stands there in the truth."""
    absent: float = 0.0
    """Calibrated chance that nothing stands there; what is left of one is the chance of another value."""
    span: tuple[int, int] | None = None
    """Where the value stands in the input's text, by characters, where it was read there."""


@dataclass(frozen=True, slots=True)
class Doubts:
    """What is known of a writer's claims beyond their own chances."""

    unseen: float = 0.0
    """Values an answer of which it has no idea, in the mean."""
    whole: tuple[float, float] = (1.0, 0.0)
    """Slope and offset: from the log-odds that all stated values are right by themselves, to those of the whole."""


NO_DOUBTS = Doubts()


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer and how it came about."""

    output: str | None
    """The label, the JSON object as text, or the text; None where nobody here could answer (e.g. a giant that gave no
    valid label)."""
    served_by: str
    """Digest of the variant, or the name of what answered."""
    decision: Literal["answer", "escalate"] = "answer"
    """`escalate`: the value function would rather pay for someone else's answer; `output` is then the best guess."""
    probabilities: Floats | None = None
    """(labels,) calibrated, in the order of `labels`; None where the model gives none."""
    labels: tuple[str, ...] = ()
    """What the probabilities are of."""
    claims: tuple[Claim, ...] = ()
    """What a model that writes answers believed, value by value, before the value function left any of them out."""
    doubts: Doubts = NO_DOUBTS
    """What is known of the claims beyond their own chances."""
    confidence: float | None = None
    """Probability of `output` being right, where it is known."""
    expected_cost: float | None = None
    """Expected money lost by the decision taken, under the task's value function."""
    out_of_scope: float | None = None
    """Higher means less like anything in training; thresholds are the variant's own."""
    usage: Usage = field(default_factory=Usage)
    """Tokens and CPU seconds that it took."""
    cost: float = 0.0
    """Money that serving this answer cost, over all hops."""
    hops: tuple[Hop, ...] = ()
    """What was asked on the way, in order; empty where only one model was."""
    reply: bytes | None = None
    """The upstream's own completion (OpenAI's JSON), passed on as it is; None where the answer is made here."""
    finish: Literal["stop", "length"] = "stop"
    """Why a written answer ended: by itself, or cut off."""
    logprobs: tuple[tuple[str, float], ...] = ()
    """(token, natural logarithm of its probability), where they were wished for."""
    arm: str = ""
    """Side of a randomised comparison that this request was on: `control`, `canary`."""
    propensity: float | None = None
    """Chance with which it was put there; None where nothing was drawn."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed answer; the last one carries the whole prediction."""

    text: str
    final: Prediction | None = None
    raw: bytes = b""
    """The upstream's own event (`data: …` and the blank line), passed on as it is; empty where it is made here."""


@runtime_checkable
class Predictor(Protocol):
    """Anything that answers requests."""

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in order."""
        ...

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer to one request in pieces; a classifier yields one chunk."""
        ...


async def one_chunk(predictor: Predictor, request: Request) -> AsyncIterator[Chunk]:
    """The stream of a predictor that answers all at once."""
    (answer,) = await predictor.predict([request])
    yield Chunk(text=answer.output or "", final=answer)
