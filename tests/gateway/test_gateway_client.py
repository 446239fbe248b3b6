"""Public clients, unmodified, against a real server: the official `openai` one, and LangChain's."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from gateway_server import Server, messages, running
from giant import Giant

from sartor.core.route import Route
from sartor.gateway.routes import Served

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


# An upstream behind the same address.


@pytest.fixture
def giant() -> Giant:
    return Giant()


@pytest.fixture
def relay(giant: Giant) -> Iterator[Server]:
    with running([Served("giant", "giant", "giant", None, giant, Route(name="giant", policy="giant"))]) as found:
        yield found


@pytest.fixture
def relayed(relay: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=relay.url, api_key="sk-any", max_retries=2) as found:
        yield found


TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "route", "parameters": {"type": "object", "properties": {"to": {}}}}}
]


def test_an_upstream_answers_through_the_client(relayed: Any, relay: Server) -> None:
    raw = relayed.chat.completions.with_raw_response.create(model="giant", messages=messages(), logprobs=True)
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello, world"
    assert answer.usage.total_tokens == 14
    assert answer.id == relay.books.exchanges[0].id
    assert raw.headers["x-sartor-cost"] == "0.0025"


def test_an_upstream_streams_through_the_client(relayed: Any, giant: Giant) -> None:
    asked = {"model": "giant", "messages": messages(), "stream": True}
    chunks = list(relayed.chat.completions.create(**asked, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello, world"
    assert chunks[-1].usage.total_tokens == 14
    assert chunks[-1].model_extra["x-sartor-cost"] == 0.0025
    giant.breaks_after = 3
    with pytest.raises(openai.APIError, match="ended too early"):
        list(relayed.chat.completions.create(**asked))


def test_an_upstream_streams_to_the_asynchronous_client(relay: Server, giant: Giant) -> None:
    async def ask() -> tuple[str, int]:
        async with openai.AsyncOpenAI(base_url=relay.url, api_key="sk-any", max_retries=0) as client:
            asked = client.chat.completions.create(model="giant", messages=messages(), stream=True)
            said = [chunk.choices[0].delta.content or "" async for chunk in await asked]
            giant.stuck_after = 2
            async for _ in await asked_again(client):
                break
            return "".join(said), giant.closed

    async def asked_again(client: Any) -> Any:
        return await client.chat.completions.create(model="giant", messages=messages(), stream=True)

    said, closed = asyncio.run(ask())
    assert (said, closed) == ("Hello, world", 1)
    relay.until(lambda: giant.closed == 2)  # the client closed its connection in the middle of the second


def test_tools_pass_through_the_client(relayed: Any) -> None:
    asked = {"model": "giant", "messages": messages(), "tools": TOOLS, "tool_choice": "auto"}
    (call,) = relayed.chat.completions.create(**asked).choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("route", {"to": "cards"})
    with relayed.chat.completions.stream(**asked) as stream:
        for _ in stream:
            pass
        (call,) = stream.get_final_completion().choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"to": "cards"}


def test_a_task_calls_the_applications_tool_in_the_clients_own_form(client: Any) -> None:
    schema = {"type": "object", "properties": {"intent": {"type": "string"}}, "required": ["intent"]}
    tools: list[Any] = [{"type": "function", "function": {"name": "classify", "parameters": schema}}]
    choice = client.chat.completions.create(model="triage", messages=messages(), tools=tools).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"intent": "card"}


def test_the_client_repeats_what_may_be_repeated(relayed: Any, giant: Giant, relay: Server) -> None:
    giant.fails_first = 1
    assert relayed.chat.completions.create(model="giant", messages=messages()).choices[0].message.content
    assert [row.status for row in relay.books.exchanges] == [503, 200]


def test_embeddings_and_completions_through_the_client(relayed: Any) -> None:
    (item,) = relayed.embeddings.create(model="giant", input=["a"], encoding_format="float").data
    assert item.embedding == [0.5, -0.25]
    assert relayed.completions.create(model="giant", prompt="x").choices[0].text == "Hello, world"
    pieces = relayed.completions.create(model="giant", prompt="x", stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == "Hello, world"


def test_langchain_asks_streams_and_calls_tools(relay: Server, server: Server) -> None:
    chain = pytest.importorskip("langchain_openai", reason="LangChain's client (langchain-openai) is not installed")
    local = chain.ChatOpenAI(model="triage", base_url=server.url, api_key="x", max_retries=0)
    assert local.invoke("my card is lost").content == "card"
    assert "".join(piece.content for piece in local.stream("where is my money")) == "money"
    giant = chain.ChatOpenAI(model="giant", base_url=relay.url, api_key="x", max_retries=0, stream_usage=True)
    answer = giant.invoke("hello")
    assert (answer.content, answer.usage_metadata["total_tokens"]) == ("Hello, world", 14)
    pieces = list(giant.stream("hello"))
    assert "".join(piece.content for piece in pieces) == "Hello, world"
    assert sum(piece.usage_metadata["total_tokens"] for piece in pieces if piece.usage_metadata) == 14
    (call,) = giant.bind_tools(TOOLS).invoke("hello").tool_calls
    assert (call["name"], call["args"]) == ("route", {"to": "cards"})
