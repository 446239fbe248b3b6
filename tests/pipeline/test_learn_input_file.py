"""From requests in a file or captured by a route to the `input:` of a task file, by the command that users type."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sartor.core.errors import AskError, NotFoundError, RefusedError
from sartor.core.task import InputSpec, PromptMessage
from sartor.core.traffic import Content, Exchange
from sartor.pipeline.check import check_plugins
from sartor.pipeline.learn_input import (
    block_text,
    chats_in,
    chats_of,
    input_block,
    learn,
    refuse_redacted,
    write_block,
)
from sartor.pipeline.task_file import load_yaml, read_task
from sartor.pipeline.workshop import Workshop

TASK = """\
# My task.
name: desk   # the name

input:
  columns: [message]
  template: "Message: {message}"   # what models see
  chat: last_user

# Where rows come from.
data:
  sources:
    - {use: jsonl, path: rows.jsonl, licence: owned}
"""
SYSTEM = 'Sort messages of customers. Answer {"label": "…"} only.\n\nLabels: card, money\n'


def bodies(count: int = 60, system: str = SYSTEM) -> list[dict[str, Any]]:
    rng = random.Random(0)
    words = ["my", "card", "is", "lost", "money", "where", "now", "please", "why", "bank"]
    return [
        {
            "model": "gpt",
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": f"Message: {' '.join(rng.choices(words, k=6))}\nLabel:"},
            ],
        }
        for _ in range(count)
    ]


def lines(path: Path, values: list[Any]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n\n" for value in values), encoding="utf-8")
    return path


def test_requests_are_read_alone_and_out_of_exports(tmp_path):
    (body,) = bodies(1)
    wrapped = [body, {"id": "x", "request": body}, {"body": body}, {"asked": json.dumps(body)}, {"prompt": "x"}]
    assert chats_in(lines(tmp_path / "a.jsonl", wrapped)) == [body, body, body, body, {"prompt": "x"}]


@pytest.mark.parametrize("text", ["{", "[1]\n", '{"asked": "{"}\n', "[" * 100_000])
def test_a_file_that_is_something_else_is_refused(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(AskError) as caught:
        chats_in(path)
    assert caught.value.code == "bad_jsonl"


def test_the_only_hole_is_called_as_the_task_calls_its_column(tmp_path):
    spec = InputSpec(columns=("message",))
    assert learn(bodies(), spec=spec).best.columns == ("message",)
    with pytest.raises(AskError, match="the task has the columns a, b"):
        learn(bodies(), spec=InputSpec(columns=("a", "b")))
    with pytest.raises(AskError, match="Say which is which"):
        learn(bodies(), spec=spec, columns=["other"])


def test_a_task_file_keeps_all_but_its_input(tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text(TASK)
    before = read_task(path)
    written = write_block(path, learn(bodies(), spec=before.input))
    after = read_task(path)
    text = path.read_text()
    assert written in text
    assert text.startswith("# My task.\nname: desk   # the name\n\ninput:\n")
    assert text.endswith(TASK[TASK.index("\n# Where rows") :])
    assert (after.input.chat, after.input.columns, after.input.template) == (
        "template",
        ("message",),
        "Message: {message}",
    )
    assert after.input.prompt[0].content == SYSTEM.replace("{", "{{").replace("}", "}}")
    assert after.model_copy(update={"input": before.input}) == before
    # Again: it finds what it wrote itself.
    write_block(path, learn(bodies(), spec=after.input))
    assert path.read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "name: desk\ndata:\n  sources: [{use: csv}]\n",
        "data: {sources: [{use: csv}]}\nname: desk",
        "name: desk\ninput: {columns: [text]}\ndata: {sources: [{use: csv}]}\n",
        "name: desk\ninput: {\n  columns: [text]\n}\ndata: {sources: [{use: csv}]}\n",
        "name: desk\ndata: {sources: [{use: csv}]}\ninput:\n  columns:\n  - text\n\n\n",
    ],
)
def test_it_finds_its_place_in_files_of_any_style(tmp_path, text):
    path = tmp_path / "task.yaml"
    path.write_text(text)
    write_block(path, learn(bodies(), spec=read_task(path).input))
    assert read_task(path).input.chat == "template"
    assert read_task(path).name == "desk"


def test_a_file_that_can_not_be_edited_safely_is_left_as_it_was(tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text("{name: desk, input: {columns: [text]}, data: {sources: [{use: csv}]}}\n")
    before = path.read_text()
    with pytest.raises(AskError, match="by hand") as caught:
        write_block(path, learn(bodies(), spec=read_task(path).input))
    assert "chat: template" in caught.value.message
    assert path.read_text() == before


@pytest.mark.parametrize(
    "odd", ["", "  lead", "trail  ", "tab\tend \n", "# no comment", "yes", "\x07", "a\r\nb", "{{", "…\u2028"]
)
def test_any_fixed_text_comes_through_yaml_as_it_was(odd):
    block = {"columns": ["text"], "chat": "template", "prompt": [{"role": "user", "content": f"{odd}{{text}}\n {odd}"}]}
    assert load_yaml(block_text(block), "it") == {"input": block}


def test_a_block_without_a_task_names_its_columns():
    block = input_block(learn(bodies(), spec=None))
    assert (block["columns"], block["chat"]) == (["text"], "template")


def test_a_prompt_that_the_capture_changed_is_not_learned_from_it():
    refuse_redacted(learn(bodies(), spec=None))
    with pytest.raises(RefusedError, match=r"\[EMAIL\]"):
        refuse_redacted(learn(bodies(system="Write to [EMAIL] if unsure."), spec=None))


def test_a_task_with_a_prompt_that_can_not_be_read_is_refused_before_any_work(desk):
    wrong = InputSpec(chat="template", prompt=(PromptMessage(role="user", content="Text: {txt}"),))
    with pytest.raises(NotFoundError, match="Did you mean 'text'"):
        check_plugins(desk.model_copy(update={"input": wrong}))


def captured(shop: Workshop, values: list[dict[str, Any]], *, content: bool = True, route: str = "triage") -> None:
    log = shop.store.traffic.log("w0")
    for at, value in enumerate(values):
        exchange = Exchange(f"chatcmpl-{route}-{at}", 1e9 + at, "default", "", route, route)
        log.append(exchange, Content(json.dumps(value).encode(), b"{}") if content else None)
    log.flush()
    log.close()


def test_captured_traffic_of_a_route_is_read_in_its_order(shop):
    values = bodies(40)
    captured(shop, [*values, "no request", ["none"]])
    assert chats_of(shop, "triage") == values


def test_a_route_without_content_and_one_without_traffic_say_so(shop):
    captured(shop, bodies(3), content=False, route="dark")
    with pytest.raises(RefusedError, match="3 exchanges, and the content of none") as caught:
        chats_of(shop, "dark")
    assert caught.value.code == "no_content"
    with pytest.raises(NotFoundError, match="Did you mean 'dark'"):
        chats_of(shop, "drak")


def sartor(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "sartor", "--home", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_from_a_file_to_the_task_file(tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text(TASK)
    source = lines(tmp_path / "chats.jsonl", [*bodies(), {"messages": [{"role": "user", "content": "hi"}]}])
    done = sartor(tmp_path / "home", "--json", "task", "learn-input", str(source), "--task", str(path), "--write")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["chats"], said["task"], said["input"]["chat"]) == (61, str(path), "template")
    low, high = said["coverage_interval"]
    assert 0.5 < low < said["coverage"] == high == 1
    assert said["not_fitting"] == [[{"role": "user", "content": "hi"}]]
    assert read_task(path).input.chat == "template"
    assert not (tmp_path / "home").exists()


def test_the_command_says_the_coverage_or_why_not(tmp_path, shop):
    captured(shop, bodies(60))
    done = sartor(shop.store.root, "task", "learn-input", "triage")
    assert done.returncode == 0, done.stderr
    assert "fits 100.0% of 12 requests held out (95 % interval 7" in done.stdout
    assert load_yaml(done.stdout[done.stdout.index("input:") :], "it")["input"]["columns"] == ["text"]
    few = lines(tmp_path / "few.jsonl", bodies(5))
    done = sartor(shop.store.root, "--json", "task", "learn-input", str(few))
    assert done.returncode == 7
    assert json.loads(done.stdout)["error"]["code"] == "too_few_chats"
    done = sartor(shop.store.root, "task", "learn-input", str(few), "--write")
    assert done.returncode == 2
    assert "--task" in done.stderr
