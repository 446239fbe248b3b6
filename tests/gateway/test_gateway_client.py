"""The official `openai` client, unmodified, against a real server."""

import asyncio
import json
from typing import Any

import pytest
from gateway_server import Server, messages

openai = pytest.importorskip("openai", reason="the official client (package openai) is not installed")


@pytest.fixture
def client(server: Server) -> Any:
    with openai.OpenAI(base_url=server.url, api_key="not needed", max_retries=0) as found:
        yield found


def test_a_plain_answer_is_the_bare_label_with_its_figures_in_headers(client: Any) -> None:
    raw = client.chat.completions.with_raw_response.create(model="triage", messages=messages())
    answer = raw.parse()
    assert answer.choices[0].message.content == "card"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "triage@v7"
    assert answer.object == "chat.completion"
    assert answer.usage.total_tokens == 0
    assert raw.headers["x-sartor-variant"] == "ab" * 32
    assert raw.headers["x-sartor-route"] == "triage"
    assert raw.headers["x-sartor-decision"] == "answer"
    assert raw.headers["x-sartor-cost"] == "1.25e-06"
    assert 1 / 3 < float(raw.headers["x-sartor-confidence"]) <= 1
    assert answer._request_id == raw.headers["x-request-id"]
    assert answer._request_id.startswith("req_")


def test_a_stream_tells_the_role_first_and_the_usage_when_asked(client: Any) -> None:
    asked = {"model": "triage@live", "messages": messages("where is my money"), "stream": True}
    chunks = list(client.chat.completions.create(**asked))
    assert [c.choices[0].delta.role for c in chunks] == ["assistant", None, None]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "money"
    assert [c.choices[0].finish_reason for c in chunks] == [None, None, "stop"]
    assert len({c.id for c in chunks}) == 1
    with_usage = list(client.chat.completions.create(**asked, stream_options={"include_usage": True}))
    assert [len(c.choices) for c in with_usage] == [1, 1, 1, 0]
    assert [c.usage is None for c in with_usage] == [True, True, True, False]


def test_the_stream_helper_of_the_client_works(client: Any) -> None:
    with client.chat.completions.stream(model="triage", messages=messages()) as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_completion().choices[0].message.content == "card"
    assert "content.delta" in kinds


def test_the_asynchronous_client_works_and_many_at_once_get_their_own(server: Server) -> None:
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0) as client:
            texts = ["my card is lost", "where is my money", "close the account"] * 8
            asked = (client.chat.completions.create(model="triage", messages=messages(text)) for text in texts)
            return [answer.choices[0].message.content for answer in await asyncio.gather(*asked)]

    assert asyncio.run(ask()) == ["card", "money", "other"] * 8


def test_every_harmless_parameter_is_taken(client: Any) -> None:
    answer = client.chat.completions.create(
        model="triage",
        messages=[
            {"role": "developer", "content": "You are terse."},
            {"role": "user", "content": [{"type": "text", "text": "my card is lost"}], "name": "ann"},
        ],
        temperature=0,
        top_p=1,
        max_tokens=5,
        max_completion_tokens=5,
        n=1,
        user="u",
        seed=7,
        stop=["\n"],
        metadata={"a": "b"},
        store=True,
        presence_penalty=0,
        frequency_penalty=0.5,
        service_tier="auto",
        reasoning_effort="low",
        verbosity="low",
        logprobs=False,
        tools=[],
        logit_bias={},
        parallel_tool_calls=False,
        tool_choice="none",
        modalities=["text"],
        safety_identifier="s",
        prompt_cache_key="k",
    )
    assert answer.choices[0].message.content == "card"


def test_structured_answers(client: Any) -> None:
    def content(wanted: dict[str, Any]) -> Any:
        answer = client.chat.completions.create(model="triage", messages=messages(), response_format=wanted)
        return json.loads(answer.choices[0].message.content)

    assert content({"type": "json_object"}) == {"label": "card"}
    schema = {"type": "object", "properties": {"intent": {"enum": ["card", "money", "other"]}}, "required": ["intent"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "intent", "schema": schema, "strict": True}}
    assert content(wanted) == {"intent": "card"}

    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Intent", topic=(str, ...))
    parsed = client.chat.completions.parse(model="triage", messages=messages(), response_format=model)
    assert parsed.choices[0].message.parsed.topic == "card"


def test_models_are_listed_and_found(client: Any) -> None:
    names = [model.id for model in client.models.list()]
    assert names[:4] == ["triage", "triage@live", "triage@previous", "triage@v7"]
    assert client.models.retrieve("triage@v7").owned_by == "sartor"


def test_errors_arrive_as_the_clients_own(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="Did you mean 'triage'") as missing:
        client.chat.completions.create(model="triagge", messages=messages())
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    assert "triage@live" in str(missing.value)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")
    with pytest.raises(openai.BadRequestError, match="'logit_bias' is not supported") as bias:
        client.chat.completions.create(model="triage", messages=messages(), logit_bias={"50256": -100})
    assert bias.value.param == "logit_bias"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="triage", messages=messages(), n=2, stream=True)
