"""Somebody else's model, asked with a prompt of ours: instructions, examples, the schema of the answer. No base here.

The variant's folder names the upstream as it is declared, never an address or a key: those stay with whoever asks for
us. Every answer brings what was charged for it. Knows no protocol.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from sartor.core.claims import as_text, build, leaves, tidy
from sartor.core.errors import AskError, StoreError
from sartor.core.examples import Examples, ExampleSet
from sartor.core.prompting import turns
from sartor.core.section import Section
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.serving.engine import Said, Told, Upstreams, Wish, Work, Writer, Written
from sartor.serving.files import read_json
from sartor.serving.said import claim_of_text, claims_of

NOTHING = ("", "n/a", "N/A", "null", "None")
"""Words that models write where there is no value."""


class Params(Settings):
    """Nothing to set."""


class Prompt(Section):
    """What a variant's `writing.json` says."""

    upstream: str
    """Whom to ask, by the name under which it is declared."""
    kind: str = "generate"
    instructions: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    nearest: int = 0
    """See `core.examples.ExampleSet`."""
    json_schema: dict[str, Any] = Field(default_factory=dict)
    """Of the object that is extracted; empty for texts."""
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    structured: Literal["schema", "object", "none"] = "schema"
    """How the schema is asked for: as `response_format`, as any JSON object, or by the instructions alone."""
    logprobs: bool = False
    """Whether to ask for logprobs, from which values get their scores; not every server has them."""
    request: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request; null takes one away."""


@dataclass(frozen=True)
class _Held:
    prompt: Prompt
    examples: Examples

    def chat(self, text: str, wish: Wish | None) -> dict[str, Any]:
        """The request's body, without the model."""
        prompt = self.prompt
        said = turns(prompt.instructions, text, self.examples.pick(text))
        body: dict[str, Any] = {"messages": [turn._asdict() for turn in said]}
        body |= {"max_tokens": prompt.max_tokens, "temperature": 0.0}
        schema: Mapping[str, Any] = prompt.json_schema
        if wish is not None:
            body |= {"max_tokens": wish.max_tokens or prompt.max_tokens, "temperature": wish.temperature}
            body |= {"seed": wish.seed} if wish.seed is not None else {}
            schema = wish.json_schema or schema
        stop = [*prompt.stop, *(wish.stop if wish is not None else ())]
        body |= {"stop": stop} if stop else {}
        if schema and prompt.structured == "schema":
            wanted = {"name": "answer", "schema": dict(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        elif schema and prompt.structured == "object":
            body["response_format"] = {"type": "json_object"}
        body |= {"logprobs": True} if prompt.logprobs or (wish is not None and wish.logprobs) else {}
        return {name: value for name, value in (body | prompt.request).items() if value is not None}


class _Engine:
    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._upstreams: Upstreams | None = None
        self._asked = 0

    def ask_by(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams

    def add(self, key: str, folder: Path) -> None:
        try:
            prompt = Prompt.model_validate(read_json(folder, "writing.json"))
        except ValidationError as error:
            raise StoreError(f"The prompt in {folder} is none: {error}", code="variant_damaged") from error
        self._held[key] = _Held(prompt, Examples(ExampleSet(examples=prompt.examples, nearest=prompt.nearest)))

    def under_way(self) -> int:
        """Questions that wait for an upstream: one that is slow keeps nobody else waiting."""
        return self._asked

    def drop(self, key: str) -> None:
        self._held.pop(key, None)

    def write(self, work: Work, wishes: Sequence[Wish | None] | None = None) -> list[Written]:
        if self._upstreams is None:
            raise AskError(
                "This variant is a prompt for somebody else's model, and nobody here can ask one: "
                "serve it where its upstream is declared.",
                code="no_upstreams",
            )
        self._asked += len(work)
        try:
            return self._answers(self._upstreams, work, wishes)
        finally:
            self._asked -= len(work)

    def _answers(self, upstreams: Upstreams, work: Work, wishes: Sequence[Wish | None] | None) -> list[Written]:
        found: dict[int, Written] = {}
        for upstream, rows in self._by_upstream(work).items():
            chats = [
                self._held[work[row][0]].chat(work[row][1], wishes[row] if wishes is not None else None) for row in rows
            ]
            for row, told in zip(rows, upstreams.ask(upstream, chats), strict=True):
                found[row] = written(told, self._held[work[row][0]].prompt, work[row][1])
        return [found[row] for row in range(len(work))]

    def pieces(self, key: str, text: str, wish: Wish | None = None) -> Iterator[str | Written]:
        (whole,) = self.write([(key, text)], [wish])
        yield whole.output
        yield whole

    def _by_upstream(self, work: Work) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, (key, _) in enumerate(work):
            rows.setdefault(self._held[key].prompt.upstream, []).append(row)
        return rows


def written(told: Told, prompt: Prompt, text: str) -> Written:
    """An upstream's answer as ours: what is no JSON where an object was wanted states nothing."""
    finish: Literal["stop", "length"] = "length" if told.finish == "length" else "stop"
    if not prompt.json_schema:
        said = claim_of_text(told.text, told.logprobs) if told.logprobs else (Said("", told.text, 0.0),)
        return Written(told.text, said, told.usage, finish=finish, logprobs=told.logprobs, cost=told.cost)
    said = _values(told, prompt, text)
    output = as_text(build((one.path, one.value) for one in said))
    return Written(output, said, told.usage, finish=finish, logprobs=told.logprobs, cost=told.cost)


def _values(told: Told, prompt: Prompt, text: str) -> tuple[Said, ...]:
    """The values of the first JSON object in an answer, words for "nothing" left out."""
    start = told.text.find("{")
    if start < 0:
        return ()
    tokens, at = [], 0
    for characters, score in told.logprobs:
        if at + len(characters) > start:
            tokens.append((characters[max(0, start - at) :], score))
        at += len(characters)
    raw = {one.path: one for one in claims_of(told.text[start:], tokens, text)[1]}
    document = tidy(build((one.path, one.value) for one in raw.values()), prompt.json_schema, NOTHING)
    found = []
    for path, value in leaves(document):
        # A lone value where a list was wanted has become the first of one.
        own = raw.get(path) or raw.get(path.rpartition("/")[0])
        found.append(Said(path, value, own.score if own else 0.0, own.span if own else None))
    return tuple(found)


@plugin
def upstream(base: Path | None, params: Params) -> Writer:  # noqa: ARG001 - the shelf's one signature
    """The engine of prompts for upstreams; `base` is not used."""
    return _Engine()
