"""The books are exact and a forecast from the first tenth of drifting traffic covers the rest.

Traffic: a year on three routes, whose requests are real BANKING77 messages in GPT-4's prompt: three examples of each
of the 77 classes, one, or only their names, real training rows all. Volume grows or falls route by route, in percent
or in units, so that the mix shifts; the week has its pattern, single days are busy or quiet; prompts grow as somebody
adds examples, and messages as conversations get longer. Tokens are estimated from the real texts (a quarter of the
characters): the encodings of hosted models can't be had offline. Money is GPT-4's list price, in whole nano-dollars.

The forecast sees the first 36 days and states an interval of 90 % for the total of the other 324. `SEEDS` years are
drawn.

Exactness: processes write exchanges of several hops through the traffic log and are killed at random instants. In
sync mode every acknowledged exchange must be in the index, and hops, exchanges, books and counters must be one sum.
In async mode what was appended earlier than the stated bound before the kill must be there.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks._shared import data_folder, result, show
from sartor.core.predict import Floats, Usage
from sartor.core.traffic import NANO, Exchange, HopRow, nanos
from sartor.core.value import Ints
from sartor.economics.prices import estimate_tokens, price_of
from sartor.economics.trend import History, carry_forward
from sartor.gateway.counters import ROUTE_LABELS, SUMS, Counters
from sartor.pipeline.economics import ledger
from sartor.pipeline.forecast import actual, forecast
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

SEEDS = 40
DAYS, SEEN = 360, 36
CONFIDENCE = 0.9
ROUTES = ("support", "app", "voice")
SHOTS = (3, 1, 0)
WEEK = (1.15, 1.2, 1.1, 1.05, 1.0, 0.5, 0.4)
VOLUME = 20_000
"""Requests on a mean day at the beginning."""
BUSY = 0.01
"""How far single days lie from what the week and the trend say, as a share."""
HARDER = {"busier days": (VOLUME, 0.03), "a fortieth of the volume": (500, 0.01)}
"""Reported without a goal: fewer facts make wider intervals, which must hold all the same."""
GOAL_OFF, GOAL_SHARE = 0.10, 0.9
KILLS = 6
BOUND = 1.0
"""Seconds of async traffic that a crash of the machine may take, as the log states; a killed process loses less."""
START = 20_000 * 86_400.0


@dataclass(frozen=True)
class Texts:
    """Real texts, in tokens."""

    messages: Ints
    """(messages,) of the users."""
    prompts: tuple[int, ...]
    """Of each route's instructions and examples."""
    more: Ints
    """(examples,) total of the first, first two, … examples that are added to prompts later."""
    output: int


def run() -> dict[str, Any]:
    """Forecasts of drawn years, then kills."""
    texts = read_texts()
    main = [_year(texts, seed, VOLUME, BUSY) for seed in range(SEEDS)]
    harder = {name: [_year(texts, seed, *how) for seed in range(SEEDS)] for name, how in HARDER.items()}
    figures = {"forecast": _tell("as stated", main), **{name: _tell(name, found) for name, found in harder.items()}}
    with TemporaryDirectory() as temp:
        chain = _chain(texts, Path(temp) / "chain")
        kept = {mode: kills(Path(temp) / mode, mode) for mode in ("sync", "async")}
    _print(figures, chain, kept)
    least = _least(SEEDS)
    goals = {
        f"at least {least} of {SEEDS} totals in their interval of {CONFIDENCE:.0%}": figures["forecast"]["inside"]
        >= least,
        "intervals hold in harder years too": all(figures[name]["inside"] >= least for name in HARDER),
        f"point within {GOAL_OFF:.0%} in {GOAL_SHARE:.0%} of the years": figures["forecast"]["within"] >= GOAL_SHARE,
        "one store: hops, exchanges and books are one sum": chain["exact"],
        "the whole chain: stored forecast against the books": chain["inside"] and abs(chain["off"]) <= GOAL_OFF,
        "sync: nothing acknowledged is lost, sums are exact": kept["sync"]["lost"] == 0 and kept["sync"]["exact"],
        f"async: a killed process loses at most {BOUND:g} s, sums are exact": kept["async"]["lost_seconds"] <= BOUND
        and kept["async"]["exact"],
        "counters equal the books": chain["counters_equal"],
    }
    return result("economics", figures | {"chain": chain, "kills": kept}, goals)


def _least(n: int) -> int:
    """Fewest hits that a true chance of `CONFIDENCE` leaves likely: fewer come with a chance below 5 %."""
    from scipy.stats import binom

    return int(binom.ppf(0.05, n, CONFIDENCE))


# Traffic


def read_texts() -> Texts:
    """Messages and prompts of BANKING77."""
    folder = data_folder() / "banking77"
    train = [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    test = [json.loads(line) for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    labels = sorted({row["label"] for row in train})
    by_label = {label: [row["text"] for row in train if row["label"] == label] for label in labels}
    prompts = tuple(estimate_tokens(prompt_of(by_label, shots)) for shots in SHOTS)
    extra = [_example(text, label) for label in labels for text in by_label[label][3:4]]
    random.Random(0).shuffle(extra)
    more = np.cumsum([estimate_tokens(example) for example in extra])
    messages = np.array([estimate_tokens(row["text"]) for row in test])
    return Texts(messages, prompts, more, round(np.mean([estimate_tokens(label) for label in labels])))


def prompt_of(by_label: dict[str, list[str]], shots: int) -> str:
    """The prompt that an application sends: instructions, labels, examples."""
    examples = "\n".join(_example(text, label) for label, texts in by_label.items() for text in texts[:shots])
    head = "You sort messages of a bank's customers. Answer with one of these intents and nothing else:"
    return f"{head}\n{', '.join(by_label)}\n\n{examples}\n\nMessage: "


def _example(text: str, label: str) -> str:
    return f"Message: {text}\nIntent: {label}\n"


def draw_year(texts: Texts, seed: int, volume: float, busy: float, days: int = DAYS) -> tuple[Ints, list[list[Ints]]]:
    """Requests by day and route; of each day and route the tokens of every request."""
    rng = np.random.default_rng(seed)
    day = np.arange(days)
    grown = rng.uniform(-0.2, 0.6, size=3)
    in_percent = bool(rng.integers(2))
    way = np.exp(np.log1p(grown) * day[:, None] / days) if in_percent else 1 + grown * day[:, None] / days
    shares = rng.dirichlet([6, 6, 6])
    noise = np.exp(rng.normal(0, busy, size=(days, 1)))
    requests = rng.poisson(volume * shares * way * noise * np.array(WEEK)[day % 7][:, None])
    turns = rng.uniform(0, 0.5, size=3)  # how many messages more a conversation has at the end
    added = rng.integers(0, len(texts.more) // 2, size=3)  # examples more at the end
    tokens = []
    for d in range(days):
        row = []
        for r in range(3):
            n = int(requests[d, r])
            said = texts.messages[rng.integers(0, len(texts.messages), size=n)]
            again = rng.random(n) < turns[r] * d / days
            said = said + again * texts.messages[rng.integers(0, len(texts.messages), size=n)]
            examples = round(added[r] * d / days)
            row.append(texts.prompts[r] + (int(texts.more[examples - 1]) if examples else 0) + said)
        tokens.append(row)
    return requests, tokens


def _costs(texts: Texts, tokens: list[list[Ints]]) -> Ints:
    """(days, routes) nano-dollars: exactly what pricing each request alone and adding up gives."""
    asked, answered = (nanos(price_of("gpt-4").cost(usage)) for usage in (Usage(1, 0), Usage(0, 1)))
    return np.array(
        [[int(route.sum()) * asked + len(route) * texts.output * answered for route in day] for day in tokens]
    )


@dataclass(frozen=True)
class _Year:
    inside: bool
    off: float
    width: float


def _year(texts: Texts, seed: int, volume: float, busy: float) -> _Year:
    requests, tokens = draw_year(texts, seed, volume, busy)
    cost = _costs(texts, tokens)
    history = History(int(START // 86_400), requests[:SEEN].astype(float), cost[:SEEN] / NANO)
    paths = carry_forward(history, DAYS - SEEN, seed=seed)
    drawn: Floats = (paths.requests * paths.each).sum(axis=(1, 2))
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    point = float((paths.point_requests * paths.point_each).sum())
    truth = int(cost[SEEN:].sum()) / NANO
    return _Year(bool(low <= truth <= high), point / truth - 1, float((high - low) / truth))


def _tell(name: str, years: list[_Year]) -> dict[str, Any]:
    off = np.abs([year.off for year in years])
    return {
        "name": name,
        "inside": sum(year.inside for year in years),
        "of": len(years),
        "median_off": round(float(np.median(off)), 4),
        "worst_off": round(float(off.max()), 4),
        "within": round(float((off <= GOAL_OFF).mean()), 3),
        "median_width": round(float(np.median([year.width for year in years])), 3),
        "mean_error": round(float(np.mean([year.off for year in years])), 4),
    }


# The whole chain on one store: log, index, forecast, books, counters


def _chain(texts: Texts, home: Path) -> dict[str, Any]:
    """A shorter, thinner year through everything: what is written is what is forecast from and held against."""
    days, seen = 60, 20
    requests, tokens = draw_year(texts, 1, 300, BUSY, days)
    store = open_store(home)
    shop = Workshop(store=store, key=home / "key", cache=home / "cache", currency="USD")
    counters, price = Counters(), price_of("gpt-4")
    log, number = store.traffic.log("w0"), count()
    for d, day in enumerate(tokens):
        for r, route in enumerate(day):
            for i, asked in enumerate(route):
                at = START + (d + (i + 0.5) / len(route)) * 86_400
                done = _exchange(f"chatcmpl-{next(number)}", at, ROUTES[r], int(asked), texts.output, price.cost)
                counters.exchange(done)
                log.append(done)
    log.close()
    view = ledger(shop, ["route"])
    exact = int(_costs(texts, tokens).sum())
    found = forecast(shop, "support", days=days - seen, now=START + seen * 86_400, traffic=_First(shop, seen))
    beside = actual(shop, "support", now=START + days * 86_400)
    counted = sum(sums[SUMS.index("cost")] for _, sums in counters.snapshot()["exchanges"])
    by_route = {
        labels[ROUTE_LABELS.index("route")]: sums[SUMS.index("cost")]
        for labels, sums in counters.snapshot()["exchanges"]
    }
    store.close()
    return {
        "exchanges": view.reconciled.exchanges,
        "nanos": exact,
        "exact": view.reconciled.exact and view.reconciled.hops == view.sum.total == exact,
        "counters_equal": counted == exact and by_route == {row.line.key[0]: row.line.total for row in view.rows},
        "requests": int(requests.sum()),
        "ways": {o.option.name: round(o.month.value, 2) for o in found.outlooks},
        "expected": round(beside.expected, 2),
        "low": round(beside.low, 2),
        "high": round(beside.high, 2),
        "actual": round(beside.actual, 2),
        "off": round(beside.expected / beside.actual - 1, 4),
        "inside": beside.inside,
    }


class _First:
    """Captured traffic up to the end of a day."""

    def __init__(self, shop: Workshop, days: int) -> None:
        from sartor.pipeline.bookings import Scope
        from sartor.pipeline.economics import Captured

        self._inner = Captured(shop, Scope(until=START + days * 86_400))
        self.exchanges, self.feedback = self._inner.exchanges, self._inner.feedback


def _exchange(id_: str, at: float, route: str, asked: int, answered: int, cost: Any) -> Exchange:
    money = nanos(cost(Usage(asked, answered)))
    hop = HopRow("gpt-4", "upstream", money, asked, answered, seconds=0.8)
    return Exchange(
        id=id_, at=at, tenant="bank", key="k", route=route, model=route, version="gpt-4", variant="gpt-4",
        input_tokens=asked, output_tokens=answered, cost=money, hops=[hop],
    )  # fmt: skip


# Kills


def kills(home: Path, mode: str, times: int = KILLS) -> dict[str, Any]:
    """Kill writers at random instants; what was acknowledged, or appended early enough, must be in the books."""
    rng = random.Random(7)
    told: dict[str, tuple[int, float]] = {}
    ends: list[tuple[set[str], float]] = []
    for turn in range(times):
        mine, killed = _one_kill(home, mode, turn, 0.3 + rng.random())
        told |= mine
        ends.append((set(mine), killed))
    store = open_store(home)
    shop = Workshop(store=store, key=home / "key", cache=home / "cache", currency="USD")
    view = ledger(shop, ["task", "day"])
    index, there, after = store.traffic.index, dict[str, int](), ""
    while True:
        page = index.exchanges(None, after=after, limit=5000)
        there |= {done.id: done.cost for done in page.rows}
        after = page.after
        if not after:
            break
    sums = index.totals(None), index.totals(None, hops=True)
    store.close()
    lost = [name for name in told if name not in there]
    oldest = max((killed - told[name][1] for names, killed in ends for name in names if name in lost), default=0.0)
    wrong = [name for name, (cost, _) in told.items() if name in there and there[name] != cost]
    total = sum(there.values())
    return {
        "kills": times,
        "told": len(told),
        "there": len(there),
        "lost": len(lost),
        "lost_seconds": round(oldest, 3),
        "exact": not wrong
        and view.reconciled.exact
        and total == view.sum.total == sums[0][0]["cost"] == sums[1][0]["cost"],
    }


def _one_kill(home: Path, mode: str, turn: int, after: float) -> tuple[dict[str, tuple[int, float]], float]:
    """What a writer told before it was killed: exchange -> (nano-units, when); and when that was."""
    told = home.parent / f"{mode}-{turn}.txt"
    told.touch()
    command = [
        sys.executable,
        "-c",
        f"from benchmarks.economics import write; write({str(home)!r}, {mode!r}, {turn}, {str(told)!r})",
    ]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1]) as child:
        while told.stat().st_size == 0 and child.poll() is None:
            time.sleep(0.01)
        time.sleep(after)
        os.kill(child.pid, signal.SIGKILL)
        killed = time.monotonic()
        child.wait()
    # The last line may be cut off; the others were whole before the kill.
    lines = [line.split() for line in told.read_text().split("\n")[:-1]]
    return {name: (int(cost), float(when)) for name, cost, when in lines}, killed


def write(home: str, mode: str, turn: int, told: str) -> None:
    """Write exchanges until killed; tell each that is acknowledged (sync) or appended (async). Runs in a child."""
    store = open_store(Path(home))
    log, rng = store.traffic.log(f"w{turn}"), random.Random(turn)
    place = os.open(told, os.O_WRONLY | os.O_APPEND)

    def one(number: int) -> Exchange:
        hops = [HopRow("v1", "local", rng.randrange(10**6), cpu_seconds=0.01)]
        hops += [HopRow("gpt-4", "upstream", rng.randrange(10**9), 900, 5) for _ in range(rng.randrange(3))]
        cost = sum(hop.cost for hop in hops)
        at = START + rng.random() * 5 * 86_400
        name = f"chatcmpl-{turn}-{number}"
        return Exchange(name, at, "bank", "k", "support", "support", task="t", variant="v1", cost=cost, hops=hops)

    def tell(done: Exchange) -> None:
        os.write(place, f"{done.id} {done.cost} {time.monotonic()}\n".encode())

    async def sync(worker: int) -> None:
        for number in count():
            done = one(number * 8 + worker)
            waiting = log.append(done, sync=True)
            assert waiting is not None
            await waiting
            tell(done)

    async def both() -> None:
        if mode == "sync":
            await asyncio.gather(*(sync(worker) for worker in range(8)))
        for number in count():
            done = one(number)
            log.append(done)
            tell(done)
            await asyncio.sleep(0.0005)

    asyncio.run(both())


def _print(figures: dict[str, Any], chain: dict[str, Any], kept: dict[str, Any]) -> None:
    show(
        f"Forecast of {DAYS - SEEN} days from {SEEN}, {SEEDS} drawn years each",
        ["years", "inside their 90 %#", "median off#", "worst off#", "within 10 %#", "median width#"],
        [
            (
                f["name"],
                f"{f['inside']} of {f['of']}",
                *(f"{f[k]:.1%}" for k in ("median_off", "worst_off", "within", "median_width")),
            )
            for f in figures.values()
        ],
    )
    show(
        "Killed writers",
        ["mode", "kills#", "told#", "in the books#", "told and lost#", "oldest lost, s#", "sums exact"],
        [
            (mode, k["kills"], k["told"], k["there"], k["lost"], k["lost_seconds"], k["exact"])
            for mode, k in kept.items()
        ],
    )
    said = f"{chain['expected']} ({chain['low']} to {chain['high']})"
    show(
        "One store: log, index, forecast, books, counters",
        ["exchanges#", "nano-dollars#", "exact", "counters equal", "forecast", "came true#"],
        [(chain["exchanges"], chain["nanos"], chain["exact"], chain["counters_equal"], said, chain["actual"])],
    )
