"""CPU time and latency that a gateway adds to a request, ours beside others', all in one run.

An nginx that answers at once is the upstream, `wrk` with one thread and eight connections the load. Each gateway runs
with what it has: ours with access keys, limits, a route, full capture and metrics on. CPU is user and system time of
the gateway's whole process tree, divided by the answers. Rounds are short and in ABBA order; the median counts, and a
row whose rounds spread by more than 15 % (interquartile range over median) is void. nginx as a plain proxy shows what
the machine can do at best. How the others are installed stands in `_peers`.

    python -m benchmarks gateway [--rounds 6] [--seconds 3] [--without litellm]
"""

import argparse
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._mock import nginx, proxy_config, upstream_config
from benchmarks._ours import Ours, ask, captured, declare, fresh, ours, release_desk
from benchmarks._peers import PEERS, Contestant, Round, free_port, litellm, load, tensorzero, tree_cpu
from benchmarks._shared import ROOT, result, show

WORK = ROOT / ".sartor" / "bench-gateway"
STREAM: Mapping[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
WIDEST = 0.15
KILLS = 3
FEATURES = (
    ("checks an access key", "no", "no", "one master key", "yes, hashed, scoped, expiring"),
    ("limits per key, tenant, route", "no", "no", "not without a database", "yes, in requests, tokens and money"),
    ("routes by name with a policy", "no", "yes", "yes", "yes"),
    ("validates and rebuilds the answer", "no", "yes", "yes", "no: relayed as it is, usage and price read"),
    ("keeps request and answer", "no", "no (no database)", "no (no database)", "yes, redacted, on disk"),
    ("metrics", "no", "yes", "off", "yes"),
)
"""What each of them does with a request in this benchmark: nginx, TensorZero, LiteLLM, Sartor."""

Peer = Callable[[Path, str], AbstractContextManager[Contestant]]
PEERS_HERE: Mapping[str, tuple[str, Peer]] = {"tensorzero": ("tz", tensorzero), "litellm": ("ll", litellm)}


@dataclass
class Row:
    """The rounds of one gateway."""

    rounds: list[Round] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Of one figure over the rounds."""
        return statistics.median(getattr(r, name) for r in self.rounds)

    @property
    def spread(self) -> float:
        """Interquartile range of the CPU time over its median."""
        low, _, high = statistics.quantiles([r.cpu_us for r in self.rounds], n=4)
        return (high - low) / self.median("cpu_us") if self.median("cpu_us") else 0.0

    def figures(self, direct: "Row") -> dict[str, Any]:
        """As JSON; what is added is the difference to asking the upstream directly."""
        return {
            "cpu_us": self.median("cpu_us"),
            "spread": self.spread,
            "void": self.spread > WIDEST,
            "per_second": self.median("per_second"),
            "added_p50_ms": self.median("p50_ms") - direct.median("p50_ms"),
            "added_p99_ms": self.median("p99_ms") - direct.median("p99_ms"),
            "failed": sum(r.failed for r in self.rounds),
            "rounds": [round(r.cpu_us, 1) for r in self.rounds],
        }


def run() -> dict[str, Any]:
    """Plain and streamed answers through every gateway, a local model, and kills."""
    parser = argparse.ArgumentParser(prog="gateway")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], help="peers to leave out")
    given = parser.parse_args()
    before = os.getloadavg()
    figures: dict[str, Any] = {"load_average_before": before}
    home = fresh(WORK)
    release_desk(home)
    with ExitStack() as stack:
        up, limit = free_port(), free_port()
        mock = stack.enter_context(nginx(WORK / "up", upstream_config(up), up))
        proxy = stack.enter_context(nginx(WORK / "proxy", proxy_config(limit, up), limit))
        declare(
            home,
            {"mock": f"http://127.0.0.1:{up}/v1", "mock-stream": f"http://127.0.0.1:{up}/stream/v1"},
            [
                {"name": "chat", "policy": "mock"},
                {"name": "streamed", "policy": "mock-stream"},
                {"name": "local", "policy": "desk@live", "task": "desk"},
                {"name": "local-kept", "policy": "desk@live", "task": "desk", "capture": {"durability": "sync"}},
            ],
        )
        server = stack.enter_context(ours(home))
        for kind, path, extra, route in (("plain", "", {}, "chat"), ("streamed", "/stream", STREAM, "streamed")):
            at = "/v1/chat/completions"
            who = [
                Contestant("direct", f"http://127.0.0.1:{up}{path}{at}", mock),
                Contestant("nginx", f"http://127.0.0.1:{limit}{path}{at}", proxy),
                _sartor(server, route),
            ]
            with ExitStack() as others:
                who += _peers(others, f"http://127.0.0.1:{up}{path}/v1", given.without)
                figures[kind] = _race(kind, who, given.rounds, given.seconds, extra)
        figures["local"] = _local(server, given.rounds, given.seconds)
        server.stop()
    figures["kills"] = _kills(home)
    figures["load_average_after"] = os.getloadavg()
    show("What each does here", ("", "nginx", "tensorzero", "litellm", "sartor"), FEATURES)
    print(f"load average before {before}, after {figures['load_average_after']}")
    return result("gateway", figures, _goals(figures))


def _goals(figures: Mapping[str, Any]) -> dict[str, bool]:
    plain, goals = figures["plain"], {}
    for name, part in (("tensorzero", 2), ("litellm", 40)):
        peer = plain.get(name)
        good = peer is not None and not peer["void"] and plain["sartor"]["cpu_us"] * part <= peer["cpu_us"]
        goals[f"CPU at most 1/{part} of {name}"] = bool(good)
    goals["local at most 150 us beside the model"] = figures["local"]["beside_us"] <= 150
    goals["no failed request"] = not any(row["failed"] for k in ("plain", "streamed") for row in figures[k].values())
    goals["no acknowledged record lost"] = figures["kills"]["lost"] == 0 and figures["kills"]["acknowledged"] > 0
    return goals


def _sartor(server: Ours, route: str) -> Contestant:
    headers = {"Authorization": f"Bearer {server.key}"}
    return Contestant("sartor", f"{server.url}/chat/completions", server.process, {"model": route}, headers)


def _peers(stack: ExitStack, base: str, without: Sequence[str]) -> list[Contestant]:
    found = []
    for name, (folder, start) in PEERS_HERE.items():
        if name in without or not (PEERS / folder).is_dir():
            print(f"{name} is left out{'' if name in without else f': there is no {PEERS / folder}'}")
            continue
        found.append(stack.enter_context(start(WORK, base)))
    return found


def _race(
    kind: str, who: Sequence[Contestant], rounds: int, seconds: int, extra: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    rows = {one.name: Row() for one in who}
    for one in who:
        load(one, WORK, seconds=1, extra=extra)  # to warm up
    for number in range(rounds):
        for one in who if number % 2 == 0 else reversed(who):
            rows[one.name].rounds.append(load(one, WORK, seconds=seconds, extra=extra))
    found = {name: row.figures(rows["direct"]) for name, row in rows.items()}
    show(
        f"{kind}: {rounds} rounds of {seconds:g} s, wrk -t1 -c8",
        ("gateway", "CPU us/request#", "spread#", "requests/s#", "added p50 ms#", "added p99 ms#", "failed#", ""),
        [
            (
                name,
                row["cpu_us"],
                f"{row['spread']:.0%}",
                f"{row['per_second']:,.0f}",
                row["added_p50_ms"],
                row["added_p99_ms"],
                row["failed"],
                "void" if row["void"] else "",
            )
            for name, row in found.items()
        ],
    )
    return found


def _local(server: Ours, rounds: int, seconds: int) -> dict[str, float]:
    """A route to a local linear model: all CPU of the process, less what the model's own batches took."""
    who, beside, model, rates = _sartor(server, "local"), [], [], []
    load(who, WORK, seconds=1)
    for _ in range(rounds):
        hops, cpu = _hop_seconds(server), tree_cpu(who.pid)
        done = load(who, WORK, seconds=seconds)
        spent, own = tree_cpu(who.pid) - cpu, _hop_seconds(server) - hops
        beside.append((spent - own) / done.requests * 1e6)
        model.append(own / done.requests * 1e6)
        rates.append(done.per_second)
    found = {
        "beside_us": statistics.median(beside),
        "model_us": statistics.median(model),
        "per_second": statistics.median(rates),
    }
    show("local: a linear model of four labels", tuple(f"{name}#" for name in found), [tuple(found.values())])
    return found


def _hop_seconds(server: Ours) -> float:
    """CPU seconds that local models took since the start, as the metrics say."""
    import urllib.request

    request = urllib.request.Request(f"{server.admin}/metrics", headers={"authorization": f"Bearer {server.key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(x.rpartition(" ")[2]) for x in lines if x.startswith("sartor_hop_cpu_seconds_total{"))


def _kills(home: Path) -> dict[str, int]:
    """`kill -9` of the server at random moments under load on a route that keeps before it answers."""
    acknowledged: set[str] = set()
    draw = random.Random(0)
    with ExitStack() as stack:
        for _ in range(KILLS):
            server = stack.enter_context(ours(home))
            stop = threading.Event()

            def keep_asking(server: Ours = server, stop: threading.Event = stop) -> None:
                while not stop.is_set():
                    try:
                        status, said = ask(server, "local-kept")
                    except OSError:
                        return
                    if status == 200:
                        acknowledged.add(said["id"])

            threads = [threading.Thread(target=keep_asking) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(draw.uniform(1.0, 2.0))
            server.process.send_signal(signal.SIGKILL)
            stop.set()
            for thread in threads:
                thread.join()
            server.process.communicate()
    kept = captured(home)["ids"]
    found = {"kills": KILLS, "acknowledged": len(acknowledged), "lost": len(acknowledged - kept)}
    show("kill -9 with durability sync", tuple(f"{name}#" for name in found), [tuple(found.values())])
    return found
