"""One contract for every protocol of the shelf, each against a local server that speaks it as documented."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from sartor.core.errors import AskError, SartorError, UpstreamError
from sartor.core.predict import Chunk, Request, Usage
from sartor.core.route import Timing, Upstream
from sartor.gateway.protocol import PROTOCOLS
from sartor.gateway.upstream import UpstreamPredictor, open_upstream

KEY = "sk-secret-1"
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Look out", "parameters": {"type": "object", "properties": {}}},
}


def chat(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "How is Oslo?"}]
    return {"model": "asked", "messages": messages, "max_tokens": 7} | fields


def sse(*events: Any, names: bool = False) -> bytes:
    parts = [(f"event: {e['type']}\n" if names else "") + f"data: {json.dumps(e)}\n\n" for e in events]
    return "".join(parts).encode()


OPENAI_USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 4,
    "total_tokens": 24,
    "prompt_tokens_details": {"cached_tokens": 8},
}
OPENAI_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}


def openai_whole(message: dict[str, Any], finish: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "m"} | {
        "choices": [choice],
        "usage": OPENAI_USAGE,
    }


def openai_chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [choice]}


ANTHROPIC_USAGE = {"input_tokens": 12, "cache_read_input_tokens": 8, "output_tokens": 4}


def anthropic_whole(content: list[dict[str, Any]], reason: str) -> dict[str, Any]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    return head | {"content": content, "stop_reason": reason, "usage": ANTHROPIC_USAGE}


def anthropic_events(block: dict[str, Any], deltas: list[dict[str, Any]], reason: str) -> bytes:
    start = anthropic_whole([], None) | {"usage": ANTHROPIC_USAGE | {"output_tokens": 1}}
    return sse(
        {"type": "message_start", "message": start},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 4}},
        {"type": "message_stop"},
        names=True,
    )


def google_piece(parts: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": parts}} | ({"finishReason": reason} if reason else {})
    usage = {"promptTokenCount": 20, "candidatesTokenCount": 3, "thoughtsTokenCount": 1, "cachedContentTokenCount": 8}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r1"}


GOOGLE_CALL = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}
TEXT_DELTAS = [{"type": "text_delta", "text": t} for t in ("Co", "ld")]
JSON_DELTAS = [{"type": "input_json_delta", "partial_json": t} for t in ("", '{"city":', '"Oslo"}')]
NO_SUCH = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}


@dataclass(frozen=True)
class Wire:
    """How one protocol looks on the wire."""

    path: str
    stream_path: str
    key: str
    """Header line with the key."""
    body: dict[str, Any]
    """What the plain chat becomes."""
    text: Any
    text_stream: bytes
    call: Any
    call_stream: bytes
    missing: Any
    """The error for a model that is not there."""


WIRES = {
    "openai": Wire(
        path="/v1/chat/completions",
        stream_path="/v1/chat/completions",
        key=f"authorization: Bearer {KEY}",
        body=chat(model="there"),
        text=openai_whole({"content": "Cold"}, "stop"),
        text_stream=sse(
            openai_chunk({"role": "assistant", "content": ""}),
            openai_chunk({"content": "Co"}),
            openai_chunk({"content": "ld"}),
            openai_chunk({}, "stop"),
            openai_chunk({}) | {"choices": [], "usage": OPENAI_USAGE},
        )
        + b"data: [DONE]\n\n",
        call=openai_whole({"content": None, "tool_calls": [OPENAI_CALL]}, "tool_calls"),
        call_stream=sse(
            openai_chunk(
                {"tool_calls": [OPENAI_CALL | {"index": 0, "function": {"name": "weather", "arguments": ""}}]}
            ),
            openai_chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":"Oslo"}'}}]}),
            openai_chunk({}, "tool_calls"),
            openai_chunk({}) | {"choices": [], "usage": OPENAI_USAGE},
        )
        + b"data: [DONE]\n\n",
        missing=NO_SUCH,
    ),
    "anthropic": Wire(
        path="/v1/messages",
        stream_path="/v1/messages",
        key=f"x-api-key: {KEY}",
        body={
            "model": "there",
            "max_tokens": 7,
            "system": "Be short.",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "How is Oslo?"}]}],
        },
        text=anthropic_whole([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Cold"}], "end_turn"),
        text_stream=anthropic_events({"type": "text", "text": ""}, TEXT_DELTAS, "end_turn"),
        call=anthropic_whole(
            [{"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}}], "tool_use"
        ),
        call_stream=anthropic_events(
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}}, JSON_DELTAS, "tool_use"
        ),
        missing={"type": "error", "error": {"type": "not_found_error", "message": "no such model"}},
    ),
    "google": Wire(
        path="/v1/models/there:generateContent",
        stream_path="/v1/models/there:streamGenerateContent?alt=sse",
        key=f"x-goog-api-key: {KEY}",
        body={
            "contents": [{"role": "user", "parts": [{"text": "How is Oslo?"}]}],
            "systemInstruction": {"parts": [{"text": "Be short."}]},
            "generationConfig": {"maxOutputTokens": 7},
        },
        text=google_piece([{"text": "hm", "thought": True}, {"text": "Cold"}], "STOP"),
        text_stream=sse(
            google_piece([{"text": "Co"}], None), google_piece([{"text": "ld"}], None), google_piece([], "STOP")
        ),
        call=google_piece([GOOGLE_CALL | {"functionCall": GOOGLE_CALL["functionCall"] | {"id": "call_1"}}], "STOP"),
        call_stream=sse(
            google_piece([{"functionCall": GOOGLE_CALL["functionCall"] | {"id": "call_1"}}], None),
            google_piece([], "STOP"),
        ),
        missing={"error": {"code": 404, "message": "no such model", "status": "NOT_FOUND"}},
    ),
}


@dataclass
class Scripted:
    """A server that answers what it is told, and keeps what it was asked."""

    port: int = 0
    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    head: str = ""
    asked: dict[str, Any] = field(default_factory=dict)

    def says(self, said: Any, status: int = 200) -> None:
        stream = isinstance(said, bytes)
        self.body, self.kind = (
            (said, "text/event-stream") if stream else (json.dumps(said).encode(), "application/json")
        )
        self.status = status

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(self.head.lower().split("content-length: ")[1].split("\r\n")[0])
                self.asked = json.loads(await reader.readexactly(length))
                head = f"HTTP/1.1 {self.status} X\r\ncontent-type: {self.kind}; charset=utf-8\r\n"
                writer.write(f"{head}content-length: {len(self.body)}\r\n\r\n".encode() + self.body)
        except asyncio.IncompleteReadError:
            writer.close()


def against(name: str, test: Callable[[Scripted, UpstreamPredictor], Awaitable[None]]) -> None:
    async def main() -> None:
        server = Scripted()
        listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
        server.port = listening.sockets[0].getsockname()[1]
        timing = Timing(first_token=2, between_chunks=2, total=4)
        url = f"http://127.0.0.1:{server.port}/v1"
        spec = Upstream(name="up", model="there", base_url=url, protocol=name, allow_private=True, timing=timing)
        await test(server, open_upstream(spec, secret=lambda: KEY, price=lambda u: 1e-6 * u.input_tokens))
        listening.close()

    uvloop.run(main())


async def whole(upstream: UpstreamPredictor, body: dict[str, Any]) -> Any:
    (answer,) = await upstream.predict([Request("", chat=body)])
    return answer, json.loads(answer.reply)


async def pieces(upstream: UpstreamPredictor, body: dict[str, Any]) -> list[Chunk]:
    return [chunk async for chunk in upstream.stream(Request("", chat=body | {"stream": True}))]


def test_every_protocol_of_the_shelf_is_under_this_contract():
    assert PROTOCOLS.own() == sorted(WIRES)


@pytest.mark.parametrize("name", WIRES)
def test_a_chat_is_answered_in_openais_form(name: str):
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        server.says(WIRES[name].text)
        answer, reply = await whole(upstream, chat())
        assert server.head.startswith(f"POST {WIRES[name].path} HTTP/1.1\r\n")
        assert f"\r\n{WIRES[name].key}\r\n" in server.head
        assert server.asked == WIRES[name].body
        assert (answer.output, answer.usage) == ("Cold", Usage(20, 4, cached_tokens=8))
        assert answer.cost == answer.hops[0].cost == pytest.approx(20e-6)
        assert reply["object"] == "chat.completion"
        assert reply["choices"][0]["message"]["content"] == "Cold"
        assert reply["choices"][0]["finish_reason"] == "stop"
        assert reply["usage"] == OPENAI_USAGE

    against(name, main)


@pytest.mark.parametrize("name", WIRES)
def test_a_tool_is_called_in_openais_form(name: str):
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        server.says(WIRES[name].call)
        answer, reply = await whole(upstream, chat(tools=[TOOL], tool_choice="required"))
        assert "weather" in json.dumps(server.asked)
        assert answer.output is None
        assert reply["choices"][0]["message"]["tool_calls"] == [OPENAI_CALL]
        assert reply["choices"][0]["finish_reason"] == "tool_calls"

    against(name, main)


@pytest.mark.parametrize("name", WIRES)
def test_streams_add_up_to_the_same_answers(name: str):
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        server.says(WIRES[name].text_stream)
        chunks = await pieces(upstream, chat())
        assert server.head.startswith(f"POST {WIRES[name].stream_path} HTTP/1.1\r\n")
        check_events(chunks)
        last = chunks[-1].final
        assert "".join(chunk.text for chunk in chunks) == last.output == "Cold"
        assert last.usage == Usage(20, 4, cached_tokens=8)
        assert json.loads(chunks[-1].raw.removeprefix(b"data: "))["usage"] == OPENAI_USAGE
        message = json.loads(last.reply)["choices"][0]
        assert (message["message"]["content"], message["finish_reason"]) == ("Cold", "stop")

        server.says(WIRES[name].call_stream)
        chunks = await pieces(upstream, chat(tools=[TOOL]))
        check_events(chunks)
        message = json.loads(chunks[-1].final.reply)["choices"][0]
        assert message["message"]["tool_calls"] == [OPENAI_CALL]
        assert message["finish_reason"] == "tool_calls"

    against(name, main)


def check_events(chunks: list[Chunk]) -> None:
    """Whatever is relayed is what an OpenAI client reads."""
    events = b"".join(chunk.raw for chunk in chunks[:-1]).split(b"\n\n")[:-1]
    assert len(events) >= 2
    for event in events:
        read = json.loads(event.removeprefix(b"data: "))
        assert read["object"] == "chat.completion.chunk"
        assert len(read["choices"]) == 1


@pytest.mark.parametrize("name", WIRES)
def test_errors_keep_their_words(name: str):
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        server.says(WIRES[name].missing, 404)
        with pytest.raises(UpstreamError, match="no such model") as caught:
            await whole(upstream, chat())
        assert caught.value.http_status == 404
        server.says(WIRES[name].missing, 401)
        with pytest.raises(UpstreamError, match="refused our key") as caught:
            await whole(upstream, chat())
        assert caught.value.http_status == 502

    against(name, main)


REWRITTEN = [name for name in WIRES if name != "openai"]


@pytest.mark.parametrize("name", REWRITTEN)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("logit_bias", {"5": 1}),
        ("logprobs", True),
        ("n", 2),
        ("reasoning_effort", "high"),
        ("audio", {"voice": "x"}),
        ("something_new", 1),
        ("tools", [{"type": "custom", "custom": {"name": "x"}}]),
        ("messages", [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]),
        ("messages", [{"role": "narrator", "content": "x"}]),
    ],
)
def test_what_a_protocol_cannot_say_is_refused_by_name(name: str, field: str, value: Any):
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        with pytest.raises(AskError) as caught:
            await whole(upstream, chat(**{field: value}))
        assert caught.value.param.startswith(field)
        assert field in caught.value.message
        assert not server.head

    against(name, main)


@pytest.mark.parametrize("name", REWRITTEN)
@pytest.mark.parametrize(
    "broken",
    [
        {"messages": "text"},
        {"messages": [{"content": "no role"}]},
        {"messages": [{"role": "tool", "content": "no call"}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}]}]},
        {"tools": [{"type": "function"}], "messages": []},
        {"temperature": "hot", "messages": [{"role": "user", "content": "x"}], "tools": 5},
    ],
)
def test_a_chat_that_is_none_is_the_askers_fault(name: str, broken: dict[str, Any]):
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        with pytest.raises(AskError):
            await whole(upstream, broken)
        assert not server.head

    against(name, main)


@pytest.mark.parametrize("name", REWRITTEN)
def test_harmless_parameters_stay_behind(name: str):
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        server.says(WIRES[name].text)
        extra = {
            "metadata": {"a": "b"},
            "n": 1,
            "logit_bias": None,
            "store": False,
            "response_format": {"type": "text"},
        }
        await whole(upstream, chat(**extra))
        assert server.asked == WIRES[name].body

    against(name, main)


TURNS = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": '{"sky": "grey"}'},
    {"role": "user", "content": [{"type": "text", "text": "And "}, {"type": "text", "text": "now?"}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]},
]


def test_turns_with_tools_and_images_for_anthropic():
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        server.says(WIRES["anthropic"].text)
        body = {"messages": TURNS, "tools": [TOOL], "parallel_tool_calls": False, "user": "u1", "stop": "END"}
        await whole(upstream, body | {"tool_choice": {"type": "function", "function": {"name": "weather"}}})
        assert server.asked["messages"] == [
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": '{"sky": "grey"}'},
                    {"type": "text", "text": "And "},
                    {"type": "text", "text": "now?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                ],
            },
        ]
        assert server.asked["tool_choice"] == {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}
        assert server.asked["max_tokens"] == 4096
        assert (server.asked["metadata"], server.asked["stop_sequences"]) == ({"user_id": "u1"}, ["END"])
        with pytest.raises(AskError, match="temperature"):
            await whole(upstream, chat(temperature=1.5))

    against("anthropic", main)


def test_turns_with_tools_and_images_for_google():
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        server.says(WIRES["google"].text)
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
        body = {"messages": TURNS, "tools": [TOOL], "temperature": 0, "response_format": form}
        await whole(upstream, body | {"tool_choice": {"type": "function", "function": {"name": "weather"}}})
        assert server.asked["contents"] == [
            {"role": "user", "parts": [{"text": "Weather?"}]},
            {"role": "model", "parts": [GOOGLE_CALL]},
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "weather", "response": {"sky": "grey"}}},
                    {"text": "And "},
                    {"text": "now?"},
                    {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
                ],
            },
        ]
        call = {"mode": "ANY", "allowedFunctionNames": ["weather"]}
        assert server.asked["toolConfig"] == {"functionCallingConfig": call}
        settings = {"temperature": 0, "responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}}
        assert server.asked["generationConfig"] == settings

    against("google", main)


def test_google_says_otherwise_that_a_key_is_wrong_and_that_a_prompt_is_blocked():
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
        error = {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": details}
        server.says({"error": error}, 400)
        with pytest.raises(UpstreamError, match="refused our key") as caught:
            await whole(upstream, chat())
        assert caught.value.http_status == 502
        server.says({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 20}})
        answer, reply = await whole(upstream, chat())
        assert (answer.output, reply["choices"][0]["finish_reason"]) == (None, "content_filter")

    against("google", main)


def test_anthropic_tells_errors_in_the_middle_of_a_stream():
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        begun = WIRES["anthropic"].text_stream.split(b"event: message_delta")[0]
        server.says(begun + sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}))
        chunks: list[Chunk] = []

        async def take() -> None:
            async for chunk in upstream.stream(Request("", chat=chat())):
                chunks.append(chunk)  # noqa: PERF401 - those before the error count

        with pytest.raises(SartorError, match="Overloaded"):
            await take()
        assert chunks[-1].final.output == "Cold"

    against("anthropic", main)


def test_numbers_of_any_size_reach_an_openai_server():
    async def main(server: Scripted, upstream: UpstreamPredictor) -> None:
        server.says(WIRES["openai"].text)
        await whole(upstream, chat(seed=10**30))
        assert server.asked["seed"] == 10**30

    against("openai", main)
