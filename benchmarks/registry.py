"""The registry at 1,000, 10,000 and 100,000 variants, operation by operation, beside MLflow at 1,000 in the same run.

Both stand on SQLite with `synchronous=FULL`: an answer means that the disk has it. Rounds go forth and back over all
stores (ABBA), so that a slow moment of the machine hits all of them; figures are medians of wall-clock time. MLflow is
asked through its own client in the same process, without a server, which is its fastest way.

What stands beside what:
  pointer   name -> which variant, and why         alias -> the whole model version: it has no less
  read      name -> the whole variant              alias -> the whole model version
  search    task, recipe and base, 10 results      name and two tags, 10 results
  lineage   variant, its base, its data set        the same three as model versions, linked by tags
  register  one variant, one version, durable      one model version with four tags
  batch     1,000 variants, one call               1,000 calls: it has no batch
  rollback  decision kept, live and previous       two aliases set: not together, no decision
            swapped in one transaction
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from sartor.core.licence import Licence
from sartor.core.records import Base, Dataset, Decision, Variant
from sartor.registry.lineage import lineage
from sartor.registry.releases import release, rollback, standing
from sartor.registry.variants import register, register_many, resolve, search
from sartor.store.opening import Store, open_store

SIZES = (1_000, 10_000, 100_000)
A_TASK = 100
"""Variants of one task: a store grows by tasks, as a company does."""
RECIPES, BASES = 5, 2
"""A task's variants spread evenly, so that task, recipe and base together always find ten."""
BATCH = 1_000
REPEATS = {"pointer": 40, "read": 40, "search": 20, "lineage": 20, "register": 10, "rollback": 10, "batch": 4}
ROUNDS = {"pointer": 8, "read": 8, "search": 8, "lineage": 8, "register": 6, "rollback": 6, "batch": 1}
READS, SINGLES = ("pointer", "read", "search", "lineage"), ("register", "rollback")
GOAL_READS, GOAL_SINGLES, GOAL_GROWTH = 20.0, 2.0, 2.0
PEER = "mlflow 1,000"
LABELS = ("no", "yes")
LICENCE = Licence.of("Apache-2.0")

Actions = dict[str, Callable[[], object]]
"""Operation -> what does it once, each time to another task or variant."""


def run() -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    with TemporaryDirectory() as temp:
        stores = {f"sartor {size:,}": _Ours(Path(temp) / str(size), size) for size in SIZES}
        peer = _Mlflow(Path(temp) / "mlflow", SIZES[0])
        sides = {name: ours.actions for name, ours in stores.items()} | {PEER: peer.actions}
        taken = {operation: _measure(operation, sides) for operation in REPEATS}
        settings = {"sartor": stores["sartor 1,000"].settings, "mlflow": peer.settings}
    return _judge(taken, settings)


def _measure(operation: str, sides: dict[str, Actions]) -> dict[str, float]:
    """Median seconds of one call, for each side."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS[operation]):
        for name in (*sides, *reversed(sides)):
            act = sides[name][operation]
            # The peer's batch takes half a minute: once a visit is enough.
            for _ in range(1 if (operation, name) == ("batch", PEER) else REPEATS[operation]):
                started = time.perf_counter()
                act()
                seconds[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}


def _judge(taken: dict[str, dict[str, float]], settings: dict[str, Any]) -> dict[str, Any]:
    small, large = f"sartor {SIZES[0]:,}", f"sartor {SIZES[-1]:,}"
    faster = {op: times[PEER] / times[small] for op, times in taken.items()}
    slower = {op: times[large] / times[small] for op, times in taken.items()}
    met = (
        all(faster[op] >= GOAL_READS for op in (*READS, "batch"))
        and all(faster[op] >= GOAL_SINGLES for op in SINGLES)
        and all(ratio <= GOAL_GROWTH for ratio in slower.values())
    )
    _print(taken, faster, slower)
    figures = {
        "milliseconds": {op: {k: round(v * 1e3, 4) for k, v in times.items()} for op, times in taken.items()},
        "times_faster_than_mlflow": {op: round(ratio, 1) for op, ratio in faster.items()},
        "times_slower_at_100000": {op: round(ratio, 2) for op, ratio in slower.items()},
        "sqlite": settings,
    }
    goals = {
        "reads and batch, times faster than mlflow": GOAL_READS,
        "single durable writes, times faster": GOAL_SINGLES,
        "at 100,000, at most times slower than at 1,000": GOAL_GROWTH,
    }
    return {"benchmark": "registry", "figures": figures, "goals": goals, "met": met}


def _print(taken: dict[str, dict[str, float]], faster: dict[str, float], slower: dict[str, float]) -> None:
    from rich import print as show
    from rich.table import Table

    names = list(next(iter(taken.values())))
    table = Table(title="Registry: milliseconds a call, medians (batch: a call for 1,000 variants)")
    for column in ("operation", *names, "faster than mlflow", "slower at 100,000"):
        table.add_column(column, justify="left" if column == "operation" else "right")
    for operation, times in taken.items():
        cells = [f"{times[name] * 1e3:,.3f}" for name in names]
        table.add_row(operation, *cells, f"{faster[operation]:,.0f} ×", f"{slower[operation]:.2f} ×")
    show(table)


def _variant(task: str, number: int, parents: dict[str, str]) -> Variant:
    """The variant of this number in its task."""
    return Variant(
        name=f"{task}/{number}",
        task=task,
        recipe=f"recipe-{number % RECIPES}",
        base=f"base-{number // RECIPES % BASES}",
        title=f"candidate {number % 7}",
        data=parents["data"],
        engine="encoder",
        labels=LABELS,
        params={"size": "medium", "rate": 0.001},
        seed=number,
        parents=parents,
        files={"head.safetensors": f"{number:064x}", "calibration.json": f"{number + 1:064x}"},
        licence=LICENCE,
    )


@dataclass
class _Ours:
    """A store filled to a size, and the operations on it."""

    root: Path
    size: int
    turns: Iterator[int] = field(default_factory=count)
    """Numbers that never repeat, so that each call touches another task and writes something new."""

    def __post_init__(self) -> None:
        self.store: Store = open_store(self.root)
        base = Base(name="base", tier="small", engine="encoder", licence=LICENCE)
        data = Dataset(name="data", task="any", labels=LABELS, counts={}, licence=LICENCE)
        self.parents = dict(zip(("base", "data"), self.store.ledger.put_many([base, data]), strict=True))
        self.tasks = [f"task-{i}" for i in range(self.size // A_TASK)]
        all_variants = [_variant(task, n, self.parents) for task in self.tasks for n in range(A_TASK)]
        for start in range(0, self.size, BATCH):
            register_many(self.store.ledger, all_variants[start : start + BATCH])
        for task in self.tasks[:200]:
            for number in (0, 1):
                release(self.store.ledger, self._decision(task, _variant(task, number, self.parents).digest))
        self.actions: Actions = {
            "pointer": lambda: resolve(self.store.ledger, f"{self._task()}@live"),
            "read": lambda: self.store.ledger.get(resolve(self.store.ledger, f"{self._task()}@live").digest),
            "search": self._search,
            "lineage": lambda: lineage(self.store.ledger, resolve(self.store.ledger, self._task()).digest),
            "register": lambda: register(self.store.ledger, _variant(self._task(), self._fresh(), self.parents)),
            "rollback": self._rollback,
            "batch": self._batch,
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What the ledger's own connections are set to."""
        with self.store.ledger.database.write() as connection:
            return _pragmas(connection)

    def _task(self) -> str:
        """One of the first 200 tasks, each in turn."""
        return self.tasks[next(self.turns) % min(len(self.tasks), 200)]

    def _fresh(self) -> int:
        return A_TASK + next(self.turns)

    def _decision(self, task: str, candidate: str, verb: str = "release") -> Decision:
        why = {"contract": "0" * 64, "incumbent": "person", "verdict": "ship", "who": f"turn {next(self.turns)}"}
        return Decision.model_validate({"verb": verb, "task": task, "candidate": candidate, **why})

    def _search(self) -> None:
        found = search(self.store.ledger, task=self._task(), recipe="recipe-1", base="base-1")
        assert len(found) >= A_TASK // (RECIPES * BASES)

    def _rollback(self) -> None:
        stands = standing(self.store.ledger, self._task())
        assert stands.previous is not None
        rollback(self.store.ledger, self._decision(stands.task, stands.previous, "rollback"))

    def _batch(self) -> None:
        fresh = self._fresh()
        made = [_variant(f"new-{fresh}-{n // A_TASK}", n, self.parents) for n in range(BATCH)]
        register_many(self.store.ledger, made)


@dataclass
class _Mlflow:
    """MLflow's registry, filled to the same size, and the same operations on it."""

    root: Path
    size: int
    turns: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.root.mkdir()
        place = f"sqlite:///{self.root / 'mlflow.db'}"
        self.client = MlflowClient(tracking_uri=place, registry_uri=place)
        for name in ("base", "data"):
            self._create(name, 0)
        self.tasks = [f"task-{i}" for i in range(self.size // A_TASK)]
        for task in self.tasks:
            for number in range(A_TASK):
                self._create(task, number)
            for alias, version in (("live", "2"), ("previous", "1")):
                self.client.set_registered_model_alias(task, alias, version)
        self.actions: Actions = {
            "pointer": lambda: self.client.get_model_version_by_alias(self._task(), "live"),
            "read": lambda: self.client.get_model_version_by_alias(self._task(), "live"),
            "search": self._search,
            "lineage": self._lineage,
            "register": lambda: self._create(self._task(), A_TASK + next(self.turns)),
            "rollback": self._rollback,
            "batch": self._batch,
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What its own connections are set to."""
        with self.client._get_registry_client().store.engine.connect() as connection:  # noqa: SLF001  no public way
            return _pragmas(connection)

    def _task(self) -> str:
        return self.tasks[next(self.turns) % len(self.tasks)]

    def _create(self, name: str, number: int) -> None:
        if number == 0:
            self.client.create_registered_model(name)
        tags = {"recipe": f"recipe-{number % RECIPES}", "base": f"base-{number // RECIPES % BASES}"}
        links = {} if name in ("base", "data") else {"from.base": "base/1", "from.data": "data/1"}
        self.client.create_model_version(name, f"file:///models/{name}/{number}", tags=tags | links)

    def _search(self) -> None:
        wanted = f"name='{self._task()}' and tag.recipe='recipe-1' and tag.base='base-1'"
        assert len(self.client.search_model_versions(wanted, max_results=100)) >= A_TASK // (RECIPES * BASES)

    def _lineage(self) -> None:
        version = self.client.get_model_version_by_alias(self._task(), "live")
        for link in ("from.base", "from.data"):
            self.client.get_model_version(*version.tags[link].split("/"))

    def _rollback(self) -> None:
        task = self._task()
        stands = self.client.get_registered_model(task).aliases
        self.client.set_registered_model_alias(task, "live", stands["previous"])
        self.client.set_registered_model_alias(task, "previous", stands["live"])

    def _batch(self) -> None:
        fresh = next(self.turns)
        for n in range(BATCH):
            self._create(f"new-{fresh}-{n // A_TASK}", n % A_TASK)


def _pragmas(connection: Any) -> dict[str, Any]:
    asked = ("synchronous", "journal_mode")
    found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked}
    return found | {"version": connection.exec_driver_sql("SELECT sqlite_version()").scalar()}
