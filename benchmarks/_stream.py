"""CLINC150 as a stream: domains arrive one after another, out-of-scope requests among them; and a client to send it.

Of each intent a few utterances are given from the start, as a catalogue of intents has them. All others come as
requests, each once. The giant's answers are simulated: the gold label, and with a stated chance another one.
"""

import asyncio
import itertools
import json
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks._shared import data_folder

OOS = "oos"
GIVEN = {"train": 8, "validation": 3, "test": 5}
"""Utterances of an intent that are there from the start, by split."""
GIVEN_OOS = {"train": 20, "validation": 15, "test": 25}
PHASE = 300
"""Requests of a domain's time."""
NEW_SHARE, OOS_SHARE = 0.65, 0.10
"""Of its requests: from the domain that has arrived, out of scope; the others are from domains before it."""
GIANT_NOISE = 0.05
CONNECTIONS = 8
DIGEST = 64
"""Characters of a variant's digest; the name of an upstream has fewer."""


@dataclass(frozen=True)
class Asked:
    """One request of the stream."""

    text: str
    label: str
    domain: str


@dataclass(frozen=True)
class Stream:
    """A seed's stream, what was given before it, and what is asked after it."""

    domains: tuple[str, ...]
    """In the order in which they arrive."""
    given: tuple[dict[str, str], ...]
    """Rows with text, label and split."""
    requests: tuple[Asked, ...]
    test: tuple[Asked, ...]
    giant: dict[str, str]
    """Text -> what the simulated giant answers."""


def stream(seed: int) -> Stream:
    """The stream of a seed; the same seed gives the same one."""
    draw = random.Random(seed)
    folder = data_folder() / "clinc150"
    domain_of = {label: name for name, labels in _domains(folder).items() for label in labels}
    domains = sorted(set(domain_of.values()))
    draw.shuffle(domains)
    pools: dict[str, list[str]] = {}
    given: list[dict[str, str]] = []
    taken: set[str] = set()
    test = [Asked(r["text"], r["label"], domain_of[r["label"]]) for r in _rows(folder / "test.jsonl")]
    beyond = _unique([r["text"] for r in _rows(folder / "oos_test.jsonl")])
    draw.shuffle(beyond)
    # Half of the out-of-scope test sentences come in the stream: the training file has too few for it.
    test += [Asked(text, OOS, OOS) for text in beyond[: len(beyond) // 2]]
    taken |= {asked.text for asked in test}
    by_label: dict[str, list[str]] = {OOS: beyond[len(beyond) // 2 :]}
    for name in ("train", "val"):
        for row in _rows(folder / f"{name}.jsonl"):
            by_label.setdefault(row["label"], []).append(row["text"])
        by_label[OOS] += [row["text"] for row in _rows(folder / f"oos_{name}.jsonl")]
    for label in sorted(by_label):
        texts = [text for text in _unique(by_label[label]) if text not in taken]
        draw.shuffle(texts)
        for split, count in (GIVEN_OOS if label == OOS else GIVEN).items():
            given += [{"text": texts.pop(), "label": label, "split": split} for _ in range(count)]
        pools.setdefault(domain_of.get(label, OOS), []).extend(f"{label}\t{text}" for text in texts)
    for pool in pools.values():
        draw.shuffle(pool)
    requests = tuple(_arriving(domains, pools, draw))
    labels = sorted(by_label)
    answers = {a.text: a.label if draw.random() >= GIANT_NOISE else draw.choice(labels) for a in requests}
    return Stream(tuple(domains), tuple(given), requests, tuple(test), answers)


def _arriving(domains: Sequence[str], pools: dict[str, list[str]], draw: random.Random) -> Iterator[Asked]:
    for place, domain in enumerate(domains):
        counts = {OOS: round(PHASE * OOS_SHARE), domain: round(PHASE * NEW_SHARE)}
        before = domains[:place] or [domain]
        names = list(itertools.chain.from_iterable([name] * count for name, count in counts.items()))
        names += [draw.choice(before) for _ in range(PHASE - len(names))]
        draw.shuffle(names)
        for name in names:
            label, _, text = pools[name].pop().partition("\t")
            yield Asked(text, label, name)


def _domains(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _unique(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(text.strip() for text in texts))


@dataclass(frozen=True)
class Said:
    """An answer of the gateway."""

    id: str
    label: str
    cost: float
    local: bool


class Client:
    """Sends requests and feedback over a few connections that are kept open."""

    def __init__(self, address: str, system: str) -> None:
        self._port = int(address.rsplit(":", 1)[1])
        self._system = system

    async def ask(self, model: str, requests: Sequence[tuple[str, str]]) -> list[Said]:
        """Ask each (text, business key), a few at once; answers in order.

        Raises:
            SystemExit: one was not answered.
        """
        found: list[Said | None] = [None] * len(requests)

        def body(at: int) -> bytes:
            text, key = requests[at]
            messages = [{"role": "system", "content": self._system}, {"role": "user", "content": text}]
            return self._post("/v1/chat/completions", {"model": model, "messages": messages}, key)

        def read(at: int, head: str, said: bytes) -> None:
            answer = orjson.loads(said)
            label = str(answer["choices"][0]["message"]["content"])
            local = len(_header(head, "x-sartor-variant")) == DIGEST
            found[at] = Said(answer["id"], label, float(_header(head, "x-sartor-cost")), local)

        await self._all(len(requests), body, read)
        return [said for said in found if said is not None]

    async def tell(self, feedback: Sequence[dict[str, object]]) -> None:
        """Send feedback."""
        await self._all(len(feedback), lambda at: self._post("/v1/feedback", feedback[at], ""), lambda *_: None)

    async def _all(self, count: int, body: Callable[[int], bytes], read: Callable[[int, str, bytes], None]) -> None:
        numbers = iter(range(count))

        async def work() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            for at in numbers:
                writer.write(body(at))
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                said = await reader.readexactly(int(_header(head, "content-length")))
                if not head.startswith("http/1.1 200"):
                    raise SystemExit(f"The gateway said: {head.splitlines()[0]} {said[:300].decode()}")
                read(at, head, said)
            writer.close()

        workers: list[Awaitable[None]] = [work() for _ in range(min(CONNECTIONS, count))]
        await asyncio.gather(*workers)

    def _post(self, path: str, body: dict[str, object], key: str) -> bytes:
        data = orjson.dumps(body)
        marked = f"X-Sartor-Key: {key}\r\n" if key else ""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
            f"{marked}Content-Length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data


def _header(head: str, name: str) -> str:
    return head.partition(f"\r\n{name}:")[2].split("\r\n", 1)[0].strip()
