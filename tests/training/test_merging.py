"""Weights merged: by hand on small numbers, on adapters and whole encoders, and what does not fit is refused."""

import json

import numpy as np
import pytest

from sartor.core.errors import AskError
from sartor.training.lowrank import Factors, compressed, nearest, read_lora, stacked
from sartor.training.merging import Mix, dare, linear, slerp, ties, trimmed

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from surgery_house import TEXTS, adapted, headed, logits, operate, tuned, write_encoder

DRAW = np.random.default_rng(5)


def test_slerp_keeps_to_the_circle():
    first, second = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    np.testing.assert_allclose(slerp(first, second, 0.5), [np.sqrt(0.5), np.sqrt(0.5)])
    np.testing.assert_allclose(slerp(first, second, 1 / 3), [np.cos(np.pi / 6), np.sin(np.pi / 6)])
    np.testing.assert_allclose(slerp(first, 2 * first, 0.5), 1.5 * first)
    np.testing.assert_allclose(slerp(first, np.zeros(2), 0.25), 0.75 * first)


def test_ties_by_hand():
    changes = [np.array([3.0, -1.0, 0.1, 2.0]), np.array([-1.0, -3.0, 0.2, 2.0])]
    # trimmed to half: [3, 0, 0, 2] and [0, -3, 0, 2]; the signs elected: +, -, none, +
    np.testing.assert_allclose(ties(changes, [0.5, 0.5], 0.5), [3.0, -3.0, 0.0, 2.0])
    np.testing.assert_allclose(ties(changes, [0.5, 0.5], 1.0), [3.0, -2.0, 0.15, 2.0])
    assert np.count_nonzero(trimmed(DRAW.normal(size=1000), 0.2)) == 200


def test_dare_keeps_the_expected_change_and_its_draw():
    change = np.ones(100_000)
    kept = dare(change, 0.25, np.random.default_rng(0))
    assert set(np.unique(kept)) == {0.0, 4.0}
    assert kept.mean() == pytest.approx(1.0, abs=0.02)
    mix = Mix("dare", (0.5, 0.5), density=0.5, seed=3)
    once, again = (mix("a", [change, change], np.zeros(100_000)) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert (once != mix("b", [change, change], np.zeros(100_000))).any()


@pytest.mark.parametrize("method", ["linear", "slerp", "ties"])
def test_a_variant_with_itself_is_itself(method):
    values = DRAW.normal(size=(8, 8))
    found = Mix(method, (0.5, 0.5), density=1.0)("x", [values, values], np.zeros((8, 8)))
    np.testing.assert_allclose(found, values, atol=1e-12)


def test_lower_ranks_are_the_nearest():
    layer = Factors(DRAW.normal(size=(6, 10)).astype(np.float32), DRAW.normal(size=(12, 6)).astype(np.float32))
    u, sizes, v = np.linalg.svd(layer.product)
    found = compressed(layer, 2)
    np.testing.assert_allclose(found.factors.product, (u[:, :2] * sizes[:2]) @ v[:2], atol=1e-4)
    np.testing.assert_allclose(nearest(layer.product, 2).factors.product, found.factors.product, atol=1e-4)
    assert found.lost == pytest.approx(float((sizes[2:] ** 2).sum()), rel=1e-4)
    np.testing.assert_allclose(compressed(layer, 6).factors.product, layer.product, atol=1e-4)
    both = stacked([layer, layer], [0.25, 0.75])
    np.testing.assert_allclose(both.product, layer.product, atol=1e-5)
    np.testing.assert_allclose(linear([layer.product], [2.0]), 2 * layer.product)


def test_an_adapter_goes_into_its_base(tmp_path):
    base = write_encoder(tmp_path / "base")
    parent = adapted(tmp_path / "parent", base)
    draft = operate("merge", tmp_path / "child", parent)
    assert draft.facts["result"] == "whole"
    assert draft.facts["parity"]["tolerance"] <= 0.01
    assert not (tmp_path / "child" / "adapter").exists()
    np.testing.assert_allclose(logits("encoder", tmp_path / "child"), logits("encoder", parent.folder, base), atol=1e-3)


def test_adapters_with_each_other_stay_an_adapter_that_is_the_sum(tmp_path):
    base = write_encoder(tmp_path / "base")
    parts = [adapted(tmp_path / name, base, seed=seed) for name, seed in (("a", 1), ("b", 2))]
    draft = operate("merge", tmp_path / "child", *parts, weights=(3.0, 1.0), job={"base": base})
    assert (draft.facts["result"], draft.facts["rank"]) == ("adapter", 8)
    loras = [read_lora(tmp_path / name / "adapter") for name in ("a", "b", "child")]
    for name, layer in loras[2].layers.items():
        wanted = 0.75 * loras[0].layers[name].product + 0.25 * loras[1].layers[name].product
        np.testing.assert_allclose(layer.product, wanted, atol=1e-5)
    whole = operate("merge", tmp_path / "whole", *parts, weights=(3.0, 1.0), result="whole")
    assert whole.facts["result"] == "whole"
    np.testing.assert_allclose(
        logits("encoder", tmp_path / "whole"), logits("encoder", tmp_path / "child", base), atol=1e-3
    )
    for method in ("slerp", "ties", "dare"):
        made = operate("merge", tmp_path / method, *parts, method=method, rank=8, job={"base": base})
        assert 0.3 < made.facts["kept"] <= 1.0


def test_whole_encoders_are_merged_tensor_by_tensor(tmp_path):
    from safetensors.numpy import load_file

    base = write_encoder(tmp_path / "base", seed=9)
    parts = [tuned(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 2))]
    name = "encoder.layer.1.output.dense.weight"
    before = load_file(base / "model.safetensors")[name]
    first, second = (load_file(tmp_path / name / "encoder" / "model.safetensors") for name in ("a", "b"))
    for method in ("linear", "slerp", "ties", "dare"):
        operate("merge", tmp_path / method, *parts, method=method, job={"base": base})
        found = load_file(tmp_path / method / "encoder" / "model.safetensors")[name]
        np.testing.assert_allclose(found, Mix(method, (0.5, 0.5))(name, [first[name], second[name]], before), atol=1e-6)
    assert logits("encoder", tmp_path / "ties").shape == (len(TEXTS), 3)


def test_a_lower_rank_keeps_what_was_asked_for(tmp_path):
    base = write_encoder(tmp_path / "base")
    parent = adapted(tmp_path / "parent", base, rank=8)
    draft = operate("low_rank", tmp_path / "child", parent, size="small", job={"base": base})
    assert draft.facts["rank"] < 8
    assert draft.facts["kept"] >= 0.9
    assert draft.measured["bytes"] < draft.measured["bytes_before"]
    same = operate("low_rank", tmp_path / "same", parent, rank=8, job={"base": base})
    assert same.facts["kept"] == 1.0
    np.testing.assert_allclose(
        logits("encoder", tmp_path / "same", base), logits("encoder", parent.folder, base), atol=1e-3
    )


def test_an_adapter_comes_out_of_a_full_tune(tmp_path):
    """Of a change that has rank 4 an adapter of rank 4 loses nothing."""
    base = write_encoder(tmp_path / "base")
    before = adapted(tmp_path / "before", base, rank=4)
    operate("merge", tmp_path / "whole", before)
    whole = headed(tmp_path / "whole", tmp_path / "whole" / "encoder", "tune")
    draft = operate("extract_adapter", tmp_path / "child", whole, rank=4, refit=False, job={"base": base})
    assert draft.facts["kept"] > 0.9999
    np.testing.assert_allclose(logits("encoder", tmp_path / "child", base), logits("encoder", whole.folder), atol=1e-2)
    refitted = operate("extract_adapter", tmp_path / "refit", whole, rank=1, job={"base": base})
    assert refitted.facts["kept"] < 0.9999
    with pytest.raises(AskError, match="has an adapter already"):
        operate("extract_adapter", tmp_path / "no", before, job={"base": base})


def test_what_does_not_fit_is_refused_in_words(tmp_path):
    base, other = write_encoder(tmp_path / "base"), write_encoder(tmp_path / "other", layers=1)
    one, two = tuned(tmp_path / "one"), tuned(tmp_path / "two", layers=3)
    with pytest.raises(AskError, match=r"different shapes: 'encoder\.layer\.2\..*' is missing in one"):
        operate("merge", tmp_path / "c1", one, two)
    with pytest.raises(AskError, match="architectures 'bert' and 'mpnet'"):
        operate("merge", tmp_path / "c2", one, tuned(tmp_path / "three", "mpnet"))
    with pytest.raises(AskError, match="base is not named"):
        operate("merge", tmp_path / "c3", one, tuned(tmp_path / "four", seed=4), method="ties")
    with pytest.raises(AskError, match="'slerp' goes from one to another"):
        operate("merge", tmp_path / "c4", one, method="slerp")
    adapter = adapted(tmp_path / "adapter", base)
    stray = adapter.__class__(**(vars(adapter) | {"base": other}))
    with pytest.raises(AskError, match="it is for another one"):
        operate("merge", tmp_path / "c5", stray)
    words = tuned(tmp_path / "five")
    file = words.folder / "encoder" / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"normalizer": {"type": "Lowercase"}}))
    with pytest.raises(AskError, match="different tokenizers"):
        operate("merge", tmp_path / "c6", one, words)
    with pytest.raises(AskError, match="works on 1 to 8 other candidate"):
        operate("merge", tmp_path / "c7")
