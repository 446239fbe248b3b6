"""GGUF files that are written here answer through llama.cpp as their parents do through torch; adapters never mix."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks._tiny_lm import write_tiny_adapter, write_tiny_lm
from sartor.core.errors import AskError
from sartor.core.gguf_header import read_header
from sartor.core.prompting import chat_text
from sartor.serving.engine import Wish, Writer, Written, open_engine
from sartor.serving.gguf_template import GgufTemplate
from sartor.training.job import Job, Part
from sartor.training.recipes import gguf as recipe

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

TEXTS = ("Sally had 12 apples", "20 steel bolts", "größer als 7")
SCHEMA = {
    "type": "object",
    "properties": {
        "size": {"type": "string", "maxLength": 6},
        "brand": {"enum": ["Acme", "Oz"]},
        "price": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
    },
    "required": ["brand", "size"],
}


@dataclass(frozen=True)
class House:
    """A tiny language model, two adapters for it, and what the recipe makes of them."""

    base: Path
    gguf_base: Path
    folder: Path

    def part(self, number: int) -> Part:
        folder = self.folder / f"lora{number}"
        if not folder.is_dir():
            write_tiny_adapter(folder / "adapter", seed=number)
            told = {"instructions": "Do it.", "json_schema": {}, "max_tokens": 24, "stop": []}
            (folder / "writing.json").write_text(json.dumps(told))
        return Part(f"lora{number}", "", np.zeros((0, 0)), folder, "lm", self.base, "lora")

    def made(self, number: int, base: Path | None = None, **params: object) -> Path:
        named = "-".join(map(str, params.values()))
        folder = self.folder / f"made-{number}-{named}"
        if not folder.is_dir():
            folder.mkdir()
            recipe.gguf(job(folder, self.part(number), base), recipe.Params.model_validate(params))
        return folder


def job(folder: Path, part: Part, base: Path | None = None) -> Job:
    none = np.zeros(0, dtype=np.int64)
    return Job((), [], none, [], none, folder, base=base, parts=(part,))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("gguf")
    made = House(write_tiny_lm(folder / "base"), folder / "gguf-base", folder)
    whole = Part("full", "", np.zeros((0, 0)), folder / "full", "lm", None, "full")
    (folder / "full").mkdir()
    (folder / "full" / "model").symlink_to(made.base)
    made.gguf_base.mkdir()
    recipe.gguf(job(made.gguf_base, whole), recipe.Params(level="f32"))
    return made


@pytest.fixture(scope="module")
def engine(house: House) -> Writer:
    opened = open_engine("gguf")
    assert isinstance(opened, Writer)
    for number in (1, 2):
        opened.add(f"whole{number}", house.made(number, level="f32"))
    return opened


def by_torch(house: House, number: int, text: str) -> str:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(house.base)
    model = AutoModelForCausalLM.from_pretrained(house.base)
    model = PeftModel.from_pretrained(model, house.part(number).folder / "adapter").eval()
    prompt = tokenizer(chat_text(tokenizer, "Do it.", text), add_special_tokens=False, return_tensors="pt")
    made = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    # Bytes that are no whole character at the end are shown by the one and not by the other.
    return str(tokenizer.decode(made, skip_special_tokens=True)).rstrip("\ufffd")


@pytest.mark.filterwarnings("ignore")
def test_merged_adapters_answer_as_torch_does(house: House, engine: Writer) -> None:
    for number in (1, 2):
        said = [
            written.output.rstrip("\ufffd") for written in engine.write([(f"whole{number}", text) for text in TEXTS])
        ]
        assert said == [by_torch(house, number, text) for text in TEXTS]


def test_adapters_over_one_base_answer_as_the_merged_do_and_never_mix(house: House, engine: Writer) -> None:
    over = open_engine("gguf", house.gguf_base)
    assert isinstance(over, Writer)
    for number in (1, 2):
        over.add(f"laid{number}", house.made(number, house.gguf_base, level="", keep="adapter"))
    work = [(number, text) for text in TEXTS for number in (1, 2)] * 4
    said = over.write([(f"laid{number}", text) for number, text in work])
    whole = engine.write([(f"whole{number}", text) for number, text in work])
    assert [s.output for s in said] == [w.output for w in whole]
    assert len({s.output for s in said}) == 6
    over.drop("laid1")
    assert over.write([("laid2", TEXTS[0])])[0].output == said[1].output


@pytest.mark.parametrize("level", ["f16", "bf16", "q8_0", "q5_1", "q4_0"])
def test_every_level_is_read_and_answers(house: House, engine: Writer, level: str) -> None:
    folder = house.made(1, level=level)
    engine.add(level, folder)
    (written,) = engine.write([(level, TEXTS[0])])
    engine.drop(level)
    assert written.usage.output_tokens > 0
    header = read_header(folder / "model.gguf")
    assert (header.architecture, header.number("block_count"), header.number("context_length")) == ("llama", 2, 512)


def test_an_answer_cannot_leave_its_schema(house: House, engine: Writer) -> None:
    folder = house.made(2, level="f32")
    told = json.loads((folder / "writing.json").read_text()) | {"json_schema": SCHEMA, "max_tokens": 80}
    extracting = house.folder / "extracting"
    extracting.mkdir()
    (extracting / "model.gguf").symlink_to(folder / "model.gguf")
    (extracting / "writing.json").write_text(json.dumps(told))
    engine.add("extracting", extracting)
    for text in TEXTS:
        (written,) = engine.write([("extracting", text)], [Wish(temperature=1.5, seed=3)])
        found = json.loads(written.output)
        assert found["brand"] in ("Acme", "Oz")
        assert isinstance(found["size"], str)
        assert {said.path for said in written.said} >= {"/brand", "/size"}
        assert all(np.isfinite(said.score) for said in written.said)
    with pytest.raises(AskError, match="No grammar can be made"):
        engine.write([("whole1", "x")], [Wish(json_schema={"type": "banana"})])


def test_wishes_are_heeded(engine: Writer) -> None:
    (plain,) = engine.write([("whole1", TEXTS[0])], [Wish(logprobs=True)])
    assert "".join(token for token, _ in plain.logprobs)[: len(plain.output)] == plain.output
    assert all(score <= 0 for _, score in plain.logprobs)
    (short,) = engine.write([("whole1", TEXTS[0])], [Wish(max_tokens=3)])
    assert (short.finish, short.usage.output_tokens) == ("length", 3)
    stop = plain.output[4:7]
    (stopped,) = engine.write([("whole1", TEXTS[0])], [Wish(stop=(stop,))])
    assert (stopped.finish, stopped.output) == ("stop", plain.output.split(stop)[0])
    (late,) = engine.write([("whole1", TEXTS[0])], [Wish(deadline=time.monotonic())])
    assert (late.finish, late.usage.output_tokens) == ("deadline", 1)
    warm = [engine.write([("whole1", TEXTS[0])], [Wish(temperature=1.0, seed=s)])[0].output for s in (1, 1, 2)]
    assert warm[0] == warm[1] != warm[2]


def test_pieces_come_as_they_are_written_and_stop_when_nobody_listens(engine: Writer) -> None:
    heard = list(engine.pieces("whole2", TEXTS[1]))
    assert isinstance(heard[-1], Written)
    assert "".join(piece for piece in heard[:-1] if isinstance(piece, str)) == heard[-1].output
    assert len(heard) > 5
    stream = engine.pieces("whole2", TEXTS[1])
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert engine.write([("whole2", TEXTS[1])])[0].output == heard[-1].output


def test_a_question_too_long_is_told_by_how_much(engine: Writer) -> None:
    with pytest.raises(AskError, match=r"tokens with its instructions, and the context holds 512: [\d,]+ too many"):
        engine.write([("whole1", "apples " * 600)])


def test_the_template_in_the_file_says_what_the_tokenizers_does(house: House) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(house.base)
    inside = GgufTemplate.of(house.made(1, level="f32") / "model.gguf")
    for instructions in ("", "Be brief."):
        assert chat_text(inside, instructions, "Ünï {x}") == chat_text(tokenizer, instructions, "Ünï {x}")
    assert inside.eos_token == tokenizer.eos_token


def test_what_can_not_be_written_or_read_is_refused_in_words(house: House, tmp_path: Path) -> None:
    strange = tmp_path / "full" / "model"
    strange.mkdir(parents=True)
    (strange / "config.json").write_text(json.dumps({"architectures": ["GPT2LMHeadModel"]}))
    (tmp_path / "full" / "writing.json").write_text("{}")
    part = Part("full", "", np.zeros((0, 0)), tmp_path / "full", "lm", None, "full")
    (tmp_path / "out").mkdir()
    with pytest.raises(AskError, match="GPT2LMHeadModel, and only LlamaForCausalLM"):
        recipe.gguf(job(tmp_path / "out", part), recipe.Params())
    with pytest.raises(ValueError, match=r"k-quants and i-quants need llama.cpp's own tool"):
        recipe.Params(level="q4_k_m")
    with pytest.raises(AskError, match="is one GGUF file"):
        recipe.gguf(job(tmp_path / "out", house.part(1), house.base), recipe.Params(keep="adapter"))

    whole = (house.made(1, level="f32") / "model.gguf").read_bytes()
    variants = {
        "mapped": (whole.replace(b"llama", b"klama"), "architecture 'klama', which llama.cpp"),
        "cut": (whole[:900], "ends within its header"),
        "other": (b"PK" + whole, "does not begin with 'GGUF'"),
        "greedy": (whole[:8] + b"\xff" * 16 + whole[24:], "claims to have"),
    }
    engine = open_engine("gguf")
    assert isinstance(engine, Writer)
    for name, (content, match) in variants.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.gguf").write_bytes(content)
        (folder / "writing.json").write_text("{}")
        with pytest.raises(AskError, match=match):
            engine.add(name, folder)
