"""A head on static embeddings: the mean of a text's token vectors. Needs numpy, safetensors and tokenizers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from sartor.pipeline.outside.answering import Floats, Scores
from sartor.pipeline.outside.asked import engine
from sartor.pipeline.outside.heads import Head


@engine("static")
class Static:
    """Token vectors in the model2vec layout, averaged, with a head."""

    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        """Read the base's folder and the head."""
        base = folder / said["base"]
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        self._vectors = load_file(base / "model.safetensors")["embeddings"].astype(np.float32)
        if said.get("tokens"):
            own = load_file(folder / said["tokens"])
            self._vectors[own["places"]] = own["vectors"]
        self._tokens = Tokenizer.from_file(str(base / "tokenizer.json"))
        self._tokens.no_padding()
        self._tokens.enable_truncation(int(config.get("max_length") or 512))
        name = json.loads(self._tokens.to_str())["model"].get("unk_token")
        self._unknown = self._tokens.token_to_id(name) if name else None
        self._head = Head(folder / said["head"]) if said.get("head") else None

    def score(self, texts: Sequence[str]) -> Scores:
        """Scores of each text."""
        assert self._head is not None
        return self._head.score(self.embed(texts))

    def embed(self, texts: Sequence[str]) -> Floats:
        """(texts, d) embeddings of length 1; zeros for a text of which no token is known."""
        out = np.zeros((len(texts), self._vectors.shape[1]), dtype=np.float32)
        for row, text in enumerate(texts):
            ids = [t for t in self._tokens.encode(text, add_special_tokens=False).ids if t != self._unknown]
            if ids:
                summed = self._vectors[ids].sum(axis=0)
                out[row] = summed / max(float(np.linalg.norm(summed)), 1e-12)
        return out
