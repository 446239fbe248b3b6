"""An ONNX graph from token ids to scores. Needs numpy, onnxruntime and tokenizers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from sartor.pipeline.outside.answering import Scores
from sartor.pipeline.outside.asked import engine
from sartor.pipeline.outside.heads import Head


@engine("onnx")
class Graph:
    """A graph with its tokenizer."""

    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        """Open both."""
        self._special, self._pad = said["special"], said["pad"]
        self._tokens = Tokenizer.from_file(str(folder / said["tokenizer"]))
        self._tokens.no_padding()
        self._tokens.enable_truncation(said["most"])
        name = json.loads(self._tokens.to_str())["model"].get("unk_token")
        self._unknown = self._tokens.token_to_id(name) if name and not self._special else None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(folder / said["graph"]), options)
        self._run, self._takes = session.run, [one.name for one in session.get_inputs()]
        gives = [one.name for one in session.get_outputs()]
        self._gives = [name for name in ("embedding", "logits", "novelty") if name in gives]
        self._head = Head(folder / said["head"]) if said.get("head") else None

    def score(self, texts: Sequence[str]) -> Scores:
        """Scores of each text."""
        found = self._tokens.encode_batch(list(texts), add_special_tokens=self._special)
        tokens = [[t for t in one.ids if t != self._unknown] for one in found]
        longest = max(2, *(len(ids) for ids in tokens))
        ids = np.full((len(tokens), longest), self._pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, some in enumerate(tokens):
            ids[row, : len(some)], mask[row, : len(some)] = some, 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        out = self._run(self._gives, {name: given[name] for name in self._takes})
        return self._head.score(out[0]) if self._head else Scores(*out[:2])
