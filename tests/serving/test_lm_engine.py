"""The engine of language models: company changes no answer, wishes are kept, memory is bounded, adapters keep apart."""

import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llguidance", reason="the extra 'train' is not installed")
pytest.importorskip("torch", reason="the extra 'train' is not installed")

from lm_house import SCHEMA, TEXTS, alone, open_lm, write_variant

from sartor.core.errors import AskError, NotFoundError, RefusedError, StoreError
from sartor.serving.engine import Flowing, Wish, Writer
from sartor.serving.kept import Kept

COUNT = 6


@pytest.fixture(scope="module")
def engine(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Six adapters `a0` to `a5`, the base alone as `base`, and an extraction `x` on an adapter."""
    root, made = tmp_path_factory.mktemp("variants"), open_lm(tiny_lm)
    for i in range(COUNT):
        made.add(f"a{i}", write_variant(root / f"a{i}", seed=i, rank=2 + i))
    made.add("base", write_variant(root / "base"))
    made.add("x", write_variant(root / "x", seed=9, kind="extract", json_schema=SCHEMA, max_tokens=80))
    return made


def test_it_is_a_writer_whose_answers_flow(engine: Any) -> None:
    assert isinstance(engine, Writer)
    assert isinstance(engine, Flowing)
    assert engine.under_way() == 0


def test_a_mixed_batch_writes_what_each_writes_alone(engine: Any) -> None:
    work = [(key, text) for text in TEXTS for key in ("a0", "x", "base", "a1", "a2", "a3", "a4", "a5")]
    mixed = engine.write(work)
    for (key, text), written in zip(work, mixed, strict=True):
        by_itself = alone(engine, key, text)
        assert written.output == by_itself.output
        assert written.usage.output_tokens == by_itself.usage.output_tokens
        assert written.usage.cpu_seconds > 0
    of_one_text = {written.output for (_, text), written in zip(work, mixed, strict=True) if text == TEXTS[0]}
    assert len(of_one_text) == 8, "every variant writes something of its own"


def test_a_full_model_is_served_beside_adapters(engine: Any, tmp_path: Path) -> None:
    from benchmarks._tiny_lm import write_tiny_lm

    own = write_variant(tmp_path / "own")
    write_tiny_lm(own / "model", seed=5)
    engine.add("own", own)
    plain = open_lm(own / "model")
    plain.add("v", write_variant(tmp_path / "v"))
    first, second = engine.write([("own", TEXTS[0]), ("a1", TEXTS[0])])
    assert first.output == alone(plain, "v", TEXTS[0]).output
    assert second.output == alone(engine, "a1", TEXTS[0]).output
    engine.drop("own")


def test_an_answer_cannot_break_its_schema(engine: Any) -> None:
    for text in TEXTS:
        written = alone(engine, "x", text)
        found = json.loads(written.output)
        assert set(found) <= set(SCHEMA["properties"])
        assert found["size"] in ("small", "large")
        assert len(found["brand"]) <= 8
        assert written.finish == "stop"
        assert {said.path for said in written.said} >= {"/brand", "/size"}
        assert all(-16 <= said.score <= 16 for said in written.said)
    wished = {"type": "object", "properties": {"z": {"type": "boolean"}, "a": {"const": 1}}, "required": ["z", "a"]}
    wished["additionalProperties"] = False
    assert alone(engine, "a1", "hm", Wish(json_schema=wished, max_tokens=40)).output in (
        '{"z":true,"a":1}',
        '{"z":false,"a":1}',
    )
    cut = alone(engine, "x", TEXTS[0], Wish(max_tokens=9))
    assert cut.finish == "length"
    assert set(json.loads(cut.output)) <= {"brand"}, "of an answer that is cut off, what was whole is said"
    with pytest.raises(AskError, match=r"can't be held to.*incompatible"):
        alone(engine, "a1", "hm", Wish(json_schema={"allOf": [{"type": "string"}, {"type": "number"}]}))


def test_pieces_are_the_answer_and_stops_never_show(engine: Any) -> None:
    *pieces, whole = engine.pieces("a2", TEXTS[1])
    assert len(pieces) > 2
    assert "".join(pieces) == whole.output == alone(engine, "a2", TEXTS[1]).output
    stop = whole.output[3:6]
    *pieces, cut = engine.pieces("a2", TEXTS[1], Wish(stop=(stop, "never")))
    assert "".join(pieces) == cut.output == whole.output[: whole.output.index(stop)]
    assert cut.finish == "stop"
    assert whole.finish == "length"


def test_length_logprobs_and_chance_are_as_wished(engine: Any) -> None:
    written = alone(engine, "a3", TEXTS[2], Wish(max_tokens=5, logprobs=True))
    assert written.usage.output_tokens == len(written.logprobs) == 5
    assert "".join(token for token, _ in written.logprobs) == written.output
    assert all(score <= 0 for _, score in written.logprobs)
    total = sum(score for _, score in written.logprobs)
    assert written.said[0].score == pytest.approx(max(-16.0, total - math.log(-math.expm1(total))), abs=1e-6)
    drawn = [alone(engine, "a3", TEXTS[2], Wish(temperature=1.5, seed=seed)).output for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_deadlines_and_leaving_end_an_answer_at_a_token(engine: Any) -> None:
    late = alone(engine, "a0", TEXTS[0], Wish(deadline=time.monotonic() - 1))
    assert (late.finish, late.output) == ("deadline", "")
    gone = threading.Event()
    stream = engine.pieces("a0", TEXTS[0], Wish(max_tokens=400, gone=gone.is_set))
    next(stream)
    gone.set()
    *_, last = stream
    assert last.finish == "cancelled"
    assert last.usage.output_tokens < 10
    stream = engine.pieces("a0", TEXTS[0], Wish(max_tokens=400))
    next(stream)
    stream.close()
    assert alone(engine, "a1", TEXTS[0], Wish(max_tokens=1)).finish == "length"
    assert engine.under_way() == 0


def test_a_question_too_long_says_by_how_much(engine: Any) -> None:
    with pytest.raises(AskError, match=r"that is [\d,]+ more than the 512 that this base reads") as caught:
        alone(engine, "a0", "apples " * 600)
    assert caught.value.code == "context_length_exceeded"
    long = "a" * 300
    room = 512 - alone(engine, "a0", long, Wish(max_tokens=1)).usage.input_tokens
    assert alone(engine, "a0", long, Wish(max_tokens=room)).finish == "length"
    with pytest.raises(AskError, match=f"an answer of up to {room + 7} tokens, that is 7 more than"):
        alone(engine, "a0", long, Wish(max_tokens=room + 7))


def test_what_is_not_there_or_damaged_is_said(engine: Any, tiny_lm: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not hold variant 'nobody'"):
        engine.write([("nobody", "hm")])
    engine.drop("nobody")
    folder = write_variant(tmp_path / "v", seed=1)
    (folder / "writing.json").write_text("{")
    with pytest.raises(StoreError, match=r"writing\.json"):
        engine.add("v", folder)
    other = write_variant(tmp_path / "w", seed=1)
    from safetensors.torch import load_file, save_file

    file = other / "adapter" / "adapter_model.safetensors"
    save_file({name.replace("layers.1", "layers.7"): tensor for name, tensor in load_file(file).items()}, file)
    with pytest.raises(RefusedError, match="another base"):
        engine.add("w", other)
    with pytest.raises(AskError, match="needs the folder of its base"):
        open_lm(None).add("v", write_variant(tmp_path / "u", seed=1))


def test_under_load_and_eviction_every_answer_is_of_its_own_adapter(tiny_lm: Path, tmp_path: Path) -> None:
    engine = open_lm(tiny_lm, lines=7, cache_tokens=600, memory_mb=1)
    engine.kept._budget = 3 * 23_000  # three of twelve adapters
    for i in range(12):
        engine.add(f"a{i}", write_variant(tmp_path / f"a{i}", seed=i, max_tokens=6))
    own = {(i, text): alone(engine, f"a{i}", text).output for i in range(12) for text in TEXTS}
    assert len(set(own.values())) == len(own)
    asked = [(i, text) for round_ in range(3) for text in TEXTS for i in range(12) if (i + round_) % 3]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda pair: alone(engine, f"a{pair[0]}", pair[1]).output, asked))
    assert found == [own[pair] for pair in asked]
    assert engine.kept.evictions > 12
    assert engine.kept.bytes <= 3 * 23_000


@dataclass
class Thing:
    bytes: int
    busy: bool = False


def test_the_least_valuable_goes_first_and_never_what_is_at_work() -> None:
    things = {name: Thing(10) for name in "abcd"}
    loaded: list[str] = []

    def load(name: str) -> Thing:
        loaded.append(name)
        if name == "a":
            time.sleep(0.05)  # dear to load again
        return things[name]

    kept = Kept(load, 30)
    for name in "abbbc":
        kept.take(name)
    things["c"].busy = True
    kept.take("d")
    assert loaded == ["a", "b", "c", "d"]
    kept.take("a")
    kept.take("c")
    assert loaded == ["a", "b", "c", "d"], "b went: c was at work, and a takes longer to load"
    kept.take("b")
    assert kept.evictions == 2
    kept.forget("b")
    assert kept.bytes == 20
