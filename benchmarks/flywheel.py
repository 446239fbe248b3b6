"""CLINC150 as a live stream through the running gateway: a small model in front of a giant learns from what comes back.

Ten domains arrive one after another, out-of-scope requests among them. A cascade answers: a head on frozen MiniLM
first, and where the value function says that a mistake would cost more, the giant. **The giant is simulated**: an
OpenAI-compatible server on loopback that gives the gold label, and with a chance of 5 % any other; its price is GPT-4's
list price. Of every second request the right label comes back by its business key, 300 requests later. Every 1,000
requests `sartor learn` runs, and what passes the gate goes live by itself.

Held against it on CLINC150's own test rows, which nothing here chooses by: one training on the same harvest at once,
and naive fine-tuning: the same head, trained on from where it was, on each cycle's new rows alone.

    python -m benchmarks flywheel [--seeds 3] [--cycles 3] [--at-once 2]
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

import numpy as np

from benchmarks._served import process, write_rows
from benchmarks._shared import ROOT, paired, result, show, task, workshop
from benchmarks._stream import GIANT_NOISE, OOS, PHASE, Asked, Client, Said, Stream, stream
from sartor.core.predict import Floats
from sartor.core.records import Dataset, Variant
from sartor.core.route import Route, TokenPrice, Upstream
from sartor.core.rows import Snapshot
from sartor.core.section import Pick
from sartor.core.task import Task
from sartor.core.traffic import NANO
from sartor.pipeline.bases import base_named, embedder
from sartor.pipeline.economics import ledger
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.harvest import harvest
from sartor.pipeline.inspect import Hall
from sartor.pipeline.learn import MAY, Learned, learn
from sartor.pipeline.learning_data import learning_dataset
from sartor.pipeline.make import Order, fill, order, scores
from sartor.pipeline.onward import Onward
from sartor.pipeline.routes import declare_route
from sartor.pipeline.run import hall_on, make_one
from sartor.pipeline.run import run as run_chain
from sartor.pipeline.serve import variant_named
from sartor.pipeline.strategy_choice import moment
from sartor.pipeline.upstreams import declare_upstream
from sartor.pipeline.workshop import Workshop

WORK = ROOT / ".sartor" / "bench-flywheel"
CYCLE, DELAY, SHARE = 1_000, 300, 0.5
"""Requests between two runs of learning; after which feedback comes; share of the requests of which it does."""
WRONG = 0.5
"""EUR that a wrong answer costs."""
GIANT = "simulated-giant"
PRICE = TokenPrice(input_million=30.0, output_million=60.0, currency="EUR", source="GPT-4's list price, 1 USD as 1 EUR")
CALL = 0.03
"""EUR of a call of the giant, as the task's value function states it; what was really paid is read from the books."""
MARGIN = 0.005
"""EUR a request that a candidate may surely cost more at most: what is as good may ship, since it knows more."""
TITLE = "head:minilm"
EARLY = 5
"""Domains whose forgetting is told: those that arrive first."""


@dataclass
class Seen:
    """What a seed's stream brought."""

    name: str
    what: Stream
    said: list[Said] = field(default_factory=list)
    learned: list[Learned] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    """Digest of what was live after each cycle, the first one before all."""
    moments: list[str] = field(default_factory=list)
    """Time at which each cycle learned, ISO 8601."""


def run() -> dict[str, Any]:
    """Stream, learn, and measure, for each seed; seeds side by side, each with a store and servers of its own."""
    parser = argparse.ArgumentParser(prog="flywheel")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=2)
    given = parser.parse_args()
    _keep(given.seeds)
    began = time.monotonic()
    with ProcessPoolExecutor(given.at_once, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_one_seed, range(given.seeds), [given.cycles] * given.seeds))
    return _told({f"clinc-{seed}": one for seed, one in enumerate(found)}, time.monotonic() - began)


def _one_seed(seed: int, cycles: int) -> dict[str, Any]:
    """One seed's stream from beginning to end, and its figures."""
    name, what, home = f"clinc-{seed}", stream(seed), WORK / f"run-{seed}"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(WORK / "kept", home)
    shop = replace(workshop(home), key=WORK / f"key-{seed}")
    contract = _release(shop, name, what)
    rows = write_rows(home / "giant.jsonl", [{"text": text, "giant": label} for text, label in what.giant.items()])
    replay = ("gateway", "replay", str(rows), "--text", "text", "--answer", "giant", "--model", GIANT, "--port", "0")
    environment = {"SARTOR_HOME": str(home), "SARTOR_KEY": str(WORK / f"key-{seed}")}
    with process(*replay, **environment) as giant:
        declare_upstream(shop, Upstream(name=GIANT, base_url=f"{giant}/v1", allow_private=True, price=PRICE))
        policy = {"use": "cascade", "local": name, "to": GIANT}
        declare_route(shop, Route(name=f"{name}-route", task=name, policy=policy, unmatched=GIANT))
        with process("serve", "--port", "0", **environment) as gateway:
            time.sleep(5)
            seen = _streamed(shop, gateway, name, what, cycles)
    shop.store.traffic.index.catch_up()
    books = ledger(shop, by=("task",)).body()
    figures = _figures(shop, contract, seen) | {"books": books["rows"], "exact": books["reconciled"]["exact"]}
    shop.store.close()
    used = (getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
    return figures | {"cpu_seconds": sum(one.ru_utime + one.ru_stime for one in used)}


# The store, and what is there before the stream


def _keep(seeds: int) -> None:
    """A store that is kept between runs: the base, and its embeddings of every text."""
    kept = workshop(WORK / "kept")
    base = base_named(kept, "minilm")
    streams = [stream(seed) for seed in range(seeds)]
    texts = [asked.text for what in streams for asked in (*what.requests, *what.test)]
    texts += [row["text"] for what in streams for row in what.given]
    EmbeddingCache(kept).embed(base.digest, list(dict.fromkeys(texts)), embedder(kept, base))
    kept.store.close()


def _release(shop: Workshop, name: str, what: Stream) -> Task:
    """The task on what is given, its first variant released."""
    rows = write_rows(WORK / f"{name}.jsonl", list(what.given))
    contract = task(
        {
            "name": name,
            "data": {
                "sources": [{"use": "jsonl", "licence": "CC-BY-3.0", "path": str(rows)}],
                "split": {"column": "split"},
                "on_leak": "drop_train",
                "curate": [{"use": "normalise"}, {"use": "duplicates"}],
            },
            "value": {"wrong": WRONG, "escalate": {"to": GIANT, "price": CALL, "error_rate": GIANT_NOISE}},
            "candidates": [{"recipe": "head", "base": "minilm", "params": {"c": [10.0, 30.0], "steps": 40}}],
            "gate": {
                "guards": {},
                "margin": MARGIN,
                "max_calibration_error": 0.2,
                "floor": TITLE,
                # The giant's answers teach too; whoever does this with a real one has to be allowed to.
                "allow_licences": ["no_training"],
            },
            "learn": {
                "harvest": {"source_share": 1.0, "subject_share": 1.0},
                "strategies": [{"use": "scratch"}, {"use": "replay"}, {"use": "interpolate"}],
            },
            "wheel": {"ship": "auto"},
        }
    )
    done = run_chain(shop, contract, WORK)
    if done.decision.verdict != "ship":
        raise SystemExit(f"The first variant was not released: {'; '.join(done.decision.reasons)}")
    return contract


# The stream


def _streamed(shop: Workshop, gateway: str, name: str, what: Stream, cycles: int) -> Seen:
    seen = Seen(name, what, live=[_live(shop, name)])
    client = Client(
        gateway, "Name the one intent of the message:\n" + "\n".join(sorted({r["label"] for r in what.given}))
    )
    draw, told = random.Random(name), 0
    tells = [draw.random() < SHARE for _ in what.requests]
    for cycle in range(cycles):
        block = what.requests[cycle * CYCLE : (cycle + 1) * CYCLE]
        for start in range(0, len(block), 100):
            part = block[start : start + 100]
            first = cycle * CYCLE + start
            keys = [(asked.text, f"{name}-{first + at}") for at, asked in enumerate(part)]
            seen.said += asyncio.run(client.ask(f"{name}-route", keys))
            due = range(told, max(told, len(seen.said) - DELAY))
            asyncio.run(client.tell([_outcome(what, name, at) for at in due if tells[at]]))
            told = due.stop
        if cycle == cycles - 1:
            asyncio.run(client.tell([_outcome(what, name, at) for at in range(told, len(seen.said)) if tells[at]]))
        time.sleep(1)
        seen.moments.append(_now())
        seen.learned.append(learn(shop, None, name))
        seen.live.append(_live(shop, name))
        print(f"  {name}, cycle {cycle + 1}: {seen.learned[-1].says[:150]}", file=sys.stderr, flush=True)
        time.sleep(3)
    return seen


def _outcome(what: Stream, name: str, at: int) -> dict[str, object]:
    """The right label, as whoever closed the case found it."""
    value = what.requests[at].label
    return {"business_key": f"{name}-{at}", "metric": "demonstration", "value": value, "source": "outcome"}


def _live(shop: Workshop, name: str) -> str:
    pointer = shop.store.ledger.resolve(f"{name}@live")
    assert pointer is not None
    return pointer.digest


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="milliseconds")


# The figures


def _figures(shop: Workshop, contract: Task, seen: Seen) -> dict[str, Any]:
    first = variant_named(shop, seen.live[0])
    base = shop.store.ledger.get(first.data)
    assert isinstance(base, Dataset)
    data = learning_dataset(shop, contract, base, harvest(shop, contract))
    place = hall_on(shop, contract, data, may=MAY)
    desk = _Desk(place, seen.what.test)
    wheel = [desk.right(variant_named(shop, digest)) for digest in seen.live]
    batch = desk.right(make_one(place, contract.candidates[0], {}))
    naive = _naive(desk, first, seen.moments)
    return {
        "curve": _curve(seen),
        "cycles": [_cycle(learned) for learned in seen.learned],
        "test": {
            "start": float(wheel[0].mean()),
            "wheel": float(wheel[-1].mean()),
            "batch": float(batch.mean()),
            "naive": float(naive[-1].mean()),
        },
        "to_batch": paired(wheel[-1] - batch),
        "gains": (wheel[-1] - batch).tolist(),
        "forgetting": {"wheel": _forgetting(desk, seen, wheel), "naive": _forgetting(desk, seen, naive)},
        "domains": {
            domain: [round(100 * float(right[desk.of(domain)].mean()), 1) for right in wheel]
            for domain in (*seen.what.domains, OOS)
        },
        "domains_naive": {
            domain: [round(100 * float(right[desk.of(domain)].mean()), 1) for right in naive]
            for domain in (*seen.what.domains, OOS)
        },
        "harvest": dict(seen.learned[-1].harvest["said_by"]),
    }


class _Desk:
    """Asks variants CLINC150's test rows: their own answer to each, nobody else being asked."""

    def __init__(self, place: Hall, test: Sequence[Asked]) -> None:
        self.place = place
        self._test = test
        self._labels = np.array([asked.label for asked in test])
        self._domains = np.array([asked.domain for asked in test])
        task_ = place.task
        self.order: Order = order(place.shop, task_, task_.candidates[0], place.dataset, place.snapshot, {})

    def of(self, domain: str) -> Any:
        """(rows,) the rows of a domain."""
        return self._domains == domain

    def right(self, variant: Variant) -> Floats:
        """(rows,) 1 where the variant's likeliest label is right."""
        return self.scored(self.place.shop.store.folder(variant), variant.labels)

    def scored(self, folder: Path, labels: Sequence[str]) -> Floats:
        """The same of files."""
        texts = [asked.text for asked in self._test]
        logits = scores(self.place.shop, self.place.cache, self.order, folder, "encoder", texts)
        found: Floats = (np.array(labels)[logits.argmax(axis=1)] == self._labels).astype(np.float64)
        return found


def _naive(desk: _Desk, first: Variant, moments: Sequence[str]) -> list[Floats]:
    """Trained on from where it was, on each cycle's new rows alone, with the validation rows of the beginning."""
    place = desk.place
    start, labels = place.shop.store.folder(first), first.labels
    found = [desk.right(first)]
    given = [row for row in place.snapshot.splits["validation"] if not moment(row)]
    with tempfile.TemporaryDirectory(prefix="naive-") as work:
        before = ""
        for number, until in enumerate(moments):
            rows = [row for row in place.snapshot.splits["train"] if before < moment(row) <= until]
            before = until
            snapshot = Snapshot({"train": rows, "validation": given, "test": []}, place.snapshot.labels)
            onward = Onward(Pick.model_validate({"use": "warm", "old": 0.0}), start, labels, frozenset())
            folder = Path(work) / str(number)
            folder.mkdir()
            fill(place.shop, place.cache, replace(desk.order, snapshot=snapshot, onward=onward), folder)
            start, labels = folder, snapshot.labels
            found.append(desk.scored(folder, labels))
    return found


def _forgetting(desk: _Desk, seen: Seen, rights: Sequence[Floats]) -> dict[str, float]:
    """Points that early domains lost at the end against their best cycle before (Chaudhry et al. 2018), on average.

    Beside it what they lost since the first cycle that had learned of them.
    """
    best, since = [], []
    for place, domain in enumerate(seen.what.domains[:EARLY]):
        accuracy = [float(right[desk.of(domain)].mean()) for right in rights]
        after = min(len(rights) - 1, -(-(place + 1) * PHASE // CYCLE))
        best.append(max(accuracy[:-1]) - accuracy[-1])
        since.append(accuracy[after] - accuracy[-1])
    return {"against_best": float(np.mean(best)), "since_learned": float(np.mean(since)), "worst": float(max(best))}


def _curve(seen: Seen) -> list[dict[str, float]]:
    """Per 1,000 requests: what the application got, who answered, and what it cost."""
    points = []
    for start in range(0, len(seen.said), CYCLE):
        asked, said = seen.what.requests[start : start + CYCLE], seen.said[start : start + CYCLE]
        wrong = np.array(
            [answer.label != request.label for answer, request in zip(said, asked[: len(said)], strict=True)]
        )
        cost = sum(answer.cost for answer in said)
        giant = sum(seen.what.giant[request.text] != request.label for request in asked)
        asks = [answer.cost for answer in said if not answer.local]
        points.append(
            {
                "right": 1.0 - float(wrong.mean()),
                "local": float(np.mean([answer.local for answer in said])),
                "cost": cost,
                "lost": float(wrong.sum()) * WRONG + cost,
                "giant_alone": giant * WRONG + len(said) * float(np.mean(asks)) if asks else 0.0,
            }
        )
    return points


def _cycle(learned: Learned) -> dict[str, Any]:
    choice = learned.strategy
    suites = {kind: [s for s in learned.suites if s["kind"] == kind] for kind in ("era", "label", "fixed")}
    return {
        "state": learned.state,
        "new_rows": learned.new_rows,
        "strategy": choice.use if choice else "",
        "money": {name: metric.value for name, metric in choice.money.items()} if choice else {},
        "suites": {kind: len(found) for kind, found in suites.items()},
        "says": learned.says,
    }


def _told(figures: dict[str, dict[str, Any]], seconds: float) -> dict[str, Any]:
    pooled = paired(np.concatenate([np.array(one.pop("gains")) for one in figures.values()]))
    forgetting = {who: [one["forgetting"][who] for one in figures.values()] for who in ("wheel", "naive")}
    mean = {who: float(np.mean([one["against_best"] for one in found])) for who, found in forgetting.items()}
    for name, one in figures.items():
        _print(name, one)
    costs = {name: sum(row["total"] for row in one["books"]) / NANO for name, one in figures.items()}
    show("The books, all of a task together", ["task", "EUR#"], list(costs.items()))
    goals = {
        "within 1 point of one training at once": pooled["low"] > -0.01,
        "early domains forget at most 1 point": mean["wheel"] <= 0.01,
        "naive fine-tuning forgets more": all(
            naive["against_best"] > wheel["against_best"]
            for wheel, naive in zip(forgetting["wheel"], forgetting["naive"], strict=True)
        ),
        "at least 3 seeds": len(figures) >= 3,
        "the books are exact": all(one["exact"] for one in figures.values()),
    }
    cpu = sum(one["cpu_seconds"] for one in figures.values())
    told = {"to_batch": pooled, "forgetting": mean, "cost": costs, "seconds": seconds, "cpu_seconds": cpu}
    return result("flywheel", told | {"seeds": figures}, goals)


def _print(name: str, one: dict[str, Any]) -> None:
    rows = [
        (f"{CYCLE * (at + 1):,}", *(100 * point[share] for share in ("right", "local")),
         *(point[money] for money in ("cost", "lost", "giant_alone")), cycle["state"], cycle["strategy"])
        for at, (point, cycle) in enumerate(zip(one["curve"], one["cycles"], strict=True))
    ]  # fmt: skip
    columns = ["requests", "right %#", "local %#", "paid EUR#", "lost EUR#", "giant alone EUR#", "then", "strategy"]
    show(f"{name}: each 1,000 requests; the giant is simulated", columns, rows)
    ends = one["test"] | {f"forgot, {who}": one["forgetting"][who]["against_best"] for who in ("wheel", "naive")}
    show("CLINC150's test rows at the end, %", [f"{end}#" for end in ends], [[100 * value for value in ends.values()]])
