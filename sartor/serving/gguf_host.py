"""One GGUF file held by llama.cpp within this process, with the adapters that may be laid over it.

llama.cpp brings a small HTTP server along, which binds to loopback on a free port: it is closed by a key that nobody
is told, and everything here goes past it. Knows no variants, no prompts and no schema beyond handing one on.
"""

import codecs
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sartor.core.errors import AskError, SartorError
from sartor.core.gguf_header import Header, read_header
from sartor.serving.said import Token

Finish = Literal["stop", "length", "deadline", "cancelled"]
Heed = Callable[[str], bool]
"""Takes a piece of text; says whether the rest is not wanted any more."""
TOO_LONG = "exceed_context_size_error"


@dataclass
class Told:
    """An answer as it comes."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    """Characters that each token added, and the natural logarithm of its probability."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: Finish = "stop"


class Host:
    """llama.cpp with one model; asked from several threads it works on as many answers at once as it has slots."""

    def __init__(
        self, model: Path, adapters: Sequence[Path], *, threads: int, slots: int, context: int, exact: bool
    ) -> None:
        """Load the model.

        Args:
            adapters: GGUF files of LoRA adapters; a question names one by its place.
            context: tokens that one question and its answer may have together.
            exact: attend in 32 bits, as torch does.

        Raises:
            AskError: it is no GGUF file, or of an architecture that llama.cpp does not know.
        """
        import xllamacpp

        header = known(model)
        own = header.number("context_length")
        self.context = min(context, own) if own else context
        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(path), 0.0) for path in adapters]
        params.n_parallel, params.n_ctx, params.kv_unified = slots, slots * self.context, False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.n_threads_http, params.hostnames, params.port = 2, ["127.0.0.1"], 0
        params.api_keys, params.ui, params.endpoint_slots, params.endpoint_props = (
            [secrets.token_hex()],
            False,
            False,
            False,
        )
        if exact:
            params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
            params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.warmup, params.verbosity, params.fit_params, params.cache_ram_mib = False, -1, False, 0
        self._adapters = len(adapters)
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise SartorError(
                f"llama.cpp could not load '{model.name}' (architecture {header.architecture}, {len(adapters)} "
                "adapters). The file may be damaged, the memory too small, or an adapter made for another base.",
                code="gguf_not_loaded",
            ) from error

    def ask(
        self, prompt: str, settings: Mapping[str, Any], *, adapter: int | None, deadline: float | None, heed: Heed
    ) -> Told:
        """The answer to a prompt.

        Args:
            settings: as llama.cpp's `/completion` takes them.
            adapter: place of the adapter to lay over the model; None: the model as it is.
            deadline: `time.monotonic()` after which no further token is made.
            heed: called with every piece as it comes.

        Raises:
            AskError: the prompt has more tokens than the context, or llama.cpp refuses the settings.
        """
        laid = [{"id": place, "scale": float(place == adapter)} for place in range(self._adapters)]
        asked = {"prompt": prompt, **settings, "lora": laid, "stream": True, "n_probs": 1}
        asked |= {"stream_options": {"include_usage": True}, "timings_per_token": True}
        listening = _Listening(deadline, heed)
        refused: list[Mapping[str, Any]] = []

        def take(event: Any) -> bool:
            if "error" in event:
                refused.append(event["error"])
                return True
            return listening.take(event)

        answered = self._server.handle_completions(asked, take)
        if isinstance(answered, Mapping) and "error" in answered:
            refused.append(answered["error"])
        if refused:
            raise self._refusal(refused[0])
        return listening.told

    def _refusal(self, said: Mapping[str, Any]) -> AskError:
        if said.get("type") == TOO_LONG:
            asked, most = int(said["n_prompt_tokens"]), int(said["n_ctx"])
            return AskError(
                f"The input is too long for this model: {asked:,} tokens with its instructions, and the context holds "
                f"{most:,}: {asked - most + 1:,} too many. Shorten it, or serve the model with a longer context.",
                code="context_length_exceeded",
                param="messages",
            )
        return AskError(f"llama.cpp refuses the request: {said.get('message', said)}.", code="engine_refused")


class _Listening:
    """Takes the events of one answer and says when it has heard enough."""

    def __init__(self, deadline: float | None, heed: Heed) -> None:
        self.told = Told()
        self._deadline, self._heed = deadline, heed
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def take(self, event: Mapping[str, Any]) -> bool:
        """Whether the rest is not wanted any more."""
        told = self.told
        if usage := event.get("usage"):
            told.prompt_tokens, told.completion_tokens = usage["prompt_tokens"], usage["completion_tokens"]
        elif timings := event.get("timings"):
            told.prompt_tokens = int(timings["cache_n"] + timings["prompt_n"])
        if not (choices := event.get("choices")):
            return False
        choice = choices[0]
        for token in (choice.get("logprobs") or {}).get("content", ()):
            told.completion_tokens += 1
            told.tokens.append((self._bytes.decode(bytes(token["bytes"])), float(token["logprob"])))
        piece = choice.get("text", "")
        told.text += piece
        if reason := choice.get("finish_reason"):
            told.finish = "length" if reason == "length" else "stop"
            if piece:
                self._heed(piece)
            return False  # the event with the usage comes yet
        if piece and self._heed(piece):
            told.finish = "cancelled"
            return True
        if self._deadline is not None and time.monotonic() > self._deadline:
            told.finish = "deadline"
            return True
        return False


def known(model: Path) -> Header:
    """The header of a GGUF file that llama.cpp can run.

    Raises:
        AskError: it is no GGUF file, or its architecture is unknown.
    """
    header = read_header(model)
    names = _architectures()
    if header.architecture not in names:
        raise AskError(
            f"'{model.name}' is of the architecture '{header.architecture}', which llama.cpp as it is installed here "
            f"does not know; it knows {len(names)}, llama, qwen2 and gemma3 among them. Install a newer 'xllamacpp' "
            "and 'gguf', or convert another model.",
            code="unknown_architecture",
            param="base",
        )
    return header


def _architectures() -> frozenset[str]:
    from gguf import MODEL_ARCH_NAMES

    return frozenset(MODEL_ARCH_NAMES.values()) - {"clip", "mmproj"}
