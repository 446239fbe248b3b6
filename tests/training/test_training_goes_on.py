"""A training that was stopped in the middle and goes on ends in the bytes of one that was left alone."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sartor.core.jobs import Later, Stopped

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from test_recipes_encoder import bytes_of, job_on, make, tiny  # noqa: E402, F401 - tiny is a fixture

HOW = {"epochs": 3, "batch": 8}
STEPS = 3 * 6


class Drawer:
    """States in memory, as bytes: what is kept must not change with the training."""

    def __init__(self, *, full: bool = False) -> None:
        self.states: dict[int, tuple[dict, dict]] = {}
        self.full = full

    def due(self) -> bool:
        return True

    def save(self, at, tensors, facts) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.states[at] = {name: value.copy() for name, value in tensors.items()}, json.loads(json.dumps(facts))

    def load(self):
        if not self.states:
            return None
        at = max(self.states)
        tensors, facts = self.states[at]
        return at, tensors, facts


class Cut(BaseException):
    """What stands for a kill here."""


def cut_at(step, error=Cut):
    def progress(what, done, total):
        if what == "training the encoder" and done == step:
            raise error

    return progress


@pytest.mark.parametrize("recipe", ["tune", "adapter"])
def test_ends_in_the_same_bytes(recipe, tiny, tmp_path):  # noqa: F811
    draft = make(recipe, job_on(tiny, tmp_path / "alone", seed=3), **HOW)
    for step in (1, 6, 7, 12, STEPS):  # in an epoch, at its end, at the very end
        drawer = Drawer()
        with pytest.raises(Cut):
            make(recipe, job_on(tiny, tmp_path / "cut", seed=3, checkpoints=drawer, progress=cut_at(step)), **HOW)
        assert sorted(drawer.states) == list(range(1, step))  # the last step was not told of as kept
        drawer.states = {at: state for at, state in drawer.states.items() if at >= step - 2}
        torch.manual_seed(step)  # another process draws other numbers
        again = make(recipe, job_on(tiny, tmp_path / f"on{step}", seed=3, checkpoints=drawer), **HOW)
        assert bytes_of(tmp_path / f"on{step}") == bytes_of(tmp_path / "alone")
        assert again.facts == draft.facts
        assert again.measured.get("resumed_after_steps", 0) == step - 1


def test_told_to_pause_it_keeps_what_it_has(tiny, tmp_path):  # noqa: F811
    drawer = Drawer()
    drawer.due = lambda: False
    job = job_on(tiny, tmp_path / "a", checkpoints=drawer)
    with pytest.raises(Stopped):
        make("adapter", replace(job, progress=cut_at(5, Stopped("cancel"))), **HOW)
    assert not drawer.states
    with pytest.raises(Stopped):
        make("adapter", replace(job, progress=cut_at(5, Stopped("pause"))), **HOW)
    assert list(drawer.states) == [5]
    with pytest.raises(Later):
        make("adapter", replace(job, progress=cut_at(9, Later(0.0, "the worker was stopped"))), **HOW)
    assert max(drawer.states) == 9


def test_no_room_for_a_checkpoint_does_not_end_the_training(tiny, tmp_path, caplog):  # noqa: F811
    alone = make("adapter", job_on(tiny, tmp_path / "alone"), **HOW)
    draft = make("adapter", job_on(tiny, tmp_path / "full", checkpoints=Drawer(full=True)), **HOW)
    assert bytes_of(tmp_path / "full") == bytes_of(tmp_path / "alone")
    assert draft.facts == alone.facts
    assert draft.measured["checkpoints_lost"] == STEPS
    assert "training goes on" in caplog.text
    assert "No space left" in caplog.text


def test_a_state_of_other_software_or_shapes_is_left(tiny, tmp_path, caplog):  # noqa: F811
    drawer = Drawer()
    make("adapter", job_on(tiny, tmp_path / "a", checkpoints=drawer), **HOW)
    at, tensors, facts = drawer.load()
    made_with = {**facts["made_with"], "torch": "0.1"}
    drawer.states = {at: (tensors, {**facts, "made_with": made_with})}
    draft = make("adapter", job_on(tiny, tmp_path / "b", checkpoints=drawer), **HOW)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert "resumed_after_steps" not in draft.measured
    assert "begun anew" in caplog.text


@pytest.mark.train
def test_the_real_minilm_goes_on(tmp_path, base_folder):
    base, rows = base_folder("minilm"), {"epochs": 2, "batch": 8}
    whole = job_on(base, tmp_path / "x")
    few = slice(0, None, 3)
    given = {
        "train_texts": whole.train_texts[few],
        "train_targets": np.asarray(whole.train_targets)[few],
        "validation_texts": whole.validation_texts[few],
        "validation_targets": np.asarray(whole.validation_targets)[few],
    }
    make("tune", job_on(base, tmp_path / "alone", **given), **rows)
    drawer = Drawer()
    with pytest.raises(Cut):
        make("tune", job_on(base, tmp_path / "cut", checkpoints=drawer, progress=cut_at(4), **given), **rows)
    make("tune", job_on(base, tmp_path / "on", checkpoints=drawer, **given), **rows)
    assert bytes_of(tmp_path / "on") == bytes_of(tmp_path / "alone")
