"""Rows of a file as OpenAI's fine-tuning takes it: one chat a line, whose last message is the answer to learn.

Each line is read as the gateway will read a request: what is learned is what will be asked. All lines are looked at
before anything is refused, so that one look mends them all. Knows no job.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from sartor.core.canonical import digest
from sartor.core.errors import AskError, SartorError, nearest
from sartor.core.rows import Row
from sartor.core.task import Task
from sartor.data.kind import kind_of
from sartor.gateway.bounds import Limits
from sartor.gateway.strict_json import read_object
from sartor.gateway.unpack import read_input

ROLES = ("developer", "system", "user", "assistant")
FEWEST = 10
"""Examples, as OpenAI asks for."""
LONGEST = 200
"""Characters of an answer that can be a label."""
TOLD = 5
"""Bad lines that are told one by one."""
DEPTH = 16
TEXT_BYTES = Limits().text_bytes
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class File:
    """A file that was sent, as messages call it."""

    id: str
    name: str
    param: str
    """The field of the request that names it: training_file or validation_file."""

    @property
    def title(self) -> str:
        """For people."""
        return f"The {self.param.removesuffix('_file')} file '{self.name}' ({self.id})"


@dataclass(frozen=True)
class Examples:
    """What a file holds."""

    rows: tuple[Row, ...]
    labels: Mapping[str, int]
    """Label -> rows; where answers are written, what stands in them, and how often."""
    notes: tuple[str, ...]
    """What somebody should know and nothing fails on."""


@dataclass
class _Found:
    rows: list[Row] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    bad_lines: int = 0
    lines: int = 0
    systems: set[str] = field(default_factory=set)
    turns: int = 0
    """Lines with more than one message of the user."""
    seen: Counter[str] = field(default_factory=Counter)


def read_examples(path: Path, task: Task, file: File, *, labels: Sequence[str] = ()) -> Examples:
    """The examples of a file.

    Args:
        task: says where in a chat its input stands.
        labels: those that the task has; empty: whatever the file has.

    Raises:
        AskError: it is empty, not UTF-8, has lines that can't be learned from, or they are neither a classification nor
            answers to the task.
    """
    found = _Found()
    for number, line in _lines(path, file):
        found.lines += 1
        try:
            _take(found, task, file, line, labels)
        except SartorError as error:
            found.bad_lines += 1
            if len(found.bad) < TOLD:
                found.bad.append(f"Line {number:,}: {_short(error.message)}")
    if found.bad:
        _refuse_lines(found, file)
    if not found.rows:
        _refuse(file, "is empty. Send one chat a line, as JSON", "empty")
    if len(found.rows) < FEWEST and file.param == "training_file":
        _refuse(file, f"has {len(found.rows)} examples; at least {FEWEST} are needed. Add more", "too_few_examples")
    kind = kind_of(task)
    counts = kind.counted(found.rows)
    if not kind.written:
        _check_labels(file, found, counts)
    return Examples(tuple(found.rows), dict(sorted(counts.items())), tuple(_notes(found, task)))


def _lines(path: Path, file: File) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as source:
        for number, line in enumerate(source, start=1):
            if number == 1:
                if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                    _refuse(file, "is UTF-16. Save it as UTF-8", "not_utf8")
                line = line.removeprefix(BOM)  # noqa: PLW2901
            try:
                line.decode()
            except UnicodeDecodeError as error:
                _refuse(
                    file, f"is not UTF-8: line {number:,}, byte {error.start + 1} of it. Save it as UTF-8", "not_utf8"
                )
            if line.strip():
                yield number, line.rstrip(b"\r\n")


def _take(found: _Found, task: Task, file: File, line: bytes, labels: Sequence[str]) -> None:
    """Make a row of a line."""
    entry = read_object(line, depth=DEPTH)
    for name in entry:
        if name != "messages":
            raise _bad(_unknown_key(name))
    messages = entry.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _bad('it has no messages; write {"messages": [...]}')
    for place, message in enumerate(messages):
        _check_message(place, message, last=place == len(messages) - 1)
    if not any(message["role"] == "user" for message in messages):
        raise _bad("it has no message of the user, where the input belongs")
    label = _answer(task, _text(messages[-1]["content"]).strip(), labels)
    asked = read_input({"messages": messages[:-1]}, task, id="", max_bytes=TEXT_BYTES)
    name = digest([file.param, dict(asked.inputs), label])[:16]
    found.seen[name] += 1
    found.systems |= {_text(m["content"]) for m in messages if m["role"] in ("system", "developer")}
    found.turns += sum(m["role"] == "user" for m in messages) > 1
    found.rows.append(
        Row(
            id=name if found.seen[name] == 1 else f"{name}-{found.seen[name]}",
            text=asked.text,
            label=label,
            inputs=dict(asked.inputs),
            source=f"file:{file.name}",
        )
    )


def _answer(task: Task, said: str, labels: Sequence[str]) -> str:
    """The answer of a line in its one form."""
    kind = kind_of(task)
    if kind.written:
        return kind.read(task, said)
    _check_label(said, labels)
    return said


def _check_message(place: int, message: Any, *, last: bool) -> None:
    where = f"message {place + 1}"
    if not isinstance(message, dict):
        raise _bad(f"{where} is no object with a role and a content")
    role = message.get("role")
    if role not in ROLES:
        near = nearest(str(role), ROLES)
        hint = f" (did you mean '{near}'?)" if near else ""
        raise _bad(f"{where} has the role {str(role)[:40]!r}{hint}; roles are {', '.join(ROLES)}")
    if last and role != "assistant":
        raise _bad(f"its last message has the role '{role}'; it must be the assistant's, whose content is the answer")
    for name in message:
        if name not in ("role", "content", "name", "weight"):
            raise _bad(f"{where} has '{str(name)[:40]}', which can't be learned from; answers are labels")
    weight = message.get("weight", 1)
    if weight not in (0, 1) or isinstance(weight, bool) or (last and weight == 0):
        why = "and the answer to learn must have 1" if last else "only 0 and 1 are read"
        raise _bad(f"{where} has the weight {str(weight)[:20]}, {why}")
    text = _text(message.get("content"))
    if last and not text.strip():
        raise _bad("the assistant's answer is empty")


def _text(content: Any) -> str:
    """The words of a message.

    Raises:
        AskError: it has a part that is no text.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        return "\n".join(part["text"] for part in content)
    raise _bad("a message has a content that is no text")


def _check_label(label: str, labels: Sequence[str]) -> None:
    if labels and label not in labels:
        near = nearest(label, labels)
        hint = f" Did you mean '{near}'?" if near else ""
        listed = ", ".join(labels[:10]) + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")
        raise _bad(f"'{label[:60]}' is no label of this task.{hint} Labels: {listed}")
    if len(label) > LONGEST:
        raise _bad(f"the answer has {len(label):,} characters; a label has at most {LONGEST}")


def _check_labels(file: File, found: _Found, counts: Mapping[str, int]) -> None:
    rows = len(found.rows)
    if len(counts) > max(rows // 2, 1) and file.param == "training_file":
        _refuse(
            file,
            f"is no classification: {rows:,} examples have {len(counts):,} different answers, so hardly one is said "
            "twice. Only models whose answer is one of a few labels are made here",
            "not_classification",
        )
    if len(counts) < 2 and file.param == "training_file":
        _refuse(file, f"has only one answer, '{next(iter(counts))[:60]}': there is nothing to tell apart", "one_label")


def _notes(found: _Found, task: Task) -> Iterator[str]:
    last = task.input.chat == "last_user"
    if last and len(found.systems) > 1:
        yield (
            f"{len(found.systems):,} different system messages are in the file and none is read: the model is asked "
            "with the user's last message alone."
        )
    if last and found.turns:
        yield f"In {found.turns:,} chats the user speaks more than once; only the last of it is read."


def _refuse_lines(found: _Found, file: File) -> NoReturn:
    count = f"{found.bad_lines:,} of {found.lines:,} lines can't be learned from"
    more = f" And {found.bad_lines - len(found.bad):,} more." if found.bad_lines > len(found.bad) else ""
    raise AskError(
        f"{file.title}: {count}. {' '.join(found.bad)}{more} Nothing was made; mend the file and send it again.",
        code=f"invalid_{file.param}",
        param=file.param,
    )


def _refuse(file: File, what: str, code: str) -> NoReturn:
    raise AskError(f"{file.title} {what}.", code=f"{file.param}_{code}", param=file.param)


def _unknown_key(name: str) -> str:
    if name in ("tools", "functions", "parallel_tool_calls"):
        return f"it has '{name}'; answers are labels, so no tools are learned"
    if name in ("prompt", "completion"):
        return f"it has '{name}', the form of completions; write chats as {{\"messages\": [...]}}"
    if name in ("input", "preferred_output", "non_preferred_output"):
        return f"it has '{name}', the form of preferences; write chats as {{\"messages\": [...]}}"
    return f"it has '{name[:40]}', which is not read; a line has 'messages' alone"


def _bad(what: str) -> AskError:
    return AskError(f"{what}.", code="bad_line")


def _short(message: str) -> str:
    """An error of whoever reads requests, in the words of a line."""
    for start, instead in (
        ("Reading the request failed: its body ", "it "),
        ("Reading the input from the chat failed: ", ""),
    ):
        if message.startswith(start):
            return instead + message.removeprefix(start)
    return message[:1].lower() + message[1:]


def param_of(code: str) -> str | None:
    """The field of the request that an error of this code is about; None where it is about none."""
    return next((param for param in ("training_file", "validation_file") if param in code), None)
