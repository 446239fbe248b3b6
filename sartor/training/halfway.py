"""The whole state of a training in mid-course, so that a killed one goes on and ends in the same bytes.

Kept are the trained weights, the head, the optimiser's moments, the schedule, the random states and the best epoch so
far; the frozen weights stand in the base. Where it is kept the caller's `Checkpoints` decides. Knows no files.
"""

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from sartor.core.jobs import Later, Stopped
from sartor.training.encoder import has_bfloat16
from sartor.training.job import Job

WHAT = "training the encoder"
log = logging.getLogger("sartor.training")


class Best(Protocol):
    """The best epoch so far."""

    weights: list[torch.Tensor]
    """Empty before the first was judged."""
    score: tuple[float, float] | None
    history: list[Any]


@dataclass(frozen=True)
class Course:
    """All that changes while a training runs."""

    weights: list[torch.Tensor]
    """Trained, the head's included; always in the same order."""
    optimiser: Any
    schedule: Any
    best: Best
    steps: int
    """Of the whole training."""

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that is large, by name."""
        found = {f"weights/{place:04}": weight.detach().cpu().numpy() for place, weight in enumerate(self.weights)}
        found |= {f"best/{place:04}": weight.cpu().numpy() for place, weight in enumerate(self.best.weights)}
        for place, moments in self.optimiser.state_dict()["state"].items():
            found |= {f"optimiser/{place:04}/{name}": moment.cpu().numpy() for name, moment in moments.items()}
        return found | {"random/torch": torch.random.get_rng_state().numpy()}

    def facts(self) -> dict[str, Any]:
        """The rest, as JSON."""
        return {
            "made_with": self.made_with(),
            "rates": [group["lr"] for group in self.optimiser.param_groups],
            "schedule": self.schedule.state_dict(),
            "random": random.getstate(),
            "score": self.best.score,
            "history": self.best.history,
        }

    def made_with(self) -> dict[str, Any]:
        """What must be alike for the bytes to be: else a state is of no use."""
        return {
            "torch": torch.__version__,
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "bfloat16": has_bfloat16(),
            "threads": torch.get_num_threads(),
            "steps": self.steps,
            "shapes": [list(weight.shape) for weight in self.weights],
        }

    def put_back(self, tensors: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Be as when `tensors` and `facts` were taken."""
        named: dict[str, dict[str, torch.Tensor]] = {}
        for name in sorted(tensors):
            kind, _, rest = name.partition("/")
            named.setdefault(kind, {})[rest] = torch.from_numpy(np.array(tensors[name]))
        with torch.no_grad():
            for weight, kept in zip(self.weights, named["weights"].values(), strict=True):
                weight.copy_(kept)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, moment in named.get("optimiser", {}).items():
            place, _, what = name.partition("/")
            moments.setdefault(int(place), {})[what] = moment
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})
        for group, rate in zip(self.optimiser.param_groups, facts["rates"], strict=True):
            group["lr"] = rate
        self.schedule.load_state_dict(dict(facts["schedule"]))
        self.best.weights = list(named.get("best", {}).values())
        self.best.score = None if facts["score"] is None else (facts["score"][0], facts["score"][1])
        self.best.history = list(facts["history"])
        version, state, gauss = facts["random"]
        random.setstate((version, tuple(state), gauss))
        torch.random.set_rng_state(named["random"]["torch"])


@dataclass
class Logbook:
    """Writes down from time to time how far a training is, and finds it again."""

    job: Job
    course: Course
    what: str = WHAT
    """What progress calls it."""
    _kept: int = field(default=0, init=False)
    _lost: int = field(default=0, init=False)
    _found: int = field(default=0, init=False)

    def resume(self) -> int | None:
        """Put back the newest state that fits; the steps done then. None: there is none, begin at the beginning."""
        found = None if self.job.checkpoints is None else self.job.checkpoints.load()
        if found is None:
            return None
        done, tensors, facts = found
        if facts.get("made_with") != self.course.made_with():
            log.warning("a checkpoint after %d steps was made with other software or threads: begun anew", done)
            return None
        self.course.put_back(tensors, facts)
        self._found = done
        return done

    def reached(self, done: int) -> None:
        """So many steps are done: tell, and keep the state if that is due, or if it is to go on later.

        Raises:
            Stopped, Later: as told by whoever watches.
        """
        try:
            self.job.progress(self.what, done, self.course.steps)
        except (Stopped, Later) as told:
            if isinstance(told, Later) or told.why == "pause":
                self._keep(done)
            raise
        if self.job.checkpoints is not None and self.job.checkpoints.due():
            self._keep(done)

    def measured(self) -> dict[str, Any]:
        """What keeping came to: no part of what is made."""
        counted = {"checkpoints": self._kept, "checkpoints_lost": self._lost, "resumed_after_steps": self._found}
        return {name: count for name, count in counted.items() if count}

    def _keep(self, done: int) -> None:
        if self.job.checkpoints is None:
            return
        try:
            self.job.checkpoints.save(done, self.course.tensors(), self.course.facts())
            self._kept += 1
        except OSError as error:
            # What is lost is only time, and only if the training is killed too: no reason to end it.
            self._lost += 1
            log.warning("a checkpoint after %d steps could not be kept, training goes on: %s", done, error)
