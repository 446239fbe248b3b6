"""Made-up subjects whose true quality is known, so that what evaluation says about them can be checked."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from sartor.core.licence import Licence
from sartor.core.records import Report
from sartor.core.rows import Hierarchy
from sartor.core.task import Task
from sartor.evaluation.answers import Answers
from sartor.evaluation.terms import Terms

CONTRACT = {
    "name": "made-up",
    "data": {"sources": [{"use": "csv"}], "slices": ["site"]},
    "value": {"wrong": 1.0, "levels": {"chapter": 0.5}, "escalate": {"price": 0.3, "error_rate": 0.05}},
    "candidates": [{"recipe": "linear"}, {"recipe": "head", "base": "minilm"}],
    "incumbent": {"kind": "live"},
    "gate": {"guards": {"accuracy": 0.02}, "max_calibration_error": 0.5},
}


@dataclass(frozen=True)
class World:
    """A task, its terms, and rows with truths."""

    task: Task
    terms: Terms
    true: np.ndarray

    def subject(self, accuracy: float, seed: int, *, escalated: float = 0.0) -> Answers:
        """Answers that are right with a known chance; wrong ones fall anywhere."""
        random = np.random.default_rng(seed)
        n, size = len(self.true), len(self.terms.labels)
        off = (self.true + random.integers(1, size, n)) % size
        answer = np.where(random.random(n) < accuracy, self.true, off).astype(np.int32)
        sure = random.uniform(0.5, 1.0, n)
        probabilities = np.repeat(((1 - sure) / (size - 1))[:, None], size, axis=1)
        probabilities[np.arange(n), answer] = sure
        return Answers(
            ids=np.array([f"r{i}" for i in range(n)]),
            true=self.true,
            answer=answer,
            escalated=random.random(n) < escalated,
            serving_cost=np.zeros(n),
            probabilities=probabilities.astype(np.float32),
            slices={"site": np.array([f"s{i % 4}" for i in range(n)])},
        )

    def plain(self, accuracy: float, seed: int, *, escalated: float = 0.0) -> Answers:
        """The same without probabilities, so that the terms can't change the answers."""
        return replace(self.subject(accuracy, seed, escalated=escalated), probabilities=None)


def make_world(rows: int, labels: int = 6, *, contract: dict | None = None, seed: int = 0) -> World:
    task = Task.model_validate(CONTRACT | (contract or {}))
    names = tuple(f"l{i:03}" for i in range(labels))
    hierarchy = Hierarchy(("chapter",), {name: (f"c{i // 3}",) for i, name in enumerate(names)})
    true = np.random.default_rng(1000 + seed).integers(0, labels, rows).astype(np.int32)
    return World(task, replace(Terms.of(task, names, hierarchy), draws=1000), true)


def make_report(title: str, **changes) -> Report:
    facts = {"licence": Licence.of("MIT", "owned").model_dump(mode="json"), "errors": []}
    measured = {"latency_ms": 1.0, "latency_p95_ms": 2.0, "unit_cost": 1e-6}
    return Report(subject=title, title=title, **({"facts": facts, "measured": measured} | changes))


@pytest.fixture
def world():
    return make_world


@pytest.fixture
def report():
    return make_report
