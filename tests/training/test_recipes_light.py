"""Recipes that need no torch: linear, head, blend."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sartor.core.errors import AskError
from sartor.core.shelf import Shelf
from sartor.training.calibration import loss
from sartor.training.heads import centroids, fit_head, novelty
from sartor.training.job import Draft, Job, Part

RECIPES = Shelf("sartor.training.recipes")

WORDS = {
    "card": ["my card is lost", "where is the new card", "the card was stolen", "card has not come", "block the card"],
    "cash": ["the machine kept my cash", "cash was wrong", "no cash came out", "withdraw cash abroad", "cash fee"],
    "rate": ["which exchange rate", "the rate is wrong", "rate for euros", "bad exchange rate", "how is the rate set"],
}


def toy(folder: Path, *, copies: int = 4, **more) -> Job:
    """Three intents, each text with small changes."""
    labels = tuple(sorted(WORDS))
    texts = [f"{text} {copy}x" for label in labels for text in WORDS[label] for copy in range(copies)]
    targets = np.repeat(np.arange(len(labels)), 5 * copies)
    folder.mkdir(parents=True, exist_ok=True)
    given = {"train_texts": texts, "train_targets": targets} | more
    return Job(labels=labels, validation_texts=texts[::3], validation_targets=targets[::3], folder=folder, **given)


def make(name: str, job: Job, **params) -> Draft:
    plugin = RECIPES.take(name)
    return plugin(job, plugin.read(params))


def linear_logits(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """The linear files as the contract describes them, read with scikit-learn."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    arrays, start, blocks = load_file(folder / "linear.safetensors"), 0, []
    for part in json.loads((folder / "vectorizer.json").read_text())["parts"]:
        made = TfidfVectorizer(
            analyzer=part["analyzer"],
            ngram_range=tuple(part["ngram"]),
            sublinear_tf=part["sublinear"],
            vocabulary=part["vocabulary"],
        )
        made.idf_ = arrays["idf"][start : start + len(part["vocabulary"])].astype(np.float64)
        start += len(part["vocabulary"])
        blocks.append(made.transform(texts))
    assert start == len(arrays["idf"])
    return hstack(blocks).tocsr() @ arrays["weight"].T.astype(np.float64) + arrays["bias"]


def bag(texts: Sequence[str]) -> np.ndarray:
    """A small real embedding: hashed words, length 1."""
    found = np.zeros((len(texts), 64), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in text.split():
            found[row, int(sha256(word.encode()).hexdigest(), 16) % 64] += 1.0
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def bytes_of(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*") if f.is_file()}


def static_base(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "model2vec"}')
    return folder


def test_linear_learns_and_its_files_say_what_it_learnt(tmp_path):
    job = toy(tmp_path / "a")
    draft = make("linear", job)
    assert draft.engine == "linear"
    assert set(draft.facts["cross_validated"]) == {"hinge 0.3", "hinge 1", "logistic 10", "logistic 30"}
    assert (linear_logits(job.folder, job.train_texts).argmax(axis=1) == job.train_targets).all()


def test_linear_is_the_same_bytes_again_whatever_the_threads(tmp_path):
    # A draw in between: the solver's random state is the process's, and must be set before each use.
    make("linear", toy(tmp_path / "a", threads=1))
    make("linear", toy(tmp_path / "c", seed=5))
    make("linear", toy(tmp_path / "b", threads=3))
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


@pytest.mark.parametrize("losses", [("hinge",), ("logistic",)])
def test_linear_with_a_label_that_no_row_has_never_answers_it(tmp_path, losses):
    job = toy(tmp_path / "a")
    kept = job.train_targets != 1
    few = toy(
        tmp_path / "b",
        train_texts=[t for t, k in zip(job.train_texts, kept, strict=True) if k],
        train_targets=job.train_targets[kept],
    )
    make("linear", few, losses=losses)
    assert set(linear_logits(few.folder, job.train_texts).argmax(axis=1)) == {0, 2}


def test_linear_keeps_groups_together_and_heeds_weights(tmp_path):
    rows = 60
    heavy = np.where(np.arange(rows) < 20, 2.5, 0.25)
    make("linear", toy(tmp_path / "a", train_groups=[f"g{i % 5}" for i in range(rows)], train_weights=heavy))
    make("linear", toy(tmp_path / "b"))
    assert bytes_of(tmp_path / "a")["linear.safetensors"] != bytes_of(tmp_path / "b")["linear.safetensors"]


def test_linear_of_one_label_answers_it(tmp_path):
    job = toy(tmp_path / "a", train_texts=["a word", "another word"], train_targets=np.array([2, 2]))
    make("linear", job)
    assert set(linear_logits(job.folder, ["whatever comes"]).argmax(axis=1)) == {2}


def test_head_learns_on_frozen_embeddings(tmp_path):
    job = toy(tmp_path / "a", base=static_base(tmp_path / "base"), embed=bag)
    draft = make("head", job)
    held = load_file(job.folder / "head.safetensors")
    logits = bag(job.train_texts) @ held["weight"].T + held["bias"]
    assert draft.engine == "static"
    assert (logits.argmax(axis=1) == job.train_targets).mean() > 0.95
    assert np.allclose(np.linalg.norm(held["centroids"], axis=1), 1.0, atol=1e-5)


def test_head_is_the_same_bytes_again(tmp_path):
    base = static_base(tmp_path / "base")
    for name in ("a", "b"):
        make("head", toy(tmp_path / name, base=base, embed=bag))
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_head_without_a_base_says_so(tmp_path):
    with pytest.raises(AskError, match="base"):
        make("head", toy(tmp_path / "a", embed=bag))


def test_fit_head_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    y = (x @ rng.normal(size=(6, 4)) + rng.normal(size=(300, 4))).argmax(axis=1)
    weights = rng.uniform(0.5, 1.5, size=300)
    ours = fit_head(x, y, 4, c=0.7, weights=weights / weights.mean(), steps=500)
    # Our penalty counts rows by their mean weight of 1, as scikit-learn does with weights of sum `rows`.
    theirs = LogisticRegression(C=0.7, tol=1e-8, max_iter=2000).fit(x, y, sample_weight=weights / weights.mean())
    assert np.allclose(ours.weight - ours.weight.mean(0), theirs.coef_ - theirs.coef_.mean(0), atol=5e-3)


def test_novelty_is_low_near_a_centroid_and_high_far_away():
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]
    centres = centroids(vectors, np.array([0, 0, 1, 1]), 3)
    assert np.allclose(centres, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    assert np.allclose(novelty(np.eye(4, dtype=np.float32), centres), [0, 0, 1, 1])


def parts_of(job: Job) -> tuple[Part, Part]:
    """Two models that know different things: one tells class 0 apart, the other class 2."""
    truth = np.eye(3)[job.validation_targets]
    unsure = np.full_like(truth, 1 / 3)
    first = np.where((job.validation_targets == 0)[:, None], 0.9 * truth + 0.1 / 3, unsure)
    second = np.where((job.validation_targets == 2)[:, None], 0.9 * truth + 0.1 / 3, unsure)
    return Part("first", "a" * 64, first), Part("second", "b" * 64, second)


def test_blend_is_better_than_either_part(tmp_path):
    job = toy(tmp_path / "a")
    job = toy(tmp_path / "a", parts=parts_of(job))
    facts = make("blend", job).facts
    assert facts["validation_loss"] < min(facts["validation_loss_alone"].values()) - 0.05
    written = json.loads((job.folder / "blend.json").read_text())
    assert [part["role"] for part in written["parts"]] == ["first", "second"]
    assert sum(part["weight"] for part in written["parts"]) == pytest.approx(1.0)


def test_blend_gives_no_weight_to_noise(tmp_path):
    job = toy(tmp_path / "a")
    said = np.where(np.arange(len(job.validation_targets)) % 4, job.validation_targets, 1)
    truth = np.eye(3)[said]
    noise = np.random.default_rng(0).dirichlet(np.full(3, 0.3), size=len(truth))
    good = Part("good", "a" * 64, 0.7 * truth + 0.1)
    facts = make("blend", toy(tmp_path / "a", parts=(good, Part("noise", "b" * 64, noise)))).facts
    assert facts["weights"]["noise"] <= 0.1
    assert facts["validation_loss"] <= loss(good.validation, job.validation_targets)


def test_blend_of_one_part_says_what_to_write(tmp_path):
    job = toy(tmp_path / "a")
    with pytest.raises(AskError, match="of:"):
        make("blend", toy(tmp_path / "a", parts=parts_of(job)[:1]))


def test_linear_beats_the_nearest_text_on_real_messages(tmp_path, data_folder):
    from sklearn.feature_extraction.text import CountVectorizer

    def rows(split: str) -> list[tuple[str, str]]:
        lines = (data_folder / "banking77" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        return [(row["text"], row["label"]) for row in map(json.loads, lines)]

    train, held = rows("train"), rows("train")[3::4]
    labels = tuple(sorted({label for _, label in train})[:15])
    seen = [row for place, row in enumerate(train) if row[1] in labels and place % 4 != 3][:600]
    held = [row for row in held if row[1] in labels]
    where = {label: place for place, label in enumerate(labels)}
    y, truth = (np.array([where[label] for _, label in part]) for part in (seen, held))
    (tmp_path / "a").mkdir()
    job = Job(labels, [t for t, _ in seen], y, [], np.array([], dtype=int), tmp_path / "a")
    make("linear", job)
    right = (linear_logits(job.folder, [t for t, _ in held]).argmax(axis=1) == truth).mean()
    counter = CountVectorizer(binary=True).fit(job.train_texts)
    shared = (counter.transform([t for t, _ in held]) @ counter.transform(job.train_texts).T).toarray()
    nearest = (y[shared.argmax(axis=1)] == truth).mean()
    assert right > nearest + 0.05
