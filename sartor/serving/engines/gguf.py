"""Language models as GGUF files on the CPU, run by llama.cpp: whole ones, and adapters over one base."""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from pydantic import Field

from sartor.core.errors import AskError, StoreError
from sartor.core.examples import Examples
from sartor.core.predict import Usage
from sartor.core.prompting import chat_text
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.serving.engine import Wish, Work, Writer, Written
from sartor.serving.files import read_json
from sartor.serving.gguf_host import Heed, Host, Told
from sartor.serving.gguf_template import GgufTemplate
from sartor.serving.said import Token, claim_of_text, claims_of
from sartor.serving.strict_schema import strict

PLAIN = Wish()


class Params(Settings):
    """How llama.cpp runs."""

    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of one step."""
    slots: Annotated[int, Field(ge=1, le=64)] = 4
    """Answers that are written at once."""
    context: Annotated[int, Field(ge=64)] = 2048
    """Most tokens of a question and its answer together, where the model itself has as many."""
    exact: bool = True
    """Attend in 32 bits, as training does; without it llama.cpp uses 16, a little faster, and answers near a tie may
    differ from the parent's."""


@dataclass(frozen=True)
class _Held:
    """A variant."""

    model: Path
    adapter: Path | None
    template: GgufTemplate
    json_schema: dict[str, Any]
    instructions: str
    max_tokens: int
    stop: tuple[str, ...]
    examples: Examples


@dataclass
class _Hosts:
    """llama.cpp's models by file. One with adapters is loaded anew when their number changes: it takes them only
    then; answers under way keep the old one until they are done."""

    params: Params
    opened: dict[Path, tuple[tuple[Path, ...], Host]] = field(default_factory=dict)
    loading: Lock = field(default_factory=Lock)

    def of(self, model: Path, adapters: tuple[Path, ...]) -> Host:
        with self.loading:
            found = self.opened.get(model)
            if found is None or found[0] != adapters:
                p = self.params
                host = Host(model, adapters, threads=p.threads, slots=p.slots, context=p.context, exact=p.exact)
                found = self.opened[model] = (adapters, host)
            return found[1]

    def close(self, model: Path) -> None:
        with self.loading:
            self.opened.pop(model, None)


class _Clock:
    """CPU seconds of llama.cpp's threads, which only the process knows: whatever else runs in it is counted too."""

    def __init__(self) -> None:
        self._begun = time.process_time() - time.thread_time()

    def elsewhere(self) -> float:
        return max(time.process_time() - time.thread_time() - self._begun, 0.0)


class _Engine:
    def __init__(self, base: Path | None, params: Params) -> None:
        self._base, self._params = base, params
        self._held: dict[str, _Held] = {}
        self._hosts = _Hosts(params)
        self._changing = Lock()

    def add(self, key: str, folder: Path) -> None:
        held = self._read(folder)
        with self._changing:
            self._held = {**self._held, key: held}
        self._host(held)  # damage shows when a variant is loaded, not when it is first asked

    def drop(self, key: str) -> None:
        with self._changing:
            gone = self._held.get(key)
            self._held = {name: held for name, held in self._held.items() if name != key}
            left = {held.model for held in self._held.values()}
        if gone is not None and gone.model not in left:
            self._hosts.close(gone.model)

    def write(self, work: Work, wishes: Sequence[Wish | None] | None = None) -> list[Written]:
        heard = wishes or [None] * len(work)
        asked: list[tuple[str, str, Wish]] = [
            (key, text, wish or PLAIN) for (key, text), wish in zip(work, heard, strict=True)
        ]
        clock = _Clock()
        if len(asked) == 1:
            written = [self._written(*asked[0], _unheeded)]
        else:
            with ThreadPoolExecutor(min(len(asked), self._params.slots), "gguf") as pool:
                written = list(pool.map(lambda one: self._written(one[0], one[1], one[2], _unheeded), asked))
        each = clock.elsewhere() / max(len(work), 1)
        return [replace(one, usage=replace(one.usage, cpu_seconds=each)) for one in written]

    def pieces(self, key: str, text: str, wish: Wish | None = None) -> Iterator[str | Written]:
        said: queue.SimpleQueue[str | Written | BaseException] = queue.SimpleQueue()
        gone = threading.Event()

        def heed(piece: str) -> bool:
            said.put(piece)
            return gone.is_set()

        def work() -> None:
            clock = _Clock()
            try:
                written = self._written(key, text, wish or PLAIN, heed)
                said.put(replace(written, usage=replace(written.usage, cpu_seconds=clock.elsewhere())))
            except BaseException as error:  # noqa: BLE001 - it is raised where somebody listens
                said.put(error)

        threading.Thread(target=work, name="gguf-stream", daemon=True).start()
        try:
            while True:
                found = said.get()
                if isinstance(found, BaseException):
                    raise found
                yield found
                if isinstance(found, Written):
                    return
        finally:
            gone.set()

    def _written(self, key: str, text: str, wish: Wish, heed: Heed) -> Written:
        held = self._held[key]
        schema = wish.json_schema if wish.json_schema is not None else held.json_schema
        prompt = chat_text(held.template, held.instructions, text, held.examples.pick(text))
        adapters = self._adapters(held.model)
        told = self._hosts.of(held.model, adapters).ask(
            prompt,
            _settings(held, wish, schema),
            adapter=None if held.adapter is None else adapters.index(held.adapter),
            deadline=wish.deadline,
            heed=heed,
        )
        return _answer(told, text, wish, extracts=bool(held.json_schema))

    def _host(self, held: _Held) -> Host:
        return self._hosts.of(held.model, self._adapters(held.model))

    def _adapters(self, model: Path) -> tuple[Path, ...]:
        return tuple(sorted({h.adapter for h in self._held.values() if h.model == model and h.adapter is not None}))

    def _read(self, folder: Path) -> _Held:
        own, adapter = folder / "model.gguf", folder / "adapter.gguf"
        model = own if own.is_file() else self._base_file()
        if model != own and not adapter.is_file():
            raise StoreError(
                f"Loading a model failed: {folder} has neither 'model.gguf' nor 'adapter.gguf'. Make it again.",
                code="variant_damaged",
            )
        told = read_json(folder, "writing.json")
        return _Held(
            model,
            None if model == own else adapter,
            GgufTemplate.of(model),
            dict(told.get("json_schema") or {}),
            str(told.get("instructions", "")),
            int(told.get("max_tokens", 256)),
            tuple(told.get("stop", ())),
            Examples.of(told),
        )

    def _base_file(self) -> Path:
        found = sorted(self._base.glob("*.gguf")) if self._base is not None else []
        if len(found) != 1:
            raise AskError("An adapter for llama.cpp needs a base that is one GGUF file.", param="base", code="no_base")
        return found[0]


def _settings(held: _Held, wish: Wish, schema: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "max_tokens": wish.max_tokens or held.max_tokens,
        "stop": [*held.stop, *wish.stop],
        "temperature": wish.temperature,
        # The model's own chances, none cut off: what a temperature means is then the same in every engine.
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
    }
    if wish.seed is not None:
        found["seed"] = wish.seed
    if schema:
        found["json_schema"] = strict(schema)
    return found


def _answer(told: Told, text: str, wish: Wish, *, extracts: bool) -> Written:
    tokens = _within(told.tokens, len(told.text))
    output, said = claims_of(told.text, tokens, text) if extracts else (told.text, claim_of_text(told.text, tokens))
    return Written(
        output,
        said,
        Usage(told.prompt_tokens, told.completion_tokens),
        finish=told.finish,
        logprobs=tuple(told.tokens) if wish.logprobs else (),
    )


def _within(tokens: Sequence[Token], length: int) -> list[Token]:
    """The tokens of the text: those of a stop word that was cut off are left out."""
    kept, at = [], 0
    for characters, score in tokens:
        if at < length:
            kept.append((characters[: length - at], score))
        at += len(characters)
    return kept


def _unheeded(_: str) -> bool:
    return False


@plugin
def gguf(base: Path | None, params: Params) -> Writer:
    """The engine of GGUF files; `base` holds one where variants are adapters, and is None where each is whole."""
    return _Engine(base, params)
