"""The student recipe: soft targets, labels that spread, unlabelled texts, on tiny bases made here."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from test_recipes_encoder import FRAMES, SUBJECTS, bytes_of, job_on, make, tiny_encoder  # noqa: E402

from sartor.core.errors import AskError  # noqa: E402
from sartor.serving.engine import open_engine  # noqa: E402
from sartor.training.encoder import load  # noqa: E402
from sartor.training.heads import fit_head  # noqa: E402
from sartor.training.job import Job, Part  # noqa: E402
from sartor.training.loop import Soft  # noqa: E402
from sartor.training.spreading import Known, neighbours, spread, spread_labels  # noqa: E402
from sartor.training.taught import cooled, words  # noqa: E402

LABELS = tuple(sorted(SUBJECTS))


def all_texts() -> tuple[list[str], np.ndarray]:
    rows = [(f.format(word), place) for place, label in enumerate(LABELS) for word in SUBJECTS[label] for f in FRAMES]
    return [text for text, _ in rows], np.array([label for _, label in rows])


def bag(texts) -> np.ndarray:
    """Embeddings in which each word is a direction; subjects of one label lean to each other."""
    everything = sorted({w for s in SUBJECTS.values() for w in s} | {w for f in FRAMES for w in f.split()})
    found = np.zeros((len(texts), len(everything) + 3), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in text.split():
            if word in everything:
                found[row, everything.index(word)] += 0.4
            for place, label in enumerate(LABELS):
                found[row, len(everything) + place] += word in SUBJECTS[label]
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="module")
def static(tmp_path_factory) -> Path:
    """A static base in the model2vec layout, of the same words."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("bases") / "static"
    folder.mkdir()
    everything = sorted({w for s in SUBJECTS.values() for w in s} | {w for f in FRAMES for w in f.split() if w != "{}"})
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", *everything, "unused"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    vectors = np.random.default_rng(0).normal(size=(len(vocabulary), 16)).astype(np.float16)
    save_file({"embeddings": vectors}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "hidden_dim": 16}))
    return folder


def few(base: Path, folder: Path, **more) -> Job:
    """One labelled text a label, the others without; validation knows all."""
    texts, targets = all_texts()
    some = [int(np.flatnonzero(targets == label)[0]) for label in range(len(LABELS))]
    given = {
        "train_texts": [texts[row] for row in some],
        "train_targets": targets[some],
        "unlabelled": texts,
        "embed": bag,
    }
    return job_on(base, folder, **(given | more))


def right(job: Job, engine: str, base: Path) -> float:
    opened = open_engine(engine, base)
    opened.add("v", job.folder)
    embed = None if (job.folder / "encoder").is_dir() or engine == "static" else job.embed
    scored = opened.score([("v", text) for text in job.validation_texts], embed=embed)
    return float((np.stack([s.logits for s in scored]).argmax(axis=1) == job.validation_targets).mean())


def knowing(texts) -> np.ndarray:
    """What a good teacher says."""
    said = np.full((len(texts), len(LABELS)), 0.1)
    for row, text in enumerate(texts):
        for place, label in enumerate(LABELS):
            if any(word in SUBJECTS[label] for word in text.split()):
                said[row, place] = 0.8
    return said / said.sum(axis=1, keepdims=True)


TEACHER = Part("big", "0" * 64, np.zeros((0, 0)), answer=knowing)


def test_labels_spread_to_texts_that_nobody_labelled(tiny, tmp_path):
    job = few(tiny, tmp_path / "a")
    draft = make("student", job, size="small", names=False, keep=1.0, neighbours=5)
    assert draft.facts["labelled"] == 3
    assert draft.facts["unlabelled"] == len(job.unlabelled) - 3
    assert right(job, draft.engine, tiny) == 1.0


def test_self_training_runs_in_rounds_and_keeps_the_surest(tiny, tmp_path):
    job = few(tiny, tmp_path / "a")
    draft = make("student", job, size="small", spread=[0.0], rounds=3, keep=0.5)
    assert draft.facts["unlabelled_kept"] == round(0.5 * draft.facts["unlabelled"])
    assert draft.facts["alpha"] == 0.0
    assert draft.facts["rounds"] == 3
    assert right(job, draft.engine, tiny) > 0.7


def test_a_teacher_is_heard_on_every_text(tiny, tmp_path):
    job = few(tiny, tmp_path / "a", parts=(TEACHER,))
    draft = make("student", job, size="small", keep=1.0)
    assert draft.facts["taught_by"] == ["big"]
    assert right(job, draft.engine, tiny) == 1.0


def test_an_encoder_is_trained_on_soft_targets_the_same_bytes_each_time(tiny, tmp_path):
    def embed(texts):
        encoder = load(tiny)
        return encoder.embed(encoder.tokens(texts))

    for name in ("a", "b"):
        job = few(tiny, tmp_path / name, parts=(TEACHER,), embed=embed)
        draft = make("student", job, epochs=1, rate=3e-3, batch=8, temperature=2.0)
    assert draft.engine == "encoder"
    assert len(draft.facts["validation"]) == 1
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_static_vectors_learn_what_a_teacher_knows(static, tmp_path):
    def embed(texts):
        return open_engine("static", static).embed(list(texts))

    job = few(static, tmp_path / "a", parts=(TEACHER,), embed=embed)
    draft = make("student", job, epochs=8, rate=5e-2, batch=8)
    assert draft.engine == "static"
    assert right(job, "static", static) == 1.0
    assert draft.facts["tokens"] < 30


def test_variants_with_and_without_own_vectors_answer_in_one_batch(static, tmp_path):
    def embed(texts):
        return open_engine("static", static).embed(list(texts))

    own = few(static, tmp_path / "own", parts=(TEACHER,), embed=embed)
    make("student", own, epochs=2, rate=5e-2, batch=8)
    plain = few(static, tmp_path / "plain", parts=(TEACHER,), embed=embed)
    make("student", plain, size="small")
    engine = open_engine("static", static)
    engine.add("own", own.folder)
    engine.add("plain", plain.folder)
    texts = list(own.validation_texts)
    mixed = engine.score([(key, text) for text in texts for key in ("own", "plain")])
    for place, key in enumerate(("own", "plain")):
        alone = engine.score([(key, text) for text in texts])
        together = [scored.logits for scored in mixed[place::2]]
        assert np.allclose(np.stack(together), np.stack([s.logits for s in alone]), atol=1e-6)
    engine.drop("own")
    assert len(engine.score([("plain", texts[0])])) == 1


def test_own_vectors_of_another_base_are_refused(static, tmp_path):
    from safetensors.numpy import load_file, save_file

    def embed(texts):
        return open_engine("static", static).embed(list(texts))

    job = few(static, tmp_path / "a", parts=(TEACHER,), embed=embed)
    make("student", job, epochs=1, batch=8)
    held = load_file(job.folder / "tokens.safetensors")
    save_file({**held, "vectors": held["vectors"][:, :4].copy()}, job.folder / "tokens.safetensors")
    with pytest.raises(Exception, match="of another base"):
        open_engine("static", static).add("a", job.folder)


def test_scores_of_rows_teach_where_there_are_any(tiny, tmp_path):
    texts, targets = all_texts()
    said = knowing(texts)
    said[::2] = 0.0  # every second row has none
    wrong = (targets + 1) % len(LABELS)
    wrong[::2] = targets[::2]
    job = job_on(tiny, tmp_path / "a", train_targets=wrong, train_scores=said, embed=bag)
    draft = make("student", job, size="small", teacher_weight=1.0)
    assert draft.facts["rows_with_scores"] == len(texts) // 2
    assert right(job, draft.engine, tiny) == 1.0


def test_nobody_to_learn_from_is_told(tiny, tmp_path):
    with pytest.raises(AskError, match="nobody to learn from"):
        make("student", job_on(tiny, tmp_path / "a", embed=bag))
    writes = Part("writer", "1" * 64, np.zeros((0, 0)), write=list)
    with pytest.raises(AskError, match="writes its answers"):
        make("student", job_on(tiny, tmp_path / "b", embed=bag, parts=(writes,)))


def test_soft_targets_fit_the_head_that_hard_ones_do():
    draw = np.random.default_rng(0)
    seen, targets = draw.normal(size=(40, 6)).astype(np.float32), draw.integers(0, 3, 40)
    hard = fit_head(seen, targets, 3, 1.0)
    soft = fit_head(seen, np.eye(3)[targets], 3, 1.0)
    assert np.allclose(hard.weight, soft.weight, atol=1e-3)


def test_the_loss_at_a_temperature_is_hintons():
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    shares = torch.tensor([[0.5, 0.3, 0.2]])
    taught = Soft(shares, torch.tensor([1.0]), 2.0).mixed(logits, torch.tensor([7.0]))
    expected = -4.0 * (shares * torch.log_softmax(logits / 2.0, dim=1)).sum()
    assert float(taught) == pytest.approx(float(expected), rel=1e-5)
    half = Soft(shares, torch.tensor([0.0]), 2.0).mixed(logits, torch.tensor([7.0]))
    assert float(half) == 7.0


def test_neighbours_outvote_a_wrong_label_and_alpha_is_chosen():
    texts, targets = all_texts()
    seen = bag(texts)
    graph = neighbours(seen, 8)
    assert abs(graph - graph.T).max() < 1e-6
    shares = np.eye(3)[targets]
    shares[0] = np.eye(3)[(targets[0] + 1) % 3]
    assert spread(graph, shares, 0.8)[0].argmax() == targets[0]
    assert spread(graph, shares, 0.0) is shares
    found = spread_labels(Known(seen, targets, 3), graph, (0.0, 0.5), 3, 0)
    assert set(found.tried) == {"0", "0.5"}
    assert np.allclose(found.shares.sum(axis=1), 1.0)


def test_words_of_labels_and_cooled_probabilities():
    assert words("card_not_working?") == "card not working"
    assert words("???") == "???"
    warm = cooled(np.array([[0.9, 0.1]]), 2.0)
    assert warm[0, 0] == pytest.approx(0.75)
