"""The answer goes back in the form that the application expects of the giant, and is read in that form too."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import AskError
from sartor.core.task import PromptMessage
from sartor.gateway.answers import Form, form_of, json_fields, label_in, label_of

LABELS = ("card_arrival", "lost card", "Refund")


def schema(properties: dict[str, Any], required: list[str] | None = None, **more: Any) -> dict[str, Any]:
    body = {"type": "object", "properties": properties} | more
    return body | ({"required": required} if required is not None else {})


def wanting(schema_: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema_}}}


def tool(name: str = "sort", parameters: Any = None) -> dict[str, Any]:
    given = schema({"label": {"type": "string"}}, ["label"]) if parameters is None else parameters
    return {"type": "function", "function": {"name": name, "parameters": given}}


def forcing(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def written(chat: dict[str, Any], label: str = "Refund") -> Any:
    message, reason = form_of(chat).write(label, "chatcmpl-7")
    assert (message["role"], reason) == ("assistant", "stop")
    return json.loads(message["content"])


TEXT = {"type": "string"}
NULLABLE = {"type": ["string", "null"]}


def test_the_bare_label_is_the_common_form():
    for chat in ({}, {"response_format": {"type": "text"}}, {"tools": []}, {"tools": [tool()], "tool_choice": "none"}):
        assert form_of(chat).write("card") == ({"role": "assistant", "content": "card", "refusal": None}, "stop")


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        ({"response_format": {"type": "json_object"}}, {"label": "Refund"}),
        (wanting(schema({"intent": TEXT})), {"intent": "Refund"}),
        (wanting(schema({"intent": {"enum": ["Refund", "x"]}})), {"intent": "Refund"}),
        (wanting(schema({"r": schema({"intent": TEXT})})), {"r": {"intent": "Refund"}}),
        (wanting(schema({"intent": TEXT, "why": TEXT}, ["intent"])), {"intent": "Refund"}),
        (wanting(schema({"why": NULLABLE, "intent": TEXT}, ["why", "intent"])), {"intent": "Refund", "why": None}),
        (wanting(schema({"i": {"anyOf": [TEXT, {"type": "null"}]}})), {"i": "Refund"}),
        (wanting(schema({"i": {"const": "Refund"}})), {"i": "Refund"}),
        (
            wanting(schema({"i": {"$ref": "#/$defs/I"}}, ["i"], **{"$defs": {"I": {"enum": ["Refund"], **TEXT}}})),
            {"i": "Refund"},
        ),
    ],
)
def test_json_as_the_request_wants_it(wanted, answer):
    assert written(wanted) == answer
    text = json.dumps(answer)
    assert label_in(text, LABELS, form_of(wanted)) == "Refund"


@pytest.mark.parametrize(
    ("wanted", "param", "says"),
    [
        (wanting(None), "response_format.json_schema", "no object"),
        (wanting(schema({})), "response_format.json_schema", "with a property"),
        (wanting(schema({"a": TEXT, "b": TEXT}, ["a", "b"])), "response_format.json_schema", "'a', 'b'"),
        (wanting(schema({"a": TEXT, "b": TEXT})), "response_format.json_schema", "'a', 'b'"),
        (wanting(schema({"a": {"type": "number"}})), "response_format.json_schema", "'a' is no string"),
        (wanting(schema({"a": {"type": "array", "items": TEXT}})), "response_format.json_schema", "'a' is no string"),
        (wanting(schema({"a": {"anyOf": [TEXT, {"type": "number"}]}})), "response_format.json_schema", "alternatives"),
        (wanting(schema({"a": {"$ref": "#/x"}})), "response_format.json_schema", "'#/x'"),
        (wanting({"$ref": "#"}), "response_format.json_schema", "circle"),
        (wanting(schema({"a": {"$ref": "#"}})), "response_format.json_schema", "no object"),
        ({"response_format": {"type": "grammar"}}, "response_format", "none of text"),
        ({"response_format": "json"}, "response_format", "none of text"),
        ({"functions": [{"name": "f"}]}, "functions", "Use 'tools'"),
        ({"tools": [tool("a"), tool("b")]}, "tools", "several"),
        ({"tools": [tool("a")], "tool_choice": forcing("b")}, "tool_choice", "names no function"),
        ({"tools": [tool("a")], "tool_choice": "maybe"}, "tool_choice", "'maybe'"),
        ({"tools": [{"type": "custom", "custom": {"name": "a"}}]}, "tools", "several"),
        ({"tools": "x"}, "tools", "no list"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools", "no name"),
        ({"tools": [tool("a", schema({"x": TEXT, "y": TEXT}, ["x", "y"]))]}, "tools", "'x', 'y'"),
        ({"tools": [tool("a", schema({}))]}, "tools", "property for the label"),
    ],
)
def test_a_form_with_room_for_more_than_a_label_is_refused_by_name(wanted, param, says):
    with pytest.raises(AskError) as caught:
        form_of(wanted)
    assert caught.value.param == param
    assert says in caught.value.message


@pytest.mark.parametrize(
    "asked",
    [
        {"tools": [tool()]},
        {"tools": [tool()], "tool_choice": "auto"},
        {"tools": [tool()], "tool_choice": "required"},
        {"tools": [tool("other", schema({})), tool()], "tool_choice": forcing("sort")},
    ],
)
def test_a_tool_is_called(asked):
    form = form_of(asked)
    message, reason = form.write("Refund", "chatcmpl-7")
    (call,) = message["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("call_7", "function", "sort")
    assert json.loads(call["function"]["arguments"]) == {"label": "Refund"}
    assert (message["content"], reason) == (None, "tool_calls")
    assert label_in(message, LABELS, form) == "Refund"
    other = {"tool_calls": [{"function": {"name": "else", "arguments": '{"label": "Refund"}'}}]}
    assert label_in(other, LABELS, form) is None


def test_calls_made_without_an_id_are_told_apart():
    form = Form("tool", ("label",), "sort")
    first, second = (form.write("a")[0]["tool_calls"][0]["id"] for _ in range(2))
    assert first != second


def test_a_label_is_spelled_as_the_schema_lists_it_or_refused():
    form = form_of(wanting(schema({"i": {"enum": ["REFUND", "Lost Card"]}})))
    assert json.loads(form.write("lost_card")[0]["content"]) == {"i": "Lost Card"}
    with pytest.raises(AskError, match="'card_arrival'"):
        form.write("card_arrival")


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("lost card", "lost card"),
        ("  Lost Card.\n", "lost card"),
        ('"refund"', "Refund"),
        ("**refund**", "Refund"),
        ("card arrival", "card_arrival"),
        ('{"label": "refund"}', "Refund"),
        ('```json\n{"category": "lost card"}\n```', "lost card"),
        ('{"a": "lost card", "b": "Refund"}', None),
        ('{"label": 3}', None),
        ('{"label"', None),
        ("It is not a refund", None),
        ("lost card or refund", None),
        ("", None),
        ("...", None),
        (None, None),
        ({"content": None}, None),
        ({"content": "Refund"}, "Refund"),
        ({"tool_calls": "x", "content": "Refund"}, "Refund"),
        ('{"a":' * 100_000, None),
    ],
)
def test_the_label_in_an_answer(said, label):
    assert label_in(said, LABELS) == label


@pytest.mark.parametrize(
    ("prompt", "fields"),
    [
        ("Sort this.", ()),
        ('Answer as {{"category": "…"}}. Text: {text}', ("category",)),
        ('{{"title": "{title}", "n":{n}}}: answer {{ "intent" : null }}, e.g. {{"intent": "card"}}', ("intent",)),
        ('Answer {{"label": "…", "why": {{"short": 1}}}}', ("label", "why", "short")),
    ],
)
def test_json_without_a_schema_has_the_field_that_the_prompt_speaks_of(prompt, fields):
    found = json_fields((PromptMessage(role="user", content=prompt),))
    assert found == fields
    wanted = {"response_format": {"type": "json_object"}}
    if len(fields) > 1:
        with pytest.raises(AskError, match="label, why, short"):
            form_of(wanted, fields=found)
    else:
        content = form_of(wanted, fields=found).write("card")[0]["content"]
        assert json.loads(content) == {(fields or ("label",))[0]: "card"}


def test_two_labels_that_only_case_tells_apart_must_be_exact():
    assert label_in("CARD", ("card", "Card")) is None
    assert label_in(" Card ", ("card", "Card")) == "Card"


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ({"choices": [{"message": {"content": "refund"}}]}, "Refund"),
        ({"choices": [{"text": " refund"}]}, "Refund"),
        ({"choices": []}, None),
        ({"choices": [{"message": {"content": "x"}}] * 2}, None),
        ({"choices": [{"message": 7}]}, None),
        ({"choices": None}, None),
        ([], None),
    ],
)
def test_the_label_in_a_whole_completion(reply, label):
    assert label_of(json.dumps(reply).encode(), LABELS) == label


def test_a_reply_that_is_no_json_has_no_label():
    assert label_of(b"<html>", LABELS) is None


NAMES = "type function name parameters properties required enum const anyOf $ref json_schema schema string object null"
WORDS = st.sampled_from([*NAMES.split(), "#", "#/properties/a", "a", "auto", "message", "content", "tool_calls"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["tools", "tool_choice", "response_format", "functions"]), JSON, max_size=3))
def test_whatever_is_sent_is_a_form_or_refused_in_words(asked):
    try:
        form = form_of(asked)
    except AskError:
        return
    assert isinstance(form, Form)


@settings(deadline=None)
@given(JSON, st.sampled_from([Form(), Form("json", ("a", "type")), Form("tool", ("a",), "a")]))
def test_whatever_is_answered_is_a_label_or_none(said, form):
    assert label_in(said, LABELS, form) in (*LABELS, None)
    assert label_in(json.dumps(said), LABELS, form) in (*LABELS, None)
    assert label_of(json.dumps({"choices": [said]}).encode(), LABELS, form) in (*LABELS, None)


FORMS = st.sampled_from(
    [
        {},
        {"response_format": {"type": "json_object"}},
        wanting(schema({"a": schema({"b": TEXT})})),
        wanting(schema({"a": TEXT, "b": NULLABLE}, ["a", "b"])),
        {"tools": [tool()]},
    ]
)


@settings(deadline=None)
@given(FORMS, st.lists(st.text(min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=6, unique=True))
def test_what_is_written_is_read_again(asked, labels):
    form = form_of(asked)
    for label in labels:
        message, _ = form.write(label)
        found = label_in(message, labels, form)
        # A bare label that looks like JSON or a fenced text is read as such only if it is not exactly a label.
        assert found == label
