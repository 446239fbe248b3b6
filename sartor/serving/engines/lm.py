"""Causal language models on the CPU: many adapters on one base in mixed batches, answers held to a JSON schema."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal
from weakref import WeakSet

from pydantic import Field, ValidationError

from sartor.core.errors import AskError, NotFoundError, StoreError
from sartor.core.examples import Examples, ExampleSet
from sartor.core.predict import Usage
from sartor.core.prompting import chat_text
from sartor.core.section import Section
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.serving.causal import Causal
from sartor.serving.causal_adapter import read_adapter
from sartor.serving.causal_decoder import Decoder
from sartor.serving.causal_line import Line
from sartor.serving.causal_mix import Adapter
from sartor.serving.engine import Said, Wish, Work, Writer, Written
from sartor.serving.files import read_json
from sartor.serving.grammar import Grammars
from sartor.serving.kept import Kept
from sartor.serving.said import claim_of_text, claims_of
from sartor.serving.strict_schema import strict

MEGABYTE = 2**20
NO_WISH = Wish()


class Params(Settings):
    """How the language model runs."""

    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of one pass; torch knows one number a process, so the last engine opened sets it."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Numbers that it computes in; bfloat16 takes half the memory, and less than half the time where the CPU has it."""
    lines: Annotated[int, Field(ge=1)] = 64
    """Answers that are written at once."""
    cache_tokens: Annotated[int, Field(ge=64)] = 32_768
    """Tokens of questions and answers under way that are held at once (SmolLM2: 23 kB each in bfloat16)."""
    memory_mb: Annotated[int, Field(ge=1)] = 1_024
    """Memory for adapters and tuned models that are loaded; beyond, the least valuable is let go."""


class Told(Section):
    """What a variant's `writing.json` says."""

    kind: str = "generate"
    instructions: str = ""
    json_schema: dict[str, Any] = Field(default_factory=dict)
    max_tokens: Annotated[int, Field(ge=1)] = 256
    stop: tuple[str, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    nearest: int = 0


@dataclass(frozen=True)
class _Variant:
    folder: Path
    told: Told
    examples: Examples


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A variant's weights in memory: an adapter on the base, a model of its own, or nothing."""

    decoder: Decoder
    grammars: Grammars
    adapter: Adapter | None
    own: bool
    lines: set[Line] = field(default_factory=set)

    @property
    def bytes(self) -> int:
        if self.own:
            return self.decoder.model.bytes
        return self.adapter.bytes if self.adapter is not None else 0

    @property
    def busy(self) -> bool:
        return bool(self.lines)


class _Engine:
    def __init__(self, base: Path | None, params: Params) -> None:
        self._folder = base
        self._params = params
        self._variants: dict[str, _Variant] = {}
        self._opening = Lock()
        self._decoders: WeakSet[Decoder] = WeakSet()
        self.kept: Kept[_Loaded] = Kept(self._load, params.memory_mb * MEGABYTE)

    @cached_property
    def _base(self) -> tuple[Decoder, Grammars]:
        if self._folder is None:
            raise AskError("An adapter needs the folder of its base.", param="base")
        return self._open(self._folder)

    def add(self, key: str, folder: Path) -> None:
        try:
            told = Told.model_validate(read_json(folder, "writing.json"))
        except ValidationError as error:
            raise StoreError(f"'writing.json' in {folder} is none: {error}", code="variant_damaged") from error
        examples = Examples(ExampleSet(examples=told.examples, nearest=told.nearest))
        self._variants[key] = _Variant(folder, told, examples)
        # An adapter for another base says so now, not at its first question.
        self.kept.take(key)

    def drop(self, key: str) -> None:
        self._variants.pop(key, None)
        self.kept.forget(key)

    def under_way(self) -> int:
        return sum(decoder.count for decoder in self._decoders)

    def write(self, work: Work, wishes: Sequence[Wish | None] | None = None) -> list[Written]:
        asked = [
            self._begin(key, text, wish or NO_WISH)
            for (key, text), wish in zip(work, wishes or [None] * len(work), strict=True)
        ]
        try:
            for one in asked:
                one.loaded.lines.add(one.line)
                one.loaded.decoder.submit(one.line)
            for one in asked:
                one.loaded.decoder.until(lambda line=one.line: line.finish is not None)  # type: ignore[misc]
            return [one.written() for one in asked]
        finally:
            for one in asked:
                one.leave()
            self.kept.settle()

    def pieces(self, key: str, text: str, wish: Wish | None = None) -> Iterator[str | Written]:
        one = self._begin(key, text, wish or NO_WISH)
        line, sent = one.line, 0
        try:
            one.loaded.lines.add(line)
            one.loaded.decoder.submit(line)
            while True:
                one.loaded.decoder.until(lambda: line.finish is not None or line.sure > sent)  # noqa: B023
                whole, sure = line.finish is not None, line.sure
                if sure > sent:
                    piece, sent = line.text[sent:sure], sure
                    yield piece
                if whole:
                    yield one.written()
                    return
        finally:
            one.leave()
            self.kept.settle()

    def _begin(self, key: str, text: str, wish: Wish) -> "_Asked":
        variant = self._variants.get(key)
        if variant is None:
            raise NotFoundError(f"The language engine does not hold variant '{key}'.", code="not_loaded")
        loaded = self.kept.take(key)
        model, told = loaded.decoder.model, variant.told
        prompt = chat_text(model.tokenizer, told.instructions, text, variant.examples.pick(text))
        tokens = model.backend.encode(prompt, add_special_tokens=False).ids
        schema: Mapping[str, Any] | None = wish.json_schema
        if schema is None and told.json_schema:
            schema = strict(told.json_schema)
        line = Line(
            tokens,
            loaded.adapter,
            _limit(len(tokens), model.shape.positions, told.max_tokens, wish.max_tokens),
            stop=(*told.stop, *wish.stop),
            temperature=wish.temperature,
            seed=wish.seed,
            constraint=None if schema is None else loaded.grammars.constraint(schema),
            deadline=wish.deadline,
            gone=wish.gone,
        )
        return _Asked(line, loaded, text, wish, extracts=schema is not None)

    def _load(self, key: str) -> _Loaded:
        folder = self._variants[key].folder
        if (folder / "model").is_dir():
            return _Loaded(*self._open(folder / "model"), None, own=True)
        with self._opening:
            decoder, grammars = self._base
        adapter = None
        if (folder / "adapter").is_dir():
            adapter = read_adapter(folder / "adapter", key, decoder.model.shape, decoder.model.dtype)
        return _Loaded(decoder, grammars, adapter, own=False)

    def _open(self, folder: Path) -> tuple[Decoder, Grammars]:
        params = self._params
        model = Causal(folder, threads=params.threads, dtype=params.dtype)
        grammars = Grammars(model.tokenizer, model.vocabulary, sorted(model.ends))
        decoder = Decoder(model, lines=params.lines, cache_tokens=params.cache_tokens, threads=params.threads)
        self._decoders.add(decoder)
        return decoder, grammars


@dataclass(frozen=True, eq=False)
class _Asked:
    """A question that was put to a decoder."""

    line: Line
    loaded: _Loaded
    text: str
    wish: Wish
    extracts: bool

    def leave(self) -> None:
        """Want no more of it."""
        self.line.cancelled = True
        self.loaded.lines.discard(self.line)

    def written(self) -> Written:
        """The whole answer."""
        line = self.line
        if line.error is not None:
            raise line.error
        tokens = list(zip(line.pieces, line.scores, strict=True))
        output: str = line.text
        said: tuple[Said, ...]
        if self.extracts:
            # A caller's own schema may set names in an order of its own: its answer stays as it was written.
            canonical, said = claims_of(line.text, tokens, self.text)
            output = line.text if self.wish.json_schema is not None else canonical
        else:
            said = claim_of_text(line.text, tokens)
        usage = Usage(len(line.prompt), len(line.tokens), line.cpu_seconds)
        logprobs = tuple(tokens) if self.wish.logprobs else ()
        return Written(output, said, usage, finish=line.finish or "stop", logprobs=logprobs)


def _limit(prompt: int, positions: int, own: int, wished: int | None) -> int:
    """Tokens that the answer may have.

    Raises:
        AskError: the base can't read so much; says by how much.
    """
    least = 1 if wished is None else wished
    over = prompt + least - positions
    if over > 0:
        answer = "the first token of the answer" if wished is None else f"an answer of up to {wished:,} tokens"
        raise AskError(
            f"The question is too long: with its instructions it takes {prompt:,} tokens. Together with {answer}, that "
            f"is {over:,} more than the {positions:,} that this base reads and writes. Shorten the text, or ask a base "
            "with a longer context.",
            code="context_length_exceeded",
            param="messages",
        )
    return min(own if wished is None else wished, positions - prompt)


@plugin
def lm(base: Path | None, params: Params) -> Writer:
    """The engine of language models; `base` may be None where every variant brings its own."""
    return _Engine(base, params)
