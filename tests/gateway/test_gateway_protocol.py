"""The wire, byte by byte: golden transcripts, how inputs are read, what is refused and in which words."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from gateway_server import PATH, Reply, Server, messages

GOLDEN = Path(__file__).parent / "golden"
MOVING = {"date", "server", "x-request-id", "content-length", "transfer-encoding"}

TRANSCRIPTS: dict[str, dict[str, Any]] = {
    "plain": {"model": "triage", "messages": messages()},
    "plain_json_schema": {
        "model": "triage@v7",
        "messages": messages("where is my money"),
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"topic": {"type": "string"}}}},
        },
    },
    "plain_escalate": {"model": "fallback", "messages": messages("zzz")},
    "stream": {"model": "triage", "messages": messages(), "stream": True},
    "stream_usage": {
        "model": "triage@live",
        "messages": messages("where is my money"),
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "error_model": {"model": "triag", "messages": messages()},
    "error_parameter": {"model": "triage", "messages": messages(), "tools": [{"type": "function"}]},
    "error_fields": {"model": "triage", "messages": [{"role": "usr", "content": "x"}], "temprature": 1},
}


def transcript(asked: dict[str, Any], reply: Reply) -> str:
    headers = "\n".join(f"{name}: {value}" for name, value in sorted(reply.headers.items()) if name not in MOVING)
    request = json.dumps(asked, indent=2, ensure_ascii=False)
    return f"POST {PATH}\n\n{request}\n\n=> {reply.status}\n{headers}\n\n{reply.body.decode()}\n"


@pytest.mark.parametrize("name", sorted(TRANSCRIPTS))
def test_transcripts_are_as_written_down(name: str, golden_server: Server) -> None:
    """`SARTOR_WRITE_GOLDEN=1` writes them anew; read the difference before you commit it."""
    found = transcript(TRANSCRIPTS[name], golden_server.chat(TRANSCRIPTS[name]))
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("SARTOR_WRITE_GOLDEN") == "1":
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


def test_every_transcript_on_disk_is_tested() -> None:
    assert sorted(file.stem for file in GOLDEN.glob("*.txt")) == sorted(TRANSCRIPTS)
    assert len(TRANSCRIPTS) == 8


def seen_by_model(server: Server, predictor: Any, model: str, said: list[dict[str, Any]]) -> Any:
    predictor.seen.clear()
    reply = server.chat({"model": model, "messages": said})
    assert reply.status == 200, reply.body
    (request,) = predictor.seen
    return request


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_the_last_user_message_is_the_input(server: Server, predictor: Any) -> None:
    said = [{"role": "system", "content": "s"}, user("first"), {"role": "assistant", "content": None}, user("second")]
    request = seen_by_model(server, predictor, "triage", said)
    assert (request.text, dict(request.inputs)) == ("second", {"text": "second"})
    assert request.id.startswith("chatcmpl-")


def test_all_user_messages_joined_where_the_task_says_so(server: Server, predictor: Any) -> None:
    said = [user("first"), {"role": "assistant", "content": "ok"}, user([{"type": "text", "text": "second"}])]
    assert seen_by_model(server, predictor, "all", said).text == "first\nsecond"


def test_text_parts_are_joined(server: Server, predictor: Any) -> None:
    parts = [{"type": "text", "text": "my card"}, {"type": "text", "text": "is lost"}]
    assert seen_by_model(server, predictor, "triage", [user(parts)]).text == "my card\nis lost"


def test_a_json_message_fills_the_template(server: Server, predictor: Any) -> None:
    request = seen_by_model(server, predictor, "json", [user('{"title": "Lost", "body": 7, "more": "x"}')])
    assert request.text == "Lost: 7"
    assert dict(request.inputs) == {"title": "Lost", "body": "7"}


def test_a_plain_message_to_a_task_of_several_columns_is_taken_whole(server: Server, predictor: Any) -> None:
    assert seen_by_model(server, predictor, "plain-columns", [user("Lost: card")]).text == "Lost: card"


def test_an_escalation_with_nobody_to_ask_sends_the_fallback_or_the_best_label(server: Server) -> None:
    careful = server.chat({"model": "careful", "messages": messages("zzz")})
    assert careful.headers["x-sartor-decision"] == "escalate"
    assert json.loads(careful.body)["choices"][0]["message"]["content"] in ("card", "money", "other")
    fallback = server.chat({"model": "fallback", "messages": messages("zzz")})
    assert fallback.headers["x-sartor-decision"] == "escalate"
    assert json.loads(fallback.body)["choices"][0]["message"]["content"] == "ask-a-person"
    later = server.chat({"model": "nobody-fallback", "messages": messages()})
    assert json.loads(later.body)["choices"][0]["message"]["content"] == "later"
    assert "x-sartor-confidence" not in later.headers


def ask(**changes: Any) -> dict[str, Any]:
    return {"model": "triage", "messages": messages()} | changes


REFUSED: dict[str, tuple[Any, int, str, str | None]] = {
    "empty body": (b"", 400, "is not JSON", None),
    "half a JSON": (b'{"model": "tri', 400, "is not JSON", None),
    "not an object": (b"[1]", 400, "is a JSON list, where an object", None),
    "null": (b"null", 400, "is a JSON null", None),
    "bad UTF-8": (b'{"model": "\xff"}', 400, "is not UTF-8: invalid start byte at byte 11", None),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400, "is not JSON", None),
    "half a surrogate pair": (b'{"model": "\\ud800"}', 400, "half a surrogate pair", None),
    "a key twice": (b'{"model": "a", "model": "b"}', 400, "names 'model' twice", None),
    "NaN": (b'{"temperature": NaN}', 400, "has NaN, which is no JSON number", None),
    "infinity": (b'{"temperature": -Infinity}', 400, "has -Infinity", None),
    "a huge number": (b'{"temperature": 1e999}', 400, "the number 1e999, which is too large", None),
    "a number of 5,000 digits": (b'{"seed": ' + b"1" * 5000 + b"}", 400, "is not JSON", None),
    "nested 33 deep": (b'{"x":' * 33 + b"1" + b"}" * 33, 400, "nested deeper than 32 levels", None),
    "nested 100,000 deep": (b"[" * 100_000, 400, "nested deeper than 32 levels", None),
    "nothing asked": ({}, 400, "'model' is missing", "model"),
    "no messages at all": ({"model": "triage"}, 400, "'messages' is missing", "messages"),
    "a model that is no name": (ask(model=7), 400, "'model' is no name", "model"),
    "stream options that are none": (ask(stream_options=[]), 400, "'stream_options' is no object", "stream_options"),
    "no messages": (ask(messages=[]), 400, "'messages'", "messages"),
    "a role that is none": (ask(messages=[{"role": "usr", "content": "x"}]), 400, "'usr'", "messages.0.role"),
    "an unknown key": (ask(temprature=1), 400, "did you mean 'temperature'?", "temprature"),
    "a wrong type": (ask(stream="yes"), 400, "'stream'", "stream"),
    "too hot": (ask(temperature=3), 400, "less than or equal to 2", "temperature"),
    "two answers": (ask(n=2), 400, "'n' is not supported", "n"),
    "tools": (ask(tools=[{"type": "function"}]), 400, "a function has no name", "tools"),
    "logprobs": (ask(logprobs=True), 400, "x-sartor-confidence", "logprobs"),
    "audio": (ask(audio={"voice": "x"}), 400, "'audio' is not supported", "audio"),
    "an image": (
        ask(messages=[user([{"type": "image_url", "image_url": {"url": "http://x"}}])]),
        400,
        "'image_url'; only parts like",
        "messages.0.content",
    ),
    "no user message": (ask(messages=[{"role": "system", "content": "x"}]), 400, "role 'user'", "messages"),
    "an empty message": (ask(messages=[user(" \n")]), 400, "message is empty", "messages"),
    "no content": (ask(messages=[user(None)]), 400, "message is empty", "messages"),
    "too many messages": (ask(messages=messages() * 1001), 413, "1001 messages; at most 1000", "messages"),
    "a text too long": (ask(messages=messages("x" * 131_073)), 413, "131073 bytes; at most 131072", "messages"),
    "a body of 10 MB": (b"x" * 10_000_000, 413, "more than 1048576 bytes, which is the limit", None),
    "a schema of two fields": (
        ask(
            response_format={
                "type": "json_schema",
                "json_schema": {"schema": {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}},
            }
        ),
        400,
        "its schema has 'a', 'b': make all but one optional",
        "response_format.json_schema",
    ),
    "a schema of a number": (
        ask(
            response_format={
                "type": "json_schema",
                "json_schema": {"schema": {"properties": {"a": {"type": "number"}}}},
            }
        ),
        400,
        "its property 'a' is no string",
        "response_format.json_schema",
    ),
    "an unknown model": (ask(model="triagge"), 404, "Did you mean 'triage'? Known: all, careful,", "model"),
    "a model of nonsense": (ask(model="../../etc/passwd"), 404, "There is no model '../../etc/passwd'", "model"),
    "no JSON where the task wants it": (ask(model="json"), 400, "as a JSON object of title, body", "messages"),
    "a column missing": (
        ask(model="json", messages=messages('{"titel": "x", "body": "y"}')),
        400,
        "lacks 'title' ('titel' is there)",
        "messages",
    ),
    "a column that is a list": (
        ask(model="json", messages=messages('{"title": ["x"], "body": "y"}')),
        400,
        "'title' in the last user message is neither text nor a number",
        "messages",
    ),
    "nobody can answer": (ask(model="nobody"), 502, "declares no fallback", None),
    "an answer that takes too long": (ask(model="hangs"), 504, "did not answer within 0.5 seconds", None),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_is_wrong_is_said_in_openais_envelope(case: str, server: Server) -> None:
    body, status, says, param = REFUSED[case]
    reply = server.chat(body)
    assert reply.status == status, reply.body[:300]
    assert says in reply.error["message"]
    assert reply.error["param"] == param
    assert len(reply.error["message"]) < 2500
    assert reply.headers["x-request-id"].startswith("req_")


def test_a_crash_stays_in_the_log_and_its_number_goes_out(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    reply = server.chat(ask(model="raises"))
    assert reply.status == 500
    assert reply.headers["x-request-id"] in reply.error["message"]
    assert b"secret" not in reply.body
    assert b"ZeroDivision" not in reply.body
    assert any(reply.headers["x-request-id"] in record.getMessage() for record in caplog.records)
    assert server.chat(ask()).status == 200


def test_methods_and_addresses_that_are_not_there(server: Server) -> None:
    reply = server.send("PUT", "/v1/models")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert reply.error["code"] == "method_not_allowed"
    assert server.send("GET", PATH).error["message"] == f"'{PATH}' does not take GET; it takes POST."
    assert server.send("OPTIONS", PATH).status == 405
    for path in ("/", "/v1/model", "/v1/models/", "/V1/models", "//v1/models", "/v1/models/a/b", "/v1/..%2fhealth"):
        reply = server.send("GET", path)
        assert reply.status == 404, path
        assert reply.error["code"] == "address_not_found"
    assert "Did you mean '/v1/models'?" in server.send("GET", "/v1/model").error["message"]


def test_models_health_and_readiness(server: Server) -> None:
    listed = json.loads(server.send("GET", "/v1/models").body)
    assert listed["object"] == "list"
    assert {model["id"] for model in listed["data"]} >= {"triage", "triage@live", "careful"}
    assert json.loads(server.send("GET", "/v1/models/triage%40v7").body)["id"] == "triage@v7"
    assert server.send("GET", "/v1/models/nope").error["code"] == "model_not_found"
    assert json.loads(server.send("GET", "/health").body) == {"status": "ok"}
    assert json.loads(server.send("GET", "/ready").body)["status"] == "ready"
    assert server.send("HEAD", "/health").status == 200
