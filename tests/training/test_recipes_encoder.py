"""Recipes that change an encoder: on a tiny one made here, and once on the real MiniLM."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sartor.core.rows import Hierarchy
from sartor.core.shelf import Shelf
from sartor.training.job import Draft, Job

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from sartor.training.encoder import _peft_warnings, adapted, has_bfloat16, load, repeatable  # noqa: E402
from sartor.training.loop import Plan, _ancestors, _batches, _Losses, supervised_contrast  # noqa: E402

RECIPES = Shelf("sartor.training.recipes")

SUBJECTS = {"card": ["card", "plastic", "visa"], "cash": ["cash", "coins", "notes"], "rate": ["rate", "price", "fee"]}
FRAMES = ["my {} is wrong", "where is the {}", "no {} at all today", "please tell me about {}", "the {} again"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("bases") / "tiny")


def tiny_encoder(folder: Path) -> Path:
    """A real encoder of two layers and 32 dimensions with a word tokenizer, untrained."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    words = sorted({w for s in SUBJECTS.values() for w in s} | {w for f in FRAMES for w in f.split() if w != "{}"})
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    with repeatable(0, 1):
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            pad_token_id=0,
        )
        BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def job_on(base: Path, folder: Path, **more) -> Job:
    labels = tuple(sorted(SUBJECTS))
    rows = [(f.format(word), place) for place, label in enumerate(labels) for word in SUBJECTS[label] for f in FRAMES]
    texts, targets = [t for t, _ in rows], np.array([y for _, y in rows])
    folder.mkdir(parents=True, exist_ok=True)
    given = {"train_texts": texts, "train_targets": targets, "validation_texts": texts, "validation_targets": targets}
    return Job(labels=labels, folder=folder, base=base, **(given | more))


def make(name: str, job: Job, **params) -> Draft:
    plugin = RECIPES.take(name)
    return plugin(job, plugin.read(params))


def bytes_of(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*") if f.is_file()}


def accuracy(encoder, head: dict[str, np.ndarray], job: Job) -> float:
    embedded = encoder.embed(encoder.tokens(job.validation_texts))
    logits = embedded @ head["weight"].T + head["bias"]
    return float((logits.argmax(axis=1) == job.validation_targets).mean())


def test_tune_writes_an_encoder_that_answers_as_validation_said(tiny, tmp_path):
    job = job_on(tiny, tmp_path / "a")
    draft = make("tune", job, epochs=6, rate=3e-3, batch=8)
    assert draft.engine == "encoder"
    again = load(job.folder / "encoder")
    best = max(epoch["accuracy"] for epoch in draft.facts["validation"])
    assert best == 1.0
    assert accuracy(again, load_file(job.folder / "head.safetensors"), job) == best


def test_tune_and_adapter_are_the_same_bytes_again(tiny, tmp_path):
    for recipe in ("tune", "adapter"):
        for name in ("a", "b"):
            torch.manual_seed(hash(name) % 1000)
            make(recipe, job_on(tiny, tmp_path / recipe / name, seed=7), epochs=1, batch=8)
        first, second = bytes_of(tmp_path / recipe / "a"), bytes_of(tmp_path / recipe / "b")
        assert first == second
        make(recipe, job_on(tiny, tmp_path / recipe / "c", seed=8), epochs=1, batch=8)
        assert bytes_of(tmp_path / recipe / "c")["head.safetensors"] != first["head.safetensors"]


def test_training_leaves_torch_as_it_was(tiny, tmp_path):
    torch.manual_seed(3)
    before = (torch.random.get_rng_state().clone(), torch.get_num_threads())
    make("tune", job_on(tiny, tmp_path / "a"), epochs=1)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert torch.get_num_threads() == before[1]
    assert not torch.are_deterministic_algorithms_enabled()


def test_adapter_files_put_back_on_the_base_answer_the_same(tiny, tmp_path):
    from peft import PeftModel

    job = job_on(tiny, tmp_path / "a")
    draft = make("adapter", job, epochs=6, rate=2e-2, batch=8)
    base = load(tiny)
    with _peft_warnings():
        model = PeftModel.from_pretrained(base.model, job.folder / "adapter").merge_and_unload()
    merged = type(base)(model, base.tokenizer, base.pad, base.home)
    best = max(epoch["accuracy"] for epoch in draft.facts["validation"])
    assert accuracy(merged, load_file(job.folder / "head.safetensors"), job) == pytest.approx(best, abs=0.03)


def test_files_name_no_path(tiny, tmp_path):
    for recipe in ("tune", "adapter"):
        job = job_on(tiny, tmp_path / recipe)
        make(recipe, job, epochs=1)
        for file in job.folder.rglob("*.json"):
            assert str(tiny.parent) not in file.read_text()


def test_adapter_trains_the_adapter_alone(tiny):
    encoder = adapted(load(tiny), rank=2, alpha=4)
    trained = [name for name, p in encoder.model.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)


def test_adapter_on_unknown_layers_lists_what_there_is(tiny):
    encoder = load(tiny)
    bare = type(encoder)(torch.nn.Sequential(torch.nn.Linear(2, 2)), encoder.tokenizer, 0, tiny)
    with pytest.raises(ValueError, match="query and value"):
        adapted(bare, rank=2, alpha=4)


def test_each_epoch_sees_each_row_once_in_batches_of_like_length():
    draw = np.random.default_rng(0)
    tokens = [[1] * int(n) for n in draw.integers(3, 60, size=1000)]
    batches = _batches(tokens, Plan(1, 10_000, 1e-3, 1e-3, batch=32), draw)
    assert sorted(np.concatenate(batches)) == list(range(1000))
    waste = 1 - sum(len(t) for t in tokens) / sum(len(b) * max(len(tokens[r]) for r in b) for b in batches)
    assert waste < 0.05


def test_contrast_by_hand():
    embedded = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0]]), dim=1)
    targets = torch.tensor([0, 0, 1])
    alike = (embedded @ embedded.T / 0.5).numpy()
    first = -(alike[0, 1] - np.log(np.exp(alike[0, 1]) + np.exp(alike[0, 2])))
    second = -(alike[1, 0] - np.log(np.exp(alike[1, 0]) + np.exp(alike[1, 2])))
    assert float(supervised_contrast(embedded, targets, 0.5)) == pytest.approx((first + second) / 2, rel=1e-5)


def test_contrast_of_a_batch_without_pairs_is_zero():
    assert float(supervised_contrast(torch.eye(3), torch.tensor([0, 1, 2]), 0.1)) == 0.0


def test_hierarchy_loss_is_milder_on_the_right_branch():
    labels = ("a1", "a2", "b1")
    tree = Hierarchy(("group",), {"a1": ("a",), "a2": ("a",), "b1": ("b",)})
    losses = _Losses(Plan(1, 1, 1e-3, 1e-3, smoothing=0.0, contrast=0.0, levels_weight=1.0), _ancestors(labels, tree))
    plain = _Losses(Plan(1, 1, 1e-3, 1e-3, smoothing=0.0, contrast=0.0), [])
    sibling, stranger = torch.tensor([[0.0, 3.0, 0.0]]), torch.tensor([[0.0, 0.0, 3.0]])
    truth = torch.tensor([0])
    assert float(plain(sibling, sibling, truth, None)) == pytest.approx(float(plain(stranger, stranger, truth, None)))
    assert float(losses(sibling, sibling, truth, None)) < float(losses(stranger, stranger, truth, None)) - 1.0


@pytest.mark.train
def test_tuning_the_real_minilm_learns(tmp_path, base_folder):
    base = base_folder("minilm")
    job = job_on(base, tmp_path / "a")
    draft = make("tune", job, epochs=2, batch=8)
    assert draft.facts["validation"][-1]["accuracy"] >= 0.95
    assert json.loads((job.folder / "encoder" / "config.json").read_text())["model_type"] == "bert"


@pytest.mark.parametrize(
    ("can", "taken"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True}, True),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False),  # half the rate of float32
        ({"architecture": "aarch64"}, False),
    ],
)
def test_bfloat16_is_taken_where_it_is_faster(monkeypatch, can, taken):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    assert has_bfloat16() is taken
