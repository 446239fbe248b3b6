"""A causal language model that writes its answers token by token. Needs torch, transformers and llguidance.

An adapter needs peft too. An answer can't leave the task's schema.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sartor.core.examples import Examples
from sartor.core.prompting import chat_text
from sartor.pipeline.outside.asked import engine
from sartor.pipeline.outside.base import base_folder
from sartor.pipeline.outside.stating import Value
from sartor.serving.causal_line import Line
from sartor.serving.grammar import Grammars
from sartor.serving.said import claim_of_text, claims_of
from sartor.serving.strict_schema import strict


@engine("lm")
class Causal:
    """A language model, whole or with an adapter."""

    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        """Load everything; the export's `predict.json` names the folders."""
        home = base_folder(folder, said["base"]) if said.get("base") else folder / said["model"]
        dtype = getattr(torch, said["dtype"])
        model: Any = AutoModelForCausalLM.from_pretrained(home, local_files_only=True, dtype=dtype)
        if said.get("adapter"):
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, folder / said["adapter"])
        self._model = model.eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(home, local_files_only=True)
        self._told = json.loads((folder / said["writing"]).read_text(encoding="utf-8"))
        self._examples = Examples.of(self._told)
        self._ends = frozenset(_ends(self._model, self._tokenizer))
        self._most = int(self._model.config.max_position_embeddings)
        schema = self._told.get("json_schema")
        self._schema = strict(schema) if schema else None
        if self._schema:
            size = int(self._model.config.vocab_size)
            self._grammars = Grammars(self._tokenizer, size, sorted(self._ends))

    def write(self, texts: Sequence[str]) -> list[list[Value]]:
        """What it writes for each text, value by value."""
        return [self._one(text) for text in texts]

    @torch.inference_mode()
    def _one(self, text: str) -> list[Value]:
        prompt = chat_text(self._tokenizer, self._told.get("instructions", ""), text, self._examples.pick(text))
        backend = self._tokenizer.backend_tokenizer
        ids = backend.encode(prompt, add_special_tokens=False).ids
        limit = min(int(self._told.get("max_tokens", 256)), self._most - len(ids))
        constraint = self._grammars.constraint(self._schema) if self._schema else None
        line = Line(ids, None, limit, stop=tuple(self._told.get("stop", ())), constraint=constraint)
        line.begin(backend)
        past = None
        while line.finish is None:
            seen = self._model(input_ids=torch.tensor([line.ahead]), past_key_values=past, use_cache=True)
            past = seen.past_key_values
            line.ahead.clear()
            line.choose(seen.logits[0, -1].float(), self._ends, backend)
        tokens = list(zip(line.pieces, line.scores, strict=True))
        found = claims_of(line.text, tokens, text)[1] if self._schema else claim_of_text(line.text, tokens)
        return [Value(one.path, one.value, one.score, one.span) for one in found]


def _ends(model: Any, tokenizer: Any) -> set[int]:
    """Tokens that end an answer."""
    named = model.generation_config.eos_token_id
    listed = named if isinstance(named, list) else [named]
    return {int(token) for token in [*listed, tokenizer.eos_token_id] if token is not None}
