"""Preferences: a lora variant learns from pairs and from marks, is the same again, and says what it lacks."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from sartor.core.errors import AskError
from sartor.core.prompting import answer_text, chat_text
from sartor.core.shelf import Shelf
from sartor.serving.engine import Writer, open_engine
from sartor.training.device import Device, device_for
from sartor.training.job import Draft, Job, Part, Preferences, Writing

RECIPES = Shelf("sartor.training.recipes")
COLOURS = ("red", "blue", "green")
TEXTS = [f"the {thing} is {colour}" for thing in ("hat", "box", "cup") for colour in COLOURS]
ANSWERS = [text.rsplit(" ", 1)[1] for text in TEXTS]


@pytest.fixture(scope="module")
def trl():
    return pytest.importorskip("trl")


def make(name: str, job: Job, **params: object) -> Draft:
    job.folder.mkdir(parents=True)
    plugin = RECIPES.take(name)
    draft: Draft = plugin(job, plugin.read(params))
    return draft


@pytest.fixture(scope="module")
def taught(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A lora variant as the part of a job that has something said of answers."""
    nothing = np.full(len(TEXTS), -1)
    writing = Writing("generate", ANSWERS, ANSWERS[:3], instructions="Say the colour.", max_tokens=8)
    home = tmp_path_factory.mktemp("lora")
    job = Job((), TEXTS, nothing, TEXTS[:3], nothing[:3], home / "part", base=tiny_lm, writing=writing)
    draft = make("lora", job, size="small", epochs=1, rank=4)
    part = Part("lora", "0" * 64, np.empty((0, 0)), job.folder, draft.engine, tiny_lm, "lora")
    pairs = [(text, right, "purple") for text, right in zip(TEXTS, ANSWERS, strict=True)]
    marks = [(text, right, True) for text, right, _ in pairs] + [(text, wrong, False) for text, _, wrong in pairs]
    said = Preferences(pairs, marks)
    return replace(job, parts=(part,), preferences=lambda: said, folder=home)


def margins(base: Path, folder: Path) -> float:
    """How much likelier the better answers are than the worse ones, in nats; read with transformers and peft."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(folder / "adapter")).eval()
    found = []
    for text, right in zip(TEXTS, ANSWERS, strict=True):
        prompt = tokenizer(chat_text(tokenizer, "Say the colour.", text), add_special_tokens=False)["input_ids"]
        said = []
        for answer in (right, "purple"):
            tokens = tokenizer(answer_text(tokenizer, answer), add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                scores = model(torch.tensor([prompt + tokens])).logits.log_softmax(-1)[0, len(prompt) - 1 : -1]
            said.append(float(scores.gather(-1, torch.tensor(tokens)[:, None]).sum()))
        found.append(said[0] - said[1])
    return float(np.mean(found))


def bytes_of(folder: Path) -> str:
    return sha256((folder / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


@pytest.mark.train
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("recipe", ["dpo", "kto"])
def test_what_people_preferred_becomes_likelier(recipe, taught, trl, tmp_path):
    draft = make(recipe, replace(taught, folder=tmp_path / "a"), size="small", epochs=2, rate=3e-3, batch=6)
    before, after = margins(taught.base, taught.parts[0].folder), margins(taught.base, tmp_path / "a")
    assert after > before + 0.3
    assert draft.engine == "lm"
    assert draft.facts["device"] == "cpu"
    assert sorted(f.name for f in (tmp_path / "a").iterdir()) == ["adapter", "writing.json"]
    config = json.loads((tmp_path / "a" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == ""
    engine = open_engine(draft.engine, taught.base)
    assert isinstance(engine, Writer)
    engine.add("v", tmp_path / "a")
    assert engine.write([("v", TEXTS[0])])[0].usage.output_tokens > 0
    make(recipe, replace(taught, folder=tmp_path / "b"), size="small", epochs=2, rate=3e-3, batch=6)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_what_is_missing_is_told(taught, tmp_path):
    with pytest.raises(AskError, match="there are 0 rows of that, where 4 are the least"):
        make("dpo", replace(taught, folder=tmp_path / "a", preferences=Preferences))
    with pytest.raises(AskError, match="goes on from one lora variant"):
        make("kto", replace(taught, folder=tmp_path / "b", parts=()))
    with pytest.raises(AskError, match="goes on from one lora variant"):
        make("dpo", replace(taught, folder=tmp_path / "c", base=tmp_path))
    with pytest.raises(AskError, match="torch finds no such GPU here"):
        make("dpo", replace(taught, folder=tmp_path / "d", device="cuda"))
    with pytest.raises(AskError, match="trained on a GPU"):
        make("dpo", replace(taught, folder=tmp_path / "e"), four_bit=True)


def test_a_gpu_is_told_bfloat16_and_to_compute_gradients_anew():
    import torch

    cuda = Device("cuda", bfloat16=True)
    assert cuda.load_settings() == {"dtype": torch.bfloat16, "device_map": {"": 0}}
    told = cuda.trainer_settings()
    assert (told["use_cpu"], told["bf16"], told["gradient_checkpointing"]) == (False, True, True)
    assert device_for("cpu").trainer_settings() == {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    with pytest.raises(AskError, match="no device 'tpu'"):
        device_for("tpu")


def test_a_base_in_four_bits_is_asked_for_or_its_package_named(monkeypatch):
    import importlib.util

    from sartor.core.errors import MissingExtraError

    four = Device("cuda", bfloat16=True, four_bit=True)
    if importlib.util.find_spec("bitsandbytes") is None:
        with pytest.raises(MissingExtraError, match="pip install bitsandbytes"):
            four.load_settings()
    else:
        found = four.load_settings()["quantization_config"]
        assert (found.load_in_4bit, found.bnb_4bit_quant_type) == (True, "nf4")
