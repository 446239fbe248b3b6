"""Answers that are written, to the official client: wishes are kept, pieces are real, and leaving ends the writing."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway_names import make_task
from gateway_server import Server, messages, running

openai = pytest.importorskip("openai", reason="the official client (package openai) is not installed")
pytest.importorskip("llguidance", reason="the extra 'train' is not installed")
pytest.importorskip("torch", reason="the extra 'train' is not installed")

from benchmarks._tiny_lm import write_tiny_adapter  # noqa: E402
from sartor.core.licence import Licence  # noqa: E402
from sartor.core.records import Variant  # noqa: E402
from sartor.core.route import Route  # noqa: E402
from sartor.core.stating import pricing_of  # noqa: E402
from sartor.gateway.routes import Served  # noqa: E402
from sartor.serving.fleet import Fleet  # noqa: E402
from sartor.serving.pen import Pen  # noqa: E402
from sartor.serving.predictor import Stating, VariantPredictor  # noqa: E402

SCHEMA = {
    "type": "object",
    "properties": {"size": {"enum": ["small", "large"]}, "brand": {"type": "string", "maxLength": 8}},
    "required": ["size", "brand"],
    "additionalProperties": False,
}
RUBRIC = [{"use": "exact", "name": "right", "cost": 1.0}]


@pytest.fixture(scope="module")
def fleet(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """One adapter as two variants: `texts` and `objects`."""
    root = tmp_path_factory.mktemp("written")
    folders = {"base": tiny_lm}
    for name, schema in (("texts", {}), ("objects", SCHEMA)):
        folder = folders[name] = root / name
        write_tiny_adapter(folder / "adapter", seed=3)
        told = {"instructions": "Write it.", "max_tokens": 40, "json_schema": schema}
        (folder / "writing.json").write_text(json.dumps(told))
        (folder / "calibration.json").write_text("{}")
    made: dict[str, Any] = {"task": "t", "recipe": "lora", "engine": "lm", "labels": (), "parents": {"base": "base"}}
    variants = {name: Variant(name=name, licence=Licence.of("owned"), **made) for name in folders}
    return Fleet(variants.__getitem__, folders.__getitem__)


@pytest.fixture(scope="module")
def writing(fleet: Fleet) -> Iterator[Server]:
    tasks = {
        "texts": make_task("texts", kind="generate", value={"rubric": RUBRIC}),
        "objects": make_task("objects", kind="extract", answer={"json_schema": SCHEMA}),
    }
    pen = Pen(fleet.pieces)
    found = [
        Served(
            name,
            f"{name}@v1",
            name,
            task,
            VariantPredictor(fleet, name, Stating(pricing_of(task.value), streams=name == "texts"), write=pen.write),
            Route(name=name, task=name, policy=name),
            writes=True,
        )
        for name, task in tasks.items()
    ]
    with running(found) as server:
        yield server


@pytest.fixture
def client(writing: Server) -> Any:
    with openai.OpenAI(base_url=writing.url, api_key="not needed", max_retries=0) as found:
        yield found


def test_lengths_stops_and_usage_are_as_wished(client: Any) -> None:
    asked = {"model": "texts", "messages": messages()}
    plain = client.chat.completions.create(**asked)
    assert (plain.choices[0].finish_reason, plain.usage.completion_tokens) == ("length", 40)
    assert plain.usage.prompt_tokens > 20
    short = client.chat.completions.create(**asked, max_completion_tokens=5, logprobs=True, temperature=0, seed=1)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 5)
    text, told = short.choices[0].message.content, short.choices[0].logprobs.content
    assert plain.choices[0].message.content.startswith(text)
    assert "".join(token.token for token in told) == text
    assert all(token.logprob <= 0 for token in told)
    stop = plain.choices[0].message.content[4:7]
    cut = client.chat.completions.create(**asked, stop=[stop])
    assert cut.choices[0].finish_reason == "stop"
    assert cut.choices[0].message.content == plain.choices[0].message.content.partition(stop)[0]
    by_prompt = client.completions.create(model="texts", prompt="my card is lost", max_tokens=3)
    assert (by_prompt.choices[0].finish_reason, by_prompt.usage.completion_tokens) == ("length", 3)


def test_a_stream_comes_in_real_pieces_with_its_end_and_usage(client: Any) -> None:
    asked = {"model": "texts", "messages": messages(), "max_tokens": 12}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) > 3
    assert "".join(texts) == whole
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[-1].usage.completion_tokens == 12
    pieces = list(client.completions.create(model="texts", prompt="my card is lost", max_tokens=6, stream=True))
    assert len(pieces) > 2
    assert pieces[-1].choices[0].finish_reason == "length"


def test_an_object_keeps_to_the_schema_of_the_task_or_of_the_caller(client: Any) -> None:
    for stream in (False, True):
        asked = {"model": "objects", "messages": messages(), "stream": stream}
        answer = client.chat.completions.create(**asked)
        text = (
            "".join(c.choices[0].delta.content or "" for c in answer) if stream else answer.choices[0].message.content
        )
        assert set(json.loads(text)) <= {"size", "brand"}
    wanted = {"type": "object", "properties": {"z": {"type": "boolean"}}, "required": ["z"]}
    wanted["additionalProperties"] = False
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted, "strict": True}}
    for model in ("texts", "objects"):
        found = client.chat.completions.create(model=model, messages=messages(), response_format=form)
        assert json.loads(found.choices[0].message.content)["z"] in (True, False)
        assert found.choices[0].finish_reason == "stop"
    free = client.chat.completions.create(
        model="texts", messages=messages(), response_format={"type": "json_object"}, max_tokens=200
    )
    assert free.choices[0].message.content.startswith("{")
    bad = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "string", "enum": []}}}
    with pytest.raises(openai.BadRequestError, match="can't be held to"):
        client.chat.completions.create(model="texts", messages=messages(), response_format=bad)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"top_p": 0.5, "temperature": 0.7}, "'top_p' is not supported"),
        ({"frequency_penalty": 1}, "'frequency_penalty' is not supported"),
        ({"logprobs": True, "top_logprobs": 3}, "'top_logprobs' is not supported"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "up to 4 texts"),
        ({"n": 2}, "there is one answer"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "'tools' is not supported"),
        ({"response_format": {"type": "json_schema"}}, "'response_format' is one of"),
        ({"max_tokens": 5000}, "an answer of up to 5,000 tokens, that is"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(client: Any, wish: dict[str, Any], why: str) -> None:
    with pytest.raises(openai.BadRequestError, match=why):
        client.chat.completions.create(model="texts", messages=messages(), **wish)


def test_a_client_that_leaves_ends_its_answer(client: Any, writing: Server, fleet: Fleet) -> None:
    stream = client.chat.completions.create(model="texts", messages=messages(), max_tokens=400, stream=True)
    next(iter(stream))
    stream.close()
    engine = fleet._hold("texts").engine
    end = time.monotonic() + 20
    while engine.under_way() and time.monotonic() < end:
        time.sleep(0.01)
    assert engine.under_way() == 0
