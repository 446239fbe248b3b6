"""An encoder as a graph: what it computes is what torch computes; in int8 nearly so, in a quarter of the bytes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sartor.core.errors import AskError, StoreError
from sartor.serving.engine import open_engine

pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

from surgery_house import TEXTS, adapted, logits, operate, tuned, write_encoder

LONG = " ".join(["card"] * 200)


@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet"])
def test_the_graph_says_what_torch_says(kind, tmp_path):
    parent = tuned(tmp_path / "parent", kind)
    wanted = logits("encoder", parent.folder, texts=[*TEXTS, LONG, "unknownword", ""])
    draft = operate("quantise", tmp_path / "whole", parent, precision="float32")
    assert draft.engine == "onnx"
    found = logits("onnx", tmp_path / "whole", texts=[*TEXTS, LONG, "unknownword", ""])
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    operate("quantise", tmp_path / "small", parent)
    small = logits("onnx", tmp_path / "small", texts=[*TEXTS, LONG, "unknownword", ""])
    assert np.abs(small - wanted).mean() < 0.1 * np.abs(wanted).mean()
    assert (small[: len(TEXTS)].argmax(1) == wanted[: len(TEXTS)].argmax(1)).mean() > 0.9


def test_an_adapter_is_added_before_it_is_quantised(tmp_path):
    base = write_encoder(tmp_path / "base")
    parent = adapted(tmp_path / "parent", base)
    wanted = logits("encoder", parent.folder, base)
    operate("quantise", tmp_path / "child", parent, precision="float32")
    np.testing.assert_allclose(logits("onnx", tmp_path / "child"), wanted, atol=2e-3)


def test_the_same_weights_give_the_same_bytes(tmp_path):
    parent = tuned(tmp_path / "parent")
    for name in ("a", "b"):
        operate("quantise", tmp_path / name, parent)
    assert (tmp_path / "a" / "encoder.onnx").read_bytes() == (tmp_path / "b" / "encoder.onnx").read_bytes()


def test_what_can_not_be_written_is_refused_in_words(tmp_path):
    parent = tuned(tmp_path / "parent")
    config = parent.folder / "encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "deberta"}))
    with pytest.raises(AskError, match=r"architecture 'deberta'.*only bert, mpnet, roberta"):
        operate("quantise", tmp_path / "child", parent)
    with pytest.raises(AskError, match="works on 1 other candidate"):
        operate("quantise", tmp_path / "none")


def test_a_damaged_graph_is_named(tmp_path):
    parent = tuned(tmp_path / "parent")
    operate("quantise", tmp_path / "child", parent)
    (tmp_path / "child" / "encoder.onnx").write_bytes(b"not a graph")
    with pytest.raises(StoreError, match=r"encoder\.onnx failed"):
        logits("onnx", tmp_path / "child")


def test_a_graph_answers_without_torch(tmp_path: Path):
    operate("quantise", tmp_path / "child", tuned(tmp_path / "parent"))
    code = f"""
import sys
from pathlib import Path
from typing import Any
from sartor.serving.engine import open_engine
engine = open_engine("onnx")
engine.add("v", Path({str(tmp_path / "child")!r}))
assert len(engine.score([("v", "my card is wrong"), ("v", "the fee again")])) == 2
assert not {{"torch", "transformers", "onnx"}} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_mixed_batch_says_what_each_question_says_alone(tmp_path):
    engine: Any = open_engine("onnx")
    for key, seed in (("a", 1), ("b", 2)):
        operate("quantise", tmp_path / key / "graph", tuned(tmp_path / key / "parent", seed=seed), precision="float32")
        engine.add(key, tmp_path / key / "graph")
    work = [("ab"[n % 2], text) for n, text in enumerate([*TEXTS[:5], "", LONG, TEXTS[0]])]
    for pair, scored in zip(work, engine.score(work), strict=True):
        (alone,) = engine.score([pair])
        np.testing.assert_allclose(scored.logits, alone.logits, atol=1e-4)
        assert scored.novelty == pytest.approx(alone.novelty, abs=1e-4)
    engine.drop("never held")
    engine.drop("a")
    with pytest.raises(KeyError):
        engine.score([("a", "card")])
    with pytest.raises(AskError, match="is no base"):
        engine.embed(["card"])
