"""The form in which an application expects its answer: the bare label, JSON, or a call of its tool. Both directions.

`form_of` reads it from the request, `Form.write` writes a label in it, `label_in` finds the label in what a giant
answered. Nothing is guessed: a form that has room for more than the label is refused by name.
"""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import orjson

from sartor.core.errors import AskError
from sartor.core.task import PromptMessage
from sartor.gateway.unpack import resolve

DEPTH = 8
"""How deep the label may stand in a schema."""
FENCE = re.compile(r"\A```[a-z]*\n(.*)\n```\Z", re.DOTALL)
FIELD = re.compile(r'"(\w+)"\s*:(?!\s*"?\{[A-Za-z_])')
"""A JSON field, unless an input (a hole) stands in it."""
EDGES = " \t\r\n\"'`*.,:;!“”‘’«»"
GAPS = re.compile(r"[\s_-]+")


@dataclass(frozen=True, slots=True)
class Form:
    """How a label is written into the assistant's message."""

    kind: Literal["text", "json", "tool"] = "text"
    path: tuple[str, ...] = ()
    """Names that lead to the label in the JSON."""
    tool: str = ""
    """Name of the function that is called."""
    enum: tuple[str, ...] = ()
    """What the application allows; empty: any text."""
    nulls: tuple[str, ...] = ()
    """Properties beside the label that must be there and may be null."""

    def write(self, label: str, ident: str = "") -> tuple[dict[str, Any], str]:
        """The message, and its finish reason.

        Args:
            ident: of the completion; names the tool call too.

        Raises:
            AskError: the application's schema does not allow this label.
        """
        label = self._allowed(label)
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        if self.kind == "text":
            return message | {"content": label}, "stop"
        body: Any = label
        for name in reversed(self.path):
            body = {name: body}
        # Those that may be null stand beside the innermost label only where the schema is flat: `_place` sees to it.
        written = json.dumps(body | dict.fromkeys(self.nulls), ensure_ascii=False)
        if self.kind == "json":
            return message | {"content": written}, "stop"
        call_id = f"call_{ident.removeprefix('chatcmpl-') or uuid.uuid4().hex}"
        function = {"name": self.tool, "arguments": written}
        return message | {"tool_calls": [{"id": call_id, "type": "function", "function": function}]}, "tool_calls"

    def _allowed(self, label: str) -> str:
        if not self.enum or label in self.enum:
            return label
        spelled = _folded(self.enum).get(_fold(label))
        if spelled is None:
            raise AskError(
                f"The answer is '{label[:100]}', which the schema in the request does not allow. Allow every label of "
                "the task in it.",
                code="label_not_in_schema",
            )
        return spelled


PLAIN = Form()


def form_of(chat: Mapping[str, Any], *, fields: Sequence[str] = ()) -> Form:
    """The form that a request asks for.

    Args:
        fields: of the JSON that the prompt speaks of (`json_fields`), for a request that wants JSON without saying
            which (`json_object`); none: `label`.

    Raises:
        AskError: it has room for more than a label; what stands in the way is named.
    """
    if chat.get("functions"):
        raise AskError(
            "The parameter 'functions' is not supported. Use 'tools', which came after it.",
            code="unsupported_parameter",
            param="functions",
        )
    tools, choice = chat.get("tools"), chat.get("tool_choice")
    if tools and choice != "none":
        return _tool_form(tools, choice)
    wanted = chat.get("response_format")
    if wanted is None:
        return PLAIN
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "text":
        return PLAIN
    if kind == "json_object":
        if len(fields) > 1:
            raise _refused("response_format", f"the prompt speaks of JSON with {', '.join(fields)}")
        return Form("json", tuple(fields) or ("label",))
    if kind != "json_schema":
        raise _refused("response_format", "its type is none of text, json_object and json_schema")
    schema = wanted.get("json_schema")
    schema = schema.get("schema") if isinstance(schema, dict) else None
    path, enum, nulls = _place(schema, schema, "response_format.json_schema", DEPTH)
    return Form("json", path, enum=enum, nulls=nulls)


@lru_cache(maxsize=256)
def json_fields(prompt: tuple[PromptMessage, ...]) -> tuple[str, ...]:
    """Names of JSON fields in the fixed text of a task's prompt, but for those that hold an input."""
    return tuple(dict.fromkeys(name for message in prompt for name in FIELD.findall(message.content)))


def label_in(said: str | Mapping[str, Any] | None, labels: Sequence[str], form: Form = PLAIN) -> str | None:
    """The label that an answer gives; None if it gives none.

    Args:
        said: the text, or the assistant's message with `content` or `tool_calls`.
        labels: of the task.
        form: in which it was asked for; an answer in another form is read too, where it holds just one text.
    """
    if isinstance(said, Mapping):
        said = _arguments(said, form.tool) or said.get("content")
    if not isinstance(said, str):
        return None
    if said in _known(tuple(labels)):
        return said
    said = said.strip()
    if found := FENCE.match(said):
        said = found[1].strip()
    if said.startswith("{"):
        value = _value(said, form.path)
        return _label(value, labels) if value is not None else None
    return _label(said, labels)


def label_of(reply: bytes, labels: Sequence[str], form: Form = PLAIN) -> str | None:
    """The label in a whole completion (OpenAI's JSON); None if it gives none."""
    try:
        (choice,) = orjson.loads(reply)["choices"]
        said = choice["message"] if "message" in choice else choice["text"]
    except (ValueError, LookupError, TypeError):
        return None
    return label_in(said, labels, form) if isinstance(said, (str, dict)) else None


def _tool_form(tools: Any, choice: Any) -> Form:
    """The form of a call: of the function that is forced, or of the only one."""
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise _refused("tools", "it is no list of objects")
    functions = [tool.get("function") for tool in tools if tool.get("type") == "function"]
    if isinstance(choice, dict):
        wanted = choice.get("function")
        name = wanted.get("name") if choice.get("type") == "function" and isinstance(wanted, dict) else None
        functions = [f for f in functions if isinstance(f, dict) and f.get("name") == name]
        if len(functions) != 1:
            raise _refused("tool_choice", "it names no function of 'tools'")
    elif choice not in (None, "auto", "required"):
        raise _refused("tool_choice", f"'{str(choice)[:40]}' is none of none, auto, required and a function")
    elif len(functions) != 1 or len(tools) != 1:
        raise _refused("tools", "a classifier can't choose between several; force one with 'tool_choice'")
    function = functions[0]
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _refused("tools", "a function has no name")
    schema = function.get("parameters")
    path, enum, nulls = _place(schema, schema, "tools", DEPTH)
    return Form("tool", path, function["name"], enum, nulls)


Place = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Path to the label, what it may be, and what stands beside it as null."""


def _place(schema: Any, root: Any, param: str, depth: int) -> Place:
    """Where the label goes in an object's schema: its only property, or the only one that must have a value."""
    schema = _plain(schema, root, param)
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties or depth == 0:
        raise _refused(param, "its schema is no object with a property for the label")
    required = schema.get("required")
    required = required if isinstance(required, list) else []
    if len(properties) == 1:
        (name,) = properties
    else:
        must = [p for p in properties if p in required and not _nullable(properties[p], root, param)]
        if len(must) != 1:
            names = ", ".join(f"'{str(p)[:40]}'" for p in (must or properties))
            raise _refused(param, f"an answer is one label, and its schema has {names}: make all but one optional")
        (name,) = must
    nulls = tuple(p for p in properties if p != name and p in required)
    inner = _plain(properties[name], root, param)
    if "properties" in inner:
        path, enum, below = _place(inner, root, param, depth - 1)
        if nulls or below:
            raise _refused(param, f"an answer is one label, and its schema has {', '.join((*nulls, *below))} beside it")
        return (name, *path), enum, ()
    enum = _texts(inner)
    if inner.get("type") != "string" and not enum:
        raise _refused(param, f"its property '{name[:40]}' is no string")
    return (name,), enum, nulls


def _texts(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts that a schema lists."""
    listed = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return tuple(value for value in listed if isinstance(value, str)) if isinstance(listed, list) else ()


def _plain(schema: Any, root: Any, param: str) -> dict[str, Any]:
    """A schema without the references, single alternatives and nulls that code generators wrap it in."""
    for _ in range(DEPTH):
        if not isinstance(schema, dict):
            break
        if isinstance(schema.get("$ref"), str):
            schema = _referred(schema["$ref"], root, param)
        elif alternatives := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            real = [a for a in alternatives if not _is_null(a)] if isinstance(alternatives, list) else []
            if len(real) != 1:
                raise _refused(param, "its schema has alternatives")
            (schema,) = real
        else:
            kinds = schema.get("type")
            if isinstance(kinds, list) and len(real := [k for k in kinds if k != "null"]) == 1:
                return schema | {"type": real[0]}
            return schema
    raise _refused(param, "its schema is no object, or goes in a circle")


def _referred(reference: str, root: Any, param: str) -> Any:
    try:
        return resolve(root, reference.removeprefix("#"))
    except (LookupError, AskError) as error:
        raise _refused(param, f"its schema refers to '{reference[:60]}', which is not in it") from error


def _nullable(schema: Any, root: Any, param: str) -> bool:
    """Whether a property may be null."""
    if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
        schema = _referred(schema["$ref"], root, param)
    if not isinstance(schema, dict):
        return False
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    kinds = schema.get("type")
    if isinstance(kinds, list) and "null" in kinds:
        return True
    return isinstance(alternatives, list) and any(_is_null(a) for a in alternatives)


def _is_null(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "null"


def _arguments(message: Mapping[str, Any], tool: str) -> str | None:
    """The arguments of the one call in a message, of the tool if it has a name."""
    calls = message.get("tool_calls")
    functions = [c.get("function") for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []
    found = [f.get("arguments") for f in functions if isinstance(f, dict) and tool in ("", f.get("name"))]
    return found[0] if len(found) == 1 and isinstance(found[0], str) else None


def _value(text: str, path: Sequence[str]) -> str | None:
    """The text at a path of a JSON object, else its only text."""
    try:
        value = orjson.loads(text)
    except ValueError:
        return None
    at = value
    for name in path:
        at = at.get(name) if isinstance(at, dict) else None
    if isinstance(at, str):
        return at
    texts = [item for item in value.values() if isinstance(item, str)] if isinstance(value, dict) else []
    return texts[0] if len(texts) == 1 else None


def _label(said: str, labels: Sequence[str]) -> str | None:
    known = tuple(labels)
    if said in _known(known):
        return said
    said = said.strip(EDGES)
    return said if said in _known(known) else _folded(known).get(_fold(said))


def _fold(text: str) -> str:
    return GAPS.sub(" ", text.strip(EDGES).casefold()) if len(text) < 1000 else ""


@lru_cache(maxsize=256)
def _known(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(labels)


@lru_cache(maxsize=256)
def _folded(labels: tuple[str, ...]) -> Mapping[str, str]:
    """Labels by what is left of them without case, edges and kinds of gaps, where that is of one label only."""
    folded = [_fold(label) for label in labels]
    return {fold: label for fold, label in zip(folded, labels, strict=True) if fold and folded.count(fold) == 1}


def _refused(param: str, what: str) -> AskError:
    return AskError(
        f"The parameter '{param.partition('.')[0]}' can't be followed: {what}. An answer here is one label: ask for an "
        'object with one property of type string, such as {"type": "object", "properties": {"label": {"type": '
        '"string"}}}.',
        code="unsupported_schema" if "." in param else "unsupported_parameter",
        param=param,
    )
