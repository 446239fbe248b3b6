"""Recorded answers come back over the real protocol, for the text that they belong to, and for no other."""

import asyncio
import json
import random
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sartor.core.errors import AskError, NotFoundError, UpstreamError
from sartor.core.predict import Chunk, Prediction, Request, Usage
from sartor.core.route import Upstream
from sartor.core.task import Task
from sartor.gateway.recorded import Answered, Book, Recorded
from sartor.gateway.replay import ReplayServer
from sartor.gateway.upstream import UpstreamPredictor, open_upstream
from sartor.gateway.wire.server import serve
from sartor.pipeline.replay import open_replay, pairs

ROWS = [
    {"text": "my card", "gpt4": "card_arrival", "gpt35": "lost_card"},
    {"text": "Where is my card", "gpt4": "card_arrival", "gpt35": None},
    {"text": "what is the exchange rate?", "gpt4": "rate", "gpt35": "rate"},
    {"text": "fee", "gpt4": "charge", "gpt35": "charge"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.jsonl", ROWS)


ANSWERS = {"gpt-4": "gpt4", "gpt-3.5": "gpt35"}
Ask = Callable[[str], UpstreamPredictor]


def served(server: ReplayServer, test: Callable[[Ask], Awaitable[None]]) -> None:
    """Run the test against the server; it asks through the real client."""

    async def main() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        wire = await serve(server.handle, [listening])
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"

        def ask(model: str) -> UpstreamPredictor:
            spec = Upstream(name=model, model=model, base_url=url, allow_private=True, retries=0)
            return open_upstream(spec, secret=str, price=lambda u: 0.0)

        await test(ask)
        await wire.drain(0.1)

    uvloop.run(main())


async def answer(upstream: UpstreamPredictor, text: str, **fields: Any) -> Prediction:
    chat = {"messages": [{"role": "user", "content": text}]} | fields
    (found,) = await upstream.predict([Request("", chat=chat)])
    return found


def test_each_model_gives_its_own_recorded_answer(rows: Path):
    async def main(ask: Ask) -> None:
        assert (await answer(ask("gpt-4"), "Where is my card")).output == "card_arrival"
        assert (await answer(ask("gpt-3.5"), "what is the exchange rate?")).output == "rate"
        # It was asked, and gave no valid answer: that is an answer too.
        assert (await answer(ask("gpt-3.5"), "Where is my card")).output == ""

    served(open_replay(rows, answers=ANSWERS), main)


def test_the_text_is_found_inside_of_a_prompt(rows: Path):
    book = Book(Recorded(row["text"], {"m": Answered(row["text"])}) for row in ROWS)

    def found(said: str) -> str | None:
        answers = book.find(said)
        return answers["m"].text if answers else None

    assert found("Classify.\n\nText: Where is my card\nLabel:") == "Where is my card"
    assert found("Examples: what is the exchange rate? -> rate\nNow: my card") == "my card"
    assert found("fee") == found("Tell me the fee!") == "fee"
    assert found("a cup of coffee") is None
    assert found("feed my card reader") == "my card"
    assert found("nothing that was recorded") is None
    assert found("") is None


def test_a_text_without_an_answer_is_an_error_and_no_guess(rows: Path):
    async def main(ask: Ask) -> None:
        for model, text, code in (("gpt-4", "good morning", "not_recorded"), ("gpt-9", "my card", "model_not_found")):
            with pytest.raises(UpstreamError) as caught:
                await answer(ask(model), text)
            assert (caught.value.http_status, caught.value.code) == (404, code)

    served(open_replay(rows, answers=ANSWERS), main)


def test_streams_say_the_same_word_by_word(tmp_path: Path):
    path = write(tmp_path / "r.jsonl", [{"text": "rhyme", "poet": "roses are red"}])

    async def main(ask: Ask) -> None:
        chat = {"messages": [{"role": "user", "content": "rhyme"}]}
        chunks: list[Chunk] = [chunk async for chunk in ask("poet").stream(Request("", chat=chat))]
        assert b"".join(chunk.raw for chunk in chunks).count(b'"content":" ') == 2
        assert chunks[-1].final.output == (await answer(ask("poet"), "rhyme")).output == "roses are red"
        assert chunks[-1].final.usage == Usage(2, 4)

    served(open_replay(path, answers=pairs([], ["poet"])), main)


def test_tokens_and_time_are_declared_recorded_or_counted(rows: Path, tmp_path: Path):
    timed = write(tmp_path / "timed.jsonl", [{"text": "my card", "gpt4": "card_arrival", "seconds": 0.3}])

    async def slow(ask: Ask) -> None:
        before = time.perf_counter()
        found = await answer(ask("gpt4"), "my card")
        assert time.perf_counter() - before > 0.29  # timers count whole milliseconds
        assert found.usage == Usage(900, 3)

    async def counted(ask: Ask) -> None:
        assert (await answer(ask("gpt-4"), "x " * 100 + "my card")).usage == Usage(52, 3)

    served(open_replay(timed, answers={"gpt4": "gpt4"}, prompt_tokens=900), slow)
    served(open_replay(rows, answers=ANSWERS), counted)


def test_the_answer_keeps_to_the_form_that_is_asked_for(rows: Path):
    async def main(ask: Ask) -> None:
        schema = {"type": "object", "properties": {"intent": {"type": "string"}}, "required": ["intent"]}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        assert json.loads((await answer(ask("gpt-4"), "fee", response_format=form)).output) == {"intent": "charge"}
        tool = {"type": "function", "function": {"name": "route", "parameters": schema}}
        reply = json.loads((await answer(ask("gpt-4"), "fee", tools=[tool])).reply)
        (call,) = reply["choices"][0]["message"]["tool_calls"]
        assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("route", {"intent": "charge"})

    served(open_replay(rows, answers=ANSWERS), main)


def test_a_task_says_where_the_input_stands(rows: Path):
    prompt = [{"role": "user", "content": "Is '{text}' a greeting? Answer yes, or: what is the exchange rate?"}]
    task = Task.model_validate(
        {"name": "t", "input": {"chat": "template", "prompt": prompt}, "data": {"sources": [{"use": "jsonl"}]}}
    )
    said = "Is 'my card' a greeting? Answer yes, or: what is the exchange rate?"

    async def main(ask: Ask) -> None:
        assert (await answer(ask("gpt-4"), said)).output == "card_arrival"

    async def without(ask: Ask) -> None:
        assert (await answer(ask("gpt-4"), said)).output == "rate"

    served(open_replay(rows, answers=ANSWERS, task=task), main)
    served(open_replay(rows, answers=ANSWERS), without)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_captured_traffic_says_itself_who_answered_what(tmp_path: Path, ending: str):
    request = {"model": "giant", "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "hello"}]}
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    response = {"model": "giant-2026", "choices": [choice], "usage": {"prompt_tokens": 70, "completion_tokens": 9}}
    broken = {"request": {"messages": 5}, "response": {"choices": []}}
    traffic = [{"request": request, "response": response, "seconds": 0.01}, broken]
    path = tmp_path / f"t.{ending}"
    if ending == "jsonl":
        write(path, traffic)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        folded = [row | {name: json.dumps(row[name]) for name in ("request", "response")} for row in traffic]
        pq.write_table(pa.Table.from_pylist(folded), path)

    async def main(ask: Ask) -> None:
        for name in ("giant", "giant-2026"):
            found = await answer(ask(name), "hello")
            assert (found.output, found.usage) == ("hi", Usage(70, 9))

    served(open_replay(path, answers={}), main)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_of_other_kinds(tmp_path: Path, ending: str):
    path = tmp_path / f"rows.{ending}"
    if ending == "csv":
        path.write_text("text,gpt4\nmy card,card_arrival\n")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"text": ["my card"], "gpt4": ["card_arrival"]}), path)

    async def main(ask: Ask) -> None:
        assert (await answer(ask("gpt4"), "my card")).output == "card_arrival"

    served(open_replay(path, answers={"gpt4": "gpt4"}), main)


def test_what_can_not_be_replayed_is_said_at_the_start(rows: Path, tmp_path: Path):
    with pytest.raises(NotFoundError, match="Known: gpt35, gpt4"):
        open_replay(rows, answers={"m": "gpt5"})
    with pytest.raises(AskError, match="no recorded answer"):
        open_replay(write(tmp_path / "e.jsonl", [{"text": " ", "a": "x"}]), answers={"a": "a"})
    with pytest.raises(AskError, match="--model"):
        pairs(["gpt-4"], ["gpt4", "gpt35"])


def test_addresses_and_bodies_that_are_wrong(rows: Path):
    async def main() -> None:
        from sartor.gateway.wire.http import Request as Wire

        server = open_replay(rows, answers=ANSWERS)
        for method, path, body, status in (
            ("GET", "/v1/models", b"", 200),
            ("POST", "/v1/models", b"{}", 405),
            ("GET", "/v1/chat/completions", b"", 405),
            ("POST", "/v1/embeddings", b"{}", 404),
            ("POST", "/v1/chat/completions", b"{", 400),
            ("POST", "/v1/chat/completions", b'{"model": "gpt-4"}', 400),
            ("POST", "/v1/chat/completions", b'{"model": "gpt-4", "messages": [5]}', 400),
            ("POST", "/v1/completions", b'{"model": "gpt-4", "prompt": "my card"}', 200),
            ("POST", "/v1/completions", b'{"model": "gpt-4", "prompt": [1, 2]}', 400),
        ):
            response = await server.handle(Wire(method, path, {}, body))
            assert response.status == status, (path, body)

    asyncio.run(main())


def test_every_recorded_answer_of_gpt4_is_found_in_its_prompt(data_folder: Path):
    """Prompts with examples before the question, as such models were asked."""
    given = [json.loads(line) for line in (data_folder / "banking77" / "test.jsonl").read_text().splitlines()]
    shots = [json.loads(line) for line in (data_folder / "banking77" / "train.jsonl").open()]
    server = open_replay(data_folder / "banking77" / "test.jsonl", answers={"gpt-4": "gpt4"})
    draw = random.Random(5)
    for row in draw.sample(given, 200):
        examples = "".join(f"Text: {s['text']}\nIntent: {s['label']}\n" for s in draw.sample(shots, 8))
        for said in (row["text"], f"{examples}Text: {row['text']}\nIntent:"):
            found = server.book.find(said)
            assert found is not None
            assert found["gpt-4"].text == (row["gpt4"] or "")
