"""Vocabulary, length, layers and heads: what is cut is gone, what is left says what it did."""

import json
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sartor.core.errors import AskError, StoreError
from sartor.training.shards import INDEX, Shards, Spec, write_file, write_folder

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from surgery_house import LABELS, TEXTS, damaged, headed, logits, operate, tuned, write_encoder


@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_a_trimmed_vocabulary_reads_known_words_as_before_to_the_bit(kind, tmp_path):
    parent = tuned(tmp_path / "parent", kind)
    draft = operate("trim_vocabulary", tmp_path / "child", parent, size="small")
    assert draft.facts["words"] < draft.facts["words_before"]
    assert draft.facts["read_otherwise"] == 0.0
    np.testing.assert_array_equal(logits("encoder", tmp_path / "child"), logits("encoder", parent.folder))
    config = json.loads((tmp_path / "child" / "encoder" / "config.json").read_text())
    weights = load_file(tmp_path / "child" / "encoder" / "model.safetensors")
    assert len(weights["embeddings.word_embeddings.weight"]) == config["vocab_size"] == draft.facts["words"]


def test_a_word_that_was_trimmed_is_read_in_pieces(tmp_path):
    from tokenizers import Tokenizer

    parent = tuned(tmp_path / "parent")
    operate("trim_vocabulary", tmp_path / "child", parent, first=0)
    before = Tokenizer.from_file(str(parent.folder / "encoder" / "tokenizer.json"))
    after = Tokenizer.from_file(str(tmp_path / "child" / "encoder" / "tokenizer.json"))
    assert before.encode("my card").tokens == after.encode("my card").tokens == ["[CLS]", "my", "card", "[SEP]"]
    assert after.encode("cab").tokens == ["[CLS]", "c", "##a", "##b", "[SEP]"]
    assert logits("encoder", tmp_path / "child", texts=["never7 cab"]).shape == (1, len(LABELS))


def test_merges_of_a_byte_pair_vocabulary_are_not_taken_apart(tmp_path):
    parent = tuned(tmp_path / "parent")
    file = parent.folder / "encoder" / "tokenizer.json"
    spec = json.loads(file.read_text())
    file.write_text(json.dumps(spec | {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}))
    with pytest.raises(AskError, match="of kind BPE"):
        operate("trim_vocabulary", tmp_path / "child", parent)


@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_a_shortened_encoder_cuts_texts_where_its_positions_end(kind, tmp_path):
    parent = tuned(tmp_path / "parent", kind)
    operate("shorten", tmp_path / "child", parent, tokens=16)
    np.testing.assert_array_equal(logits("encoder", tmp_path / "child"), logits("encoder", parent.folder))
    long = " ".join(["card"] * 30)
    cut = " ".join(["card"] * 14)
    np.testing.assert_allclose(
        logits("encoder", tmp_path / "child", texts=[long]), logits("encoder", parent.folder, texts=[cut]), atol=1e-5
    )
    with pytest.raises(AskError, match="cut to 500 tokens"):
        operate("shorten", tmp_path / "other", parent, tokens=500)


def test_a_shortened_encoder_is_operated_on_further(tmp_path):
    parent = tuned(tmp_path / "parent")
    operate("shorten", tmp_path / "short", parent, tokens=16)
    short = parent.__class__(**(vars(parent) | {"folder": tmp_path / "short"}))
    texts = [" ".join(["card"] * 30)] * len(TEXTS)
    operate("prune", tmp_path / "cut", short, layers=1, epochs=1, job={"train_texts": texts, "validation_texts": texts})
    operate("quantise", tmp_path / "graph", short)
    assert json.loads((tmp_path / "graph" / "onnx.json").read_text())["most_tokens"] == 16
    assert logits("onnx", tmp_path / "graph", texts=texts[:1]).shape == (1, len(LABELS))


def test_the_cut_is_chosen_on_training_texts(tmp_path):
    parent = tuned(tmp_path / "parent")
    texts = ["my card"] * 95 + [" ".join(["card"] * 60)] * 5
    job = {"train_texts": texts, "train_targets": np.zeros(100, dtype=int)}
    assert operate("shorten", tmp_path / "a", parent, job=job, size="small").facts["tokens"] <= 16
    assert operate("shorten", tmp_path / "b", parent, job=job, size="large").facts["tokens"] == 64


@pytest.mark.parametrize("choose", ["measured", "influence"])
def test_layers_that_do_nothing_go_first(choose, tmp_path):
    parent = tuned(tmp_path / "parent", layers=4)
    file = parent.folder / "encoder" / "model.safetensors"
    weights = load_file(file)
    for place in (1, 2):  # what is added to the stream is nothing, and the norms keep a normed vector
        for name in ("attention.output.dense", "output.dense"):
            for part in ("weight", "bias"):
                weights[f"encoder.layer.{place}.{name}.{part}"][:] = 0.0
    save_file(weights, file, {"format": "pt"})
    parent = headed(parent.folder, parent.folder / "encoder", "tune")
    draft = operate("prune", tmp_path / "child", parent, layers=2, choose=choose)
    assert draft.facts["layers"] == [0, 3]
    found, wanted = logits("encoder", tmp_path / "child"), logits("encoder", parent.folder)
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_cut_heads_are_zero_in_torch_and_gone_from_the_graph(tmp_path):
    pytest.importorskip("onnxruntime")
    parent = tuned(tmp_path / "parent")
    draft = operate("prune", tmp_path / "child", parent, layers=2, heads=0.5)
    assert sum(len(heads) for heads in draft.facts["heads_cut"].values()) == 4
    child = parent.__class__(**(vars(parent) | {"folder": tmp_path / "child"}))
    operate("quantise", tmp_path / "graph", child, precision="float32")
    np.testing.assert_allclose(logits("onnx", tmp_path / "graph"), logits("encoder", tmp_path / "child"), atol=2e-3)
    operate("quantise", tmp_path / "whole", parent, precision="float32")
    sizes = [(tmp_path / name / "encoder.onnx").stat().st_size for name in ("graph", "whole")]
    assert sizes[0] < sizes[1] - 4 * 4 * 32 * 8 * 4 + 2000


def test_healing_trains_what_is_left_and_keeps_cut_heads_silent(tmp_path):
    parent = tuned(tmp_path / "parent", layers=3)
    draft = operate("prune", tmp_path / "child", parent, layers=2, heads=0.25, epochs=2, rate=3e-3)
    assert len(draft.facts["healed"]["validation"]) == 2
    weights = load_file(tmp_path / "child" / "encoder" / "model.safetensors")
    for layer, heads in draft.facts["heads_cut"].items():
        for head in heads:
            out = weights[f"encoder.layer.{layer}.attention.output.dense.weight"]
            assert not out[:, head * 8 : head * 8 + 8].any()
    assert (logits("encoder", tmp_path / "child").argmax(1) >= 0).all()


def test_pruning_to_more_layers_than_there_are_is_refused(tmp_path):
    with pytest.raises(AskError, match="cut to 5 layers and has 2"):
        operate("prune", tmp_path / "child", tuned(tmp_path / "parent"), layers=5)


def test_all_files_but_weights_come_along(tmp_path):
    parent = tuned(tmp_path / "parent")
    (parent.folder / "writing.json").write_text("{}")
    (parent.folder / "calibration.json").write_text("{}")
    operate("shorten", tmp_path / "child", parent, tokens=16)
    assert (tmp_path / "child" / "writing.json").is_file()
    assert not (tmp_path / "child" / "calibration.json").exists()


def test_shards_are_written_and_read_one_tensor_at_a_time(tmp_path):
    """Forty tensors of a megabyte: never more than a few in memory, whatever the whole weighs."""
    plan = {f"t{n:02d}": Spec("BF16" if n % 2 else "F32", (512, 512)) for n in range(40)}
    whole = sum(spec.bytes for spec in plan.values())
    values = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    tracemalloc.start()
    write_folder(tmp_path / "a", plan, lambda name: values * int(name[1:]), most_bytes=8_000_000)
    first = Shards(tmp_path / "a")
    write_folder(tmp_path / "b", first.specs, lambda name: first.read(name) + first.read(name))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < whole / 3
    assert (tmp_path / "a" / INDEX).is_file()
    assert len(list((tmp_path / "a").glob("*.safetensors"))) > 3
    second = Shards(tmp_path / "b")
    np.testing.assert_array_equal(second.read("t04"), values * 8)
    np.testing.assert_allclose(second.read("t05"), values * 10, rtol=2**-7)


def test_shards_are_what_the_library_reads(tmp_path):
    import torch
    from safetensors.torch import load_file as load_torch

    values = torch.randn(7, 5)
    write_file(
        tmp_path / "m.safetensors", {"a": Spec("BF16", (7, 5)), "b": Spec("F32", (7, 5))}, lambda _: values.numpy()
    )
    found = load_torch(tmp_path / "m.safetensors")
    assert torch.equal(found["a"], values.to(torch.bfloat16))
    assert torch.equal(found["b"], values)
    assert np.array_equal(Shards(tmp_path, "m.safetensors").read("a"), found["a"].float().numpy())


def test_overlapping_and_cut_off_weights_are_refused(tmp_path):
    folder = damaged(tmp_path / "a", x=np.zeros(4, dtype=np.float32), y=np.ones(4, dtype=np.float32))
    file = folder / "model.safetensors"
    raw = file.read_bytes()
    file.write_bytes(raw[:-4])
    with pytest.raises(StoreError, match="does not lie within it"):
        _ = Shards(folder).specs
    file.write_bytes(raw.replace(b"[16,32]", b"[0,16] "))
    with pytest.raises(StoreError, match="overlap"):
        _ = Shards(folder).specs
    assert len(TEXTS) > 3


@pytest.mark.parametrize("method", ["ties", "dare"])
def test_positions_that_an_older_base_keeps_beside_its_weights_are_no_difference(method, tmp_path):
    base = write_encoder(tmp_path / "base", "bert", seed=0)
    file = base / "model.safetensors"
    save_file({**load_file(file), "embeddings.position_ids": np.arange(32)[None]}, file, metadata={"format": "pt"})
    parts = [tuned(tmp_path / name, seed=seed) for name, seed in (("one", 1), ("two", 2))]

    draft = operate("merge", tmp_path / "out", *parts, job={"base": base}, method=method, density=1.0)

    assert draft.facts["result"] == "whole"
    assert "embeddings.position_ids" not in load_file(tmp_path / "out" / "encoder" / "model.safetensors")
