"""Encoders as ONNX graphs on the CPU, in float32 or int8, each with its own head. Needs no torch.

A graph gives embeddings (`embedding`, then `head.safetensors` scores them) or logits (`logits`) from `input_ids` and
`attention_mask`. Knows no base: every variant brings its graph along.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from sartor.core.errors import AskError, StoreError
from sartor.core.positions import MAX_TOKENS
from sartor.core.predict import Floats
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.serving import heads
from sartor.serving.engine import Embed, Engine, Scored, Work
from sartor.serving.files import read_json
from sartor.serving.tokens import Tokenizer, Tokens, batches

GRAPH = "encoder.onnx"
FACTS = "onnx.json"
"""What the graph does not say of itself: `most_tokens`, `pad`."""
OUTPUTS = ("embedding", "logits")


class Params(Settings):
    """How the graph runs."""

    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of one pass."""


@dataclass(frozen=True, slots=True)
class _Graph:
    session: Any
    output: str
    names: frozenset[str]
    tokens: Tokenizer
    pad: int
    head: heads.Head | None

    @classmethod
    def read(cls, folder: Path, threads: int) -> "_Graph":
        facts = read_json(folder, FACTS)
        session = _session(folder / GRAPH, threads)
        found = [one.name for one in session.get_outputs()]
        output = next((name for name in OUTPUTS if name in found), "")
        names = frozenset(one.name for one in session.get_inputs())
        if not output or not {"input_ids", "attention_mask"} <= names:
            raise StoreError(
                f"The graph in {folder / GRAPH} turns {', '.join(sorted(names))} into {', '.join(found)}; it should "
                "turn 'input_ids' and 'attention_mask' into 'embedding' or 'logits'.",
                code="variant_damaged",
            )
        head = heads.Head.read(folder) if output == "embedding" else None
        most = int(facts.get("most_tokens", MAX_TOKENS))
        return cls(session, output, names, Tokenizer(folder, most=most, special=True), int(facts.get("pad", 0)), head)

    def answer(self, texts: Sequence[str]) -> list[Scored]:
        encoded = self.tokens(texts)
        found: list[Floats | None] = [None] * len(texts)
        for rows in batches(encoded):
            for row, vector in zip(rows, self._run([encoded[row] for row in rows]), strict=True):
                found[row] = vector
        rows_of = [vector for vector in found if vector is not None]
        if self.head is None:
            return [Scored(vector) for vector in rows_of]
        return heads.score([self.head] * len(texts), np.stack(rows_of))

    def _run(self, batch: list[Tokens]) -> Floats:
        longest = max(len(ids) for ids in batch)
        tokens = np.full((len(batch), longest), self.pad, dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, ids in enumerate(batch):
            tokens[row, : len(ids)], mask[row, : len(ids)] = ids, 1
        given = {"input_ids": tokens, "attention_mask": mask}
        if "token_type_ids" in self.names:
            given["token_type_ids"] = np.zeros_like(tokens)
        (vectors,) = self.session.run([self.output], given)
        made: Floats = np.asarray(vectors, dtype=np.float32)
        return made


class _Engine:
    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._variants: dict[str, _Graph] = {}

    def add(self, key: str, folder: Path) -> None:
        self._variants[key] = _Graph.read(folder, self._threads)

    def drop(self, key: str) -> None:
        self._variants.pop(key, None)

    def score(self, work: Work, *, embed: Embed | None = None) -> list[Scored]:  # noqa: ARG002 - each has its own
        by_key: dict[str, list[int]] = {}
        for row, (key, _) in enumerate(work):
            by_key.setdefault(key, []).append(row)
        results: list[Scored | None] = [None] * len(work)
        for key, rows in by_key.items():
            for row, scored in zip(rows, self._variants[key].answer([work[row][1] for row in rows]), strict=True):
                results[row] = scored
        return [result for result in results if result is not None]

    def embed(self, texts: Sequence[str]) -> Floats:
        raise AskError(
            f"A graph belongs to one variant and is no base, so {len(texts)} texts cannot be embedded: name a base.",
            code="no_embeddings",
        )


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # A thread that spins while it waits takes the CPU from whoever has work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's own errors have no common class
        raise StoreError(
            f"Loading the graph in {path} failed: {error}. Make the variant again.", code="variant_damaged"
        ) from error


@plugin
def onnx(base: Path | None, params: Params) -> Engine:  # noqa: ARG001 - the shelf's one signature
    """The engine of ONNX graphs; `base` is not used."""
    return _Engine(params.threads)
