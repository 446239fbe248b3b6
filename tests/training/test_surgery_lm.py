"""Surgery on language models: what is merged, cut or brought to a lower rank answers through the engine that serves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sartor.core.errors import AskError, StoreError
from sartor.serving.engine import ENGINES
from sartor.serving.probe import check_probe, write_probe
from sartor.training.job import Part
from sartor.training.lowrank import read_lora

pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("llguidance", reason="the extra 'train' is not installed")

from surgery_house import operate

from benchmarks._tiny_lm import write_tiny_adapter, write_tiny_lm

ASKED = ["Sally had 12 apples.", "How many bolts are in the invoice of 3 May?", "lemon and mint"]


def part_on(folder: Path, base: Path, seed: int) -> Part:
    write_tiny_adapter(folder / "adapter", seed=seed)
    told = {"kind": "generate", "instructions": "Answer.", "max_tokens": 8, "stop": []}
    (folder / "writing.json").write_text(json.dumps(told))
    return Part(folder.name, "d" * 64, np.empty((0, 0)), folder, "lm", base, "lora")


def engine_on(base: Path | None) -> Any:
    plugin = ENGINES.take("lm")
    return plugin(base, plugin.read({"dtype": "float32"}))


def said(folder: Path, base: Path | None) -> list[str]:
    engine = engine_on(base)
    engine.add("v", folder)
    return [one.output for one in engine.write([("v", text) for text in ASKED])]


def test_an_adapter_put_into_its_base_writes_the_same(tiny_lm, tmp_path):
    parent = part_on(tmp_path / "parent", tiny_lm, 1)
    draft = operate("merge", tmp_path / "child", parent)
    assert draft.engine == "lm"
    assert not (tmp_path / "child" / "adapter").exists()
    assert (
        said(tmp_path / "child", None)
        == said(parent.folder, tiny_lm)
        != said(part_on(tmp_path / "x", tiny_lm, 2).folder, tiny_lm)
    )


def test_adapters_are_merged_and_brought_to_a_lower_rank(tiny_lm, tmp_path):
    parts = [part_on(tmp_path / name, tiny_lm, seed) for name, seed in (("a", 1), ("b", 2))]
    draft = operate("merge", tmp_path / "both", *parts, weights=(1.0, 0.0001), job={"base": tiny_lm})
    assert draft.facts["rank"] == 8
    assert said(tmp_path / "both", tiny_lm) == said(parts[0].folder, tiny_lm)
    lower = operate("low_rank", tmp_path / "low", parts[0], rank=4, job={"base": tiny_lm})
    assert lower.facts["kept"] == 1.0
    assert said(tmp_path / "low", tiny_lm) == said(parts[0].folder, tiny_lm)
    assert read_lora(tmp_path / "low" / "adapter").config["task_type"] == "CAUSAL_LM"


def test_an_adapter_comes_back_out_of_a_whole_model(tiny_lm, tmp_path):
    parent = part_on(tmp_path / "parent", tiny_lm, 1)
    operate("merge", tmp_path / "whole", parent)
    whole = Part("whole", "d" * 64, np.empty((0, 0)), tmp_path / "whole", "lm", None, "full")
    draft = operate("extract_adapter", tmp_path / "child", whole, rank=4, job={"base": tiny_lm})
    assert draft.facts["kept"] > 0.9999
    assert draft.facts["layers"] == 8
    assert said(tmp_path / "child", tiny_lm) == said(parent.folder, tiny_lm)


def test_a_language_model_loses_a_layer_and_still_writes(tiny_lm, tmp_path):
    operate("merge", tmp_path / "whole", part_on(tmp_path / "parent", tiny_lm, 1))
    whole = Part("whole", "d" * 64, np.empty((0, 0)), tmp_path / "whole", "lm", None, "full")
    draft = operate("prune", tmp_path / "child", whole, layers=1)
    assert (len(draft.facts["layers"]), draft.facts["layers_before"]) == (1, 2)
    assert len(said(tmp_path / "child", None)) == len(ASKED)


def test_what_is_for_encoders_alone_is_refused(tiny_lm, tmp_path):
    parent = part_on(tmp_path / "parent", tiny_lm, 1)
    for recipe in ("quantise", "trim_vocabulary", "shorten"):
        with pytest.raises(AskError, match=f"'{recipe}' works on encoders"):
            operate(recipe, tmp_path / recipe, parent)
    other = write_tiny_lm(tmp_path / "other", seed=3)
    config = json.loads((other / "config.json").read_text())
    assert config["model_type"] == "llama"
    stray = part_on(tmp_path / "stray", other, 1)
    assert operate("merge", tmp_path / "fits", stray).facts["result"] == "whole"


def test_the_probe_of_what_writes(tiny_lm, tmp_path):
    parent = part_on(tmp_path / "parent", tiny_lm, 1)
    engine = engine_on(tiny_lm)
    engine.add("v", parent.folder)
    write_probe(engine, "v", parent.folder, (), "float32")
    probe = json.loads((parent.folder / "probe.json").read_text())
    assert len(probe["outputs"]) == len(probe["texts"]) == 3
    check_probe(engine, "v", parent.folder, "v")
    other = part_on(tmp_path / "other", tiny_lm, 2)
    engine.add("w", other.folder)
    with pytest.raises(StoreError, match="does not answer as it did when it was made") as caught:
        check_probe(engine, "w", parent.folder, "w")
    assert caught.value.code == "probe_failed"
