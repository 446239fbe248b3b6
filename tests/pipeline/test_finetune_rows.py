"""Files of chats to learn from: what is read of a line, and what is said of files that can't be learned from."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sartor.core.errors import AskError
from sartor.core.task import Task
from sartor.pipeline.finetune_rows import Examples, File, param_of, read_examples

TASK = {"name": "desk", "data": {"sources": [{"use": "chat_logs", "path": "x.jsonl"}]}}
GOLDEN = Path(__file__).with_name("finetune_messages.txt")


def chat(number: int = 0, label: str = "card", **answer: Any) -> dict[str, Any]:
    asked = [{"role": "system", "content": "Name the topic."}, {"role": "user", "content": f"question {number}"}]
    return {"messages": [*asked, {"role": "assistant", "content": label, **answer}]}


def many(count: int = 4000) -> list[dict[str, Any]]:
    return [chat(number, ("card", "fees")[number % 2]) for number in range(count)]


def lines(entries: list[Any]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def broken(line: bytes) -> bytes:
    """A file of thousands of good lines, of which the 2,001st is replaced."""
    good = lines(many()).splitlines(keepends=True)
    return b"".join([*good[:2000], line + b"\n", *good[2001:]])


def of_messages(*messages: Any) -> bytes:
    return broken(json.dumps({"messages": list(messages)}).encode())


USER = {"role": "user", "content": "hello"}
CASES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "only_line_breaks": lambda: b"\n\n  \n",
    "utf_16": lambda: lines(many(20)).decode().encode("utf-16"),
    "not_utf_8": lambda: broken('{"messages": "größe"}'.encode("latin-1")),
    "not_json": lambda: broken(b'{"messages": [{"role": "user"'),
    "a_list": lambda: broken(b"[1, 2]"),
    "key_twice": lambda: broken(b'{"messages": [], "messages": []}'),
    "no_messages": lambda: broken(b"{}"),
    "messages_are_none": lambda: broken(b'{"messages": []}'),
    "completions": lambda: broken(b'{"prompt": "a", "completion": "b"}'),
    "preferences": lambda: broken(b'{"input": {}, "preferred_output": [], "non_preferred_output": []}'),
    "tools": lambda: broken(json.dumps({"tools": [], **chat()}).encode()),
    "unknown_key": lambda: broken(json.dumps({**chat(), "lable": "card"}).encode()),
    "wrong_role": lambda: of_messages({"role": "usr", "content": "hello"}, {"role": "assistant", "content": "card"}),
    "ends_with_the_user": lambda: of_messages(USER),
    "no_user": lambda: of_messages({"role": "assistant", "content": "card"}),
    "empty_question": lambda: of_messages({"role": "user", "content": " "}, {"role": "assistant", "content": "card"}),
    "empty_answer": lambda: of_messages(USER, {"role": "assistant", "content": "  "}),
    "no_answer": lambda: of_messages(USER, {"role": "assistant"}),
    "tool_call": lambda: of_messages(USER, {"role": "assistant", "tool_calls": []}),
    "picture": lambda: of_messages(
        {"role": "user", "content": [{"type": "image_url"}]}, {"role": "assistant", "content": "card"}
    ),
    "message_is_text": lambda: of_messages("hello", {"role": "assistant", "content": "card"}),
    "answer_weighs_nothing": lambda: broken(json.dumps(chat(weight=0)).encode()),
    "long_answer": lambda: broken(json.dumps(chat(label="word " * 60)).encode()),
    "long_question": lambda: of_messages(
        {"role": "user", "content": "a" * 200_000}, {"role": "assistant", "content": "card"}
    ),
    "many_bad_lines": lambda: lines([*many(20), *[{"messages": []}] * 7]),
    "too_few": lambda: lines(many(9)),
    "generated_text": lambda: lines([chat(number, f"Dear customer {number}") for number in range(30)]),
    "one_label": lambda: lines([chat(number) for number in range(30)]),
}


def read(folder: Path, content: bytes, task: Any = None, **how: Any) -> Examples:
    path = folder / "rows"
    path.write_bytes(content)
    file = File("file-1", "topics.jsonl", how.pop("param", "training_file"))
    return read_examples(path, Task.model_validate(task or TASK), file, **how)


def test_every_message_is_as_it_was(tmp_path: Path) -> None:
    said = {}
    for name, make in CASES.items():
        with pytest.raises(AskError) as refused:
            read(tmp_path, make())
        error = refused.value
        assert error.param == "training_file" == param_of(error.code), name
        said[name] = f"## {name} ({error.code})\n{error.message}\n"
    with pytest.raises(AskError) as refused:
        read(tmp_path, lines([*many(20), chat(1, "fee")]), labels=("card", "fees"))
    said["unknown_label"] = f"## unknown_label ({refused.value.code})\n{refused.value.message}\n"
    found = "\n".join(said.values())
    if os.environ.get("SARTOR_WRITE_GOLDEN"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8")
    assert len(said) == 30


def test_the_last_message_is_the_label_and_the_last_question_the_text(tmp_path: Path) -> None:
    earlier = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello!", "weight": 0}]
    long = {"messages": [*earlier, *chat(7, " card ")["messages"]]}
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    typed = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "fees"}]}
    found = read(tmp_path, b"\xef\xbb\xbf" + lines([*many(20), long, typed]) + b"\n")
    assert [(row.text, row.label) for row in found.rows[-2:]] == [("question 7", "card"), ("one\ntwo", "fees")]
    assert found.labels == {"card": 11, "fees": 11}
    assert found.notes == ("In 1 chats the user speaks more than once; only the last of it is read.",)
    assert len({row.id for row in found.rows}) == 22


def test_the_input_is_found_as_the_task_says(tmp_path: Path) -> None:
    json_task = {**TASK, "input": {"columns": ["subject", "body"], "chat": "json"}}
    ask = {"role": "user", "content": json.dumps({"subject": "s", "body": "b"})}
    good = [{"messages": [ask, {"role": "assistant", "content": label}]} for label in ("card", "fees") * 8]
    found = read(tmp_path, lines(good), json_task)
    assert dict(found.rows[0].inputs) == {"subject": "s", "body": "b"}
    with pytest.raises(AskError, match="Line 17: this task reads the last user message as a JSON object"):
        read(tmp_path, lines([*good, chat()]), json_task)


def test_a_validation_file_may_be_small_and_is_called_by_its_own_name(tmp_path: Path) -> None:
    assert len(read(tmp_path, lines([chat()]), param="validation_file").rows) == 1
    with pytest.raises(AskError, match="The validation file") as refused:
        read(tmp_path, b"{}", param="validation_file")
    assert (refused.value.code, refused.value.param) == ("invalid_validation_file", "validation_file")
