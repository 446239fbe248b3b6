"""Going on from an earlier variant, and mixing two: on a tiny encoder made here."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sartor.core.errors import AskError
from sartor.training.heads import Head
from sartor.training.job import Job
from sartor.training.warm import _grown, carried
from sartor.training.weights import Side, interpolate

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from test_recipes_encoder import bytes_of, job_on, make, tiny  # noqa: E402, F401 - tiny is a fixture

OLD = ("card", "cash")
NEW = ("card", "cash", "rate")
HOW = {"tune": {"rate": 3e-3}, "adapter": {"rate": 2e-2}}


def job_of(base: Path, folder: Path, labels: tuple[str, ...], **more):
    """A job over only these labels, in this order."""
    return replace(on_labels(base, folder, labels), **more)


def on_labels(base: Path, folder: Path, labels: tuple[str, ...]):
    whole = job_on(base, folder)
    names = [whole.labels[y] for y in whole.train_targets]
    rows = [(t, labels.index(n)) for t, n in zip(whole.train_texts, names, strict=True) if n in labels]
    texts, targets = [t for t, _ in rows], np.array([y for _, y in rows])
    return Job(labels, texts, targets, texts, targets, folder, base=base)


@pytest.fixture(scope="module")
def earlier(tiny, tmp_path_factory):  # noqa: F811
    """A tuned variant and an adapter, both of two labels."""
    root = tmp_path_factory.mktemp("earlier")
    for recipe, how in HOW.items():
        make(recipe, on_labels(tiny, root / recipe, OLD), epochs=4, batch=8, **how)
    return root


@pytest.mark.parametrize("recipe", sorted(HOW))
def test_goes_on_where_the_earlier_one_ended(recipe, tiny, earlier, tmp_path):  # noqa: F811
    given = {"start": earlier / recipe, "start_labels": OLD}
    job = job_of(tiny, tmp_path / "a", ("cash", "card"), **given)
    draft = make(recipe, job, epochs=1, batch=8, rate=1e-9, head_rate=1e-9)
    before, after = (load_file(f / "head.safetensors")["weight"] for f in (earlier / recipe, tmp_path / "a"))
    assert np.allclose(after, before[::-1], atol=1e-5)  # the rows are where their labels are now
    assert draft.facts["validation"][0]["accuracy"] >= 0.95
    make(recipe, job_of(tiny, tmp_path / "b", ("cash", "card"), **given), epochs=1, batch=8, rate=1e-9, head_rate=1e-9)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


@pytest.mark.parametrize("recipe", sorted(HOW))
def test_a_new_label_begins_at_its_class(recipe, tiny, earlier, tmp_path):  # noqa: F811
    job = job_of(tiny, tmp_path / "a", NEW, start=earlier / recipe, start_labels=OLD)
    draft = make(recipe, job, epochs=1, batch=8, rate=1e-9, head_rate=1e-9)
    assert draft.facts["validation"][0]["accuracy"] >= 0.8


def test_a_new_label_scores_the_usual_on_the_middle_of_all():
    before = Head(np.array([[2.0, 0.0], [0.0, 2.0]], dtype=np.float32), np.array([0.5, -0.5], dtype=np.float32))
    centres = np.array([[1, 0], [0, 1], [-1, 0], [0, 0]], dtype=np.float32)
    grown = _grown(before, {"a": 0, "b": 1}, ("a", "b", "new", "without rows"), centres)
    middle = centres[:3].mean(axis=0)
    scores = grown.logits(middle[None])[0]
    assert scores[2] == pytest.approx(scores[:2].mean())
    assert grown.logits(centres[2:3])[0].argmax() == 2
    assert scores[3] == -10.0
    assert np.array_equal(grown.weight[:2], before.weight)


@pytest.mark.parametrize("recipe", sorted(HOW))
def test_no_epochs_fits_the_head_and_leaves_the_encoder(recipe, tiny, earlier, tmp_path):  # noqa: F811
    job = job_of(tiny, tmp_path / "a", NEW, start=earlier / recipe, start_labels=OLD)
    draft = make(recipe, job, epochs=0)
    assert draft.facts["validation"][0]["accuracy"] >= 0.95
    folder = "encoder/model.safetensors" if recipe == "tune" else "adapter/adapter_model.safetensors"
    before, after = load_file(earlier / recipe / folder), load_file(tmp_path / "a" / folder)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_what_does_not_fit_is_said(tiny, earlier, tmp_path):  # noqa: F811
    def told(recipe, start, labels=OLD, **params) -> str:
        job = job_of(tiny, tmp_path / "x", ("card", "rate"), start=start, start_labels=labels)
        with pytest.raises(AskError) as caught:
            make(recipe, job, **params)
        assert caught.value.code == "start_does_not_fit"
        return caught.value.message

    assert "recipe 'adapter'" in told("tune", earlier / "adapter")
    assert "rank 8 where rank 4" in told("adapter", earlier / "adapter", rank=4)
    assert "none of the labels" in told("tune", earlier / "tune", labels=("x", "y"))
    assert "2 outputs for 3 labels" in told("tune", earlier / "tune", labels=("card", "rate", "cash"))
    assert "no head" in told("tune", tiny)
    assert "begins anew" in told("linear", earlier / "tune")
    assert "begins anew" in told("blend", earlier / "tune")
    other = tmp_path / "other"
    shutil.copytree(earlier / "tune", other)
    config = (other / "encoder" / "config.json").read_text().replace('"hidden_size": 32', '"hidden_size": 64')
    (other / "encoder" / "config.json").write_text(config)
    assert "hidden_size 64" in told("tune", other)


def test_a_head_on_a_frozen_base_starts_from_its_earlier_one(tiny, tmp_path):  # noqa: F811
    def embed(texts):
        return np.array([[len(t), t.count("a"), t.count("c"), 1] for t in texts], dtype=np.float32) / 20

    make("head", job_of(tiny, tmp_path / "a", OLD, embed=embed), size="small")
    again = job_of(tiny, tmp_path / "b", NEW, embed=embed, start=tmp_path / "a", start_labels=OLD)
    rows = carried(again, "head", lambda: (embed(again.train_texts), again.train_targets))
    assert np.array_equal(rows.weight[:2], load_file(tmp_path / "a" / "head.safetensors")["weight"])
    assert make("head", again, size="small").engine == "encoder"


@pytest.mark.parametrize("recipe", sorted(HOW))
def test_between_two_variants_lies_a_third(recipe, tiny, earlier, tmp_path):  # noqa: F811
    job = job_of(tiny, tmp_path / "later", NEW, start=earlier / recipe, start_labels=OLD)
    make(recipe, job, epochs=1, batch=8)
    sides = Side(earlier / recipe, OLD), Side(tmp_path / "later", NEW)
    for share in (0.0, 0.5, 1.0):
        interpolate(*sides, share, NEW, tmp_path / f"mix{share}")
    heads = [load_file(f / "head.safetensors")["weight"] for f in (earlier / recipe, tmp_path / "later")]
    mixed = load_file(tmp_path / "mix0.5" / "head.safetensors")["weight"]
    assert np.allclose(mixed[:2], (heads[0] + heads[1][:2]) / 2, atol=1e-6)
    assert np.array_equal(mixed[2], heads[1][2])  # only the later one knows it
    weights = "encoder/model.safetensors" if recipe == "tune" else "adapter/adapter_model.safetensors"
    ends = [load_file(tmp_path / f"mix{share}" / weights) for share in (0.0, 1.0)]
    for end, folder in zip(ends, (earlier / recipe, tmp_path / "later"), strict=True):
        assert all(np.array_equal(end[key], value) for key, value in load_file(folder / weights).items())
    names = {str(f.relative_to(tmp_path / "later")) for f in (tmp_path / "later").rglob("*")}
    assert {str(f.relative_to(tmp_path / "mix0.5")) for f in (tmp_path / "mix0.5").rglob("*")} == names
    from sartor.serving.engine import open_engine

    engine = open_engine("encoder", tiny, threads=1)
    engine.add("mix", tmp_path / "mix0.5")
    assert len(engine.score([("mix", "my card is wrong")])[0].logits) == 3


def test_variants_that_can_not_be_mixed_say_why(earlier, tmp_path):
    tuned, adapter = Side(earlier / "tune", OLD), Side(earlier / "adapter", OLD)
    with pytest.raises(AskError, match="their weights are in"):
        interpolate(tuned, adapter, 0.5, OLD, tmp_path / "a")
    with pytest.raises(AskError, match="neither answers rate"):
        interpolate(tuned, tuned, 0.5, NEW, tmp_path / "b")
    with pytest.raises(AskError, match="one output a label"):
        interpolate(tuned, Side(earlier / "tune", NEW), 0.5, NEW, tmp_path / "c")
