"""Where the input of a task is found in what an application sends, and where nothing is found."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import AskError, NotFoundError, TooLargeError
from sartor.core.task import InputSpec, PromptMessage, Task
from sartor.gateway.prompt import Pattern, Prompt
from sartor.gateway.unpack import check_input, find_input, read_input, resolve

PROMPT = (
    {"role": "system", "content": 'You sort messages. Answer {{"label": "…"}}.'},
    {"role": "user", "content": "Subject: {title}\n\nBody: {body}\n\nLabel:"},
)


def task(**input_: Any) -> Task:
    return Task.model_validate({"name": "triage", "data": {"sources": [{"use": "csv"}]}, "input": input_})


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    said = [m if isinstance(m, dict) else {"role": "user", "content": m} for m in messages]
    return {"model": "triage", "messages": said} | more


def find(body: dict[str, Any], **input_: Any) -> Any:
    return find_input(body, task(**input_), id="chatcmpl-1", max_bytes=1000)


def filled(title: str, body: str) -> dict[str, Any]:
    system = {"role": "system", "content": 'You sort messages. Answer {"label": "…"}.'}
    return chat(system, f"Subject: {title}\n\nBody: {body}\n\nLabel:")


TWO = {"chat": "template", "columns": ("title", "body"), "prompt": PROMPT, "template": "{title} / {body}"}


def test_the_last_user_message_or_all_of_them():
    body = chat("one", {"role": "assistant", "content": "card"}, "two")
    assert find(body).text == "two"
    assert find(body, chat="all_user").text == "one\ntwo"
    found = find_input(body, task(), id="x", max_bytes=99, sticky="u", tenant="t")
    assert (found.id, found.sticky, found.tenant, found.endpoint) == ("x", "u", "t", "chat")
    assert found.chat is body
    assert found.inputs == {"text": "two"}


def test_a_completion_prompt_is_one_user_message():
    assert find({"model": "m", "prompt": "hello"}).endpoint == "completions"
    assert find({"model": "m", "prompt": ["hello"]}).text == "hello"
    assert find({"model": "m", "prompt": ["hello", "you"]}) is None
    assert find({"model": "m", "prompt": [1, 2]}) is None


def test_columns_of_a_json_message_fill_the_template():
    spec = {"chat": "json", "columns": ("title", "n"), "template": "{title}: {n}"}
    assert find(chat('{"title": "a", "n": 3, "more": []}'), **spec).text == "a: 3"
    for bad in ('{"title": "a"}', "no json", '{"title": "a", "n": true}', "[1]"):
        assert find(chat(bad), **spec) is None


def test_pointers_lead_anywhere_in_the_request():
    spec = {"chat": "pointer", "columns": ("text",), "pointers": {"text": "/metadata/a~1b~0"}}
    assert find(chat("x", metadata={"a/b~": "found"}), **spec).text == "found"
    assert find(chat("x", metadata={}), **spec) is None
    parts = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    assert find(chat("x", parts), chat="pointer", pointers={"text": "/messages/1/content"}).text == "a\nb"


@pytest.mark.parametrize("pointer", ["/a/01", "/a/-1", "/a/-", "/a/2", "/a/x", "/b", "/a/0/0", "/a/٣"])
def test_a_pointer_to_nothing_finds_nothing(pointer):
    with pytest.raises(LookupError):
        resolve({"a": ["x", "y"]}, pointer)


def test_pointers_as_the_standard_gives_them():
    document = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, " ": 7}
    found = [resolve(document, p) for p in ("/foo", "/foo/0", "/", "/a~1b", "/m~0n", "/ ")]
    assert found == [["bar", "baz"], "bar", 0, 1, 8, 7]


def test_the_holes_of_a_prompt_are_found():
    found = find(filled("lost", "my {card}\n is gone"), **TWO)
    assert found.inputs == {"title": "lost", "body": "my {card}\n is gone"}
    assert found.text == "lost / my {card}\n is gone"


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b["messages"].pop(0),
        lambda b: b["messages"].append({"role": "user", "content": "more"}),
        lambda b: b["messages"][0].update(role="developer"),
        lambda b: b["messages"][0].update(content="You sort messages!"),
        lambda b: b["messages"][1].update(content="Subject: a\n\nBody: b"),
        lambda b: b["messages"][1].update(content="Subject: a\n\nLabel:"),
        lambda b: b["messages"][1].update(content=None),
        lambda b: b["messages"][1].update(content=[{"type": "image_url", "image_url": {"url": "x"}}]),
        lambda b: b["messages"][1].update(content=7),
        lambda b: b["messages"].__setitem__(1, "text"),
        lambda b: b.update(messages=[]),
        lambda b: b.pop("messages"),
    ],
)
def test_another_prompt_is_not_found(change):
    body = filled("a", "b")
    assert find(body, **TWO) is not None
    change(body)
    assert find(body, **TWO) is None
    with pytest.raises(AskError):
        read_input(body, task(**TWO), id="", max_bytes=1000)


def test_where_a_text_ends_is_never_guessed():
    assert find(filled("a\n\nBody: b", "c"), **TWO) is None
    assert find(filled("a", "b\n\nBody: c"), **TWO) is None
    assert Pattern.read("{a}--{b}").match("x---y") is None


def test_white_space_at_the_ends_does_not_count():
    pattern = Pattern.read("\nText: {text}\nLabel: ")
    assert pattern.match("Text: a b \nLabel:") == ("a b ",)
    assert pattern.match("\n\nText: a\nLabel: \n") == ("a",)
    assert Pattern.read("{text}\n").match(" a ") == (" a",)
    assert Pattern.read("Text: {text}").match("Text: a \n") == ("a \n",)
    assert Pattern.read("Sort.\n").match("Sort.") == ()
    assert Pattern.read("Sort.").match("Sort") is None


def test_a_column_with_two_holes_must_be_filled_alike():
    prompt = Prompt.read([PromptMessage(role="user", content="{a} or {a}?")], ["a"])
    assert prompt.match([("user", "x or x?")]) == {"a": "x"}
    assert prompt.match([("user", "x or y?")]) is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{a}{b}", "nothing stands between"),
        ("{a} {c} {b}", "no input column 'c'"),
        ("{a}", "column 'b' has no hole"),
        ('{"x": {a}} {b}', "lone '{'"),
        ("{a} {b} }", "lone '}'"),
    ],
)
def test_a_prompt_that_could_not_be_read_is_refused_when_declared(content, says):
    spec = InputSpec(chat="template", columns=("a", "b"), prompt=(PromptMessage(role="user", content=content),))
    with pytest.raises(AskError, match=says):
        check_input(spec)


def test_pointers_are_refused_when_declared():
    with pytest.raises(AskError, match="has no pointer"):
        check_input(InputSpec(chat="pointer"))
    with pytest.raises(AskError, match="is no JSON pointer"):
        check_input(InputSpec(chat="pointer", pointers={"text": "messages"}))
    with pytest.raises(NotFoundError):
        check_input(InputSpec(chat="pointer", pointers={"text": "/a", "txt": "/b"}))
    with pytest.raises(AskError, match="no messages"):
        check_input(InputSpec(chat="template"))
    check_input(InputSpec())


def test_what_is_wrong_is_said_where_nobody_else_can_answer():
    with pytest.raises(TooLargeError):
        read_input(chat("ä" * 501), task(), id="", max_bytes=1000)
    assert find(chat("ä" * 501)) is None
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}
    with pytest.raises(AskError, match="'image_url'") as caught:
        read_input(chat(image), task(), id="", max_bytes=1000)
    assert caught.value.param == "messages.0.content"
    for empty in (chat(" "), chat({"role": "user", "content": None}), chat({"role": "system", "content": "x"})):
        with pytest.raises(AskError):
            read_input(empty, task(), id="", max_bytes=1000)


@pytest.mark.timeout(30)  # a million characters times two thousand would take minutes
def test_hostile_texts_take_linear_time():
    separator = "a" * 2000 + "b"
    pattern = Pattern.read(f"{{x}}{separator}{{y}}{separator}{{z}}")
    text = ("a" * 2000 + "c") * 500
    assert pattern.match(text) is None
    assert pattern.match(text + separator + text[::-1] + separator + text) is not None


LITERAL = st.text(max_size=20)


@settings(deadline=None)
@given(st.lists(LITERAL, min_size=1, max_size=4), st.data())
def test_a_filled_pattern_gives_its_texts_back(literals, data):
    literals = [literals[0], *(text or "|" for text in literals[1:-1]), *literals[-1:]]
    holes = tuple(f"h{i}" for i in range(len(literals) - 1))
    pattern = Pattern(tuple(literals), holes)
    assert Pattern.read(pattern.write()) == pattern
    texts = [data.draw(st.text(max_size=30)) for _ in holes]
    filled_in = literals[0] + "".join(t + between for t, between in zip(texts, literals[1:], strict=True))
    found = pattern.match(filled_in)
    # Nothing but the very texts, or nothing where they hold what separates them.
    assert found == tuple(texts) or (found is None and len(holes) > 1)
    if len(holes) == 1:
        assert found is not None


WORDS = st.sampled_from(["messages", "role", "content", "user", "text", "type", "prompt", "a"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["messages", "prompt", "metadata"]), JSON | st.lists(JSON, max_size=3), max_size=3),
    st.sampled_from(
        [
            {},
            {"chat": "all_user"},
            {"chat": "json"},
            TWO,
            {"chat": "pointer", "pointers": {"text": "/messages/0/content"}},
            {"chat": "pointer", "pointers": {"text": "/metadata/0/a/1"}},
        ]
    ),
)
def test_whatever_is_sent_has_a_text_or_none(body, spec):
    found = find(body, **spec)
    assert found is None or found.text.strip()
