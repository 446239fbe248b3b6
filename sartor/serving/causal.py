"""A causal language model as a function from token runs to logits: one flat pass for prompts and for answers under way.

Takes architectures of Llama's build (RMS norm, rotary places, grouped attention, gated MLP). Knows neither adapters'
files nor who asked: what an adapter adds is told by a `Mix`. Rotary places after Su et al. 2021; grouped attention
after Ainslie et al. 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from sartor.core.errors import AskError, StoreError
from sartor.serving.causal_linear import Linear, linear_of
from sartor.serving.causal_mix import Mix

BUILT_ALIKE = ("llama", "mistral", "qwen2")
"""Values of `model_type` whose layers are those that are computed here."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a base an adapter and a cache must know."""

    layers: int
    wide: int
    """Numbers that a token is, between layers."""
    inner: int
    """Numbers that a token is, inside the MLP."""
    heads: int
    kv_heads: int
    each: int
    """Numbers a head."""
    positions: int
    """Tokens that it reads and writes at most."""

    @property
    def q(self) -> int:
        """Numbers of all queries of a token."""
        return self.heads * self.each

    @property
    def kv(self) -> int:
        """Numbers of all keys of a token, and of all values."""
        return self.kv_heads * self.each


class Run(NamedTuple):
    """Tokens of one answer that go through the model together."""

    row: int
    """Its row in the cache."""
    start: int
    """Tokens of it that went through before."""
    tokens: Sequence[int]


class Cache:
    """Keys and values of answers under way, by row. Grows; rows of answers that are done are filled by the last."""

    def __init__(self, shape: Shape, dtype: torch.dtype) -> None:
        """Hold nothing yet."""
        self._shape = shape
        self._dtype = dtype
        self.keys = self._empty(0, 0)
        self.values = self._empty(0, 0)

    def _empty(self, rows: int, tokens: int) -> torch.Tensor:
        return torch.zeros(
            (self._shape.layers, rows, self._shape.kv_heads, tokens, self._shape.each), dtype=self._dtype
        )

    def room(self, rows: int, tokens: int) -> None:
        """Have at least so many rows of so many tokens."""
        had = self.keys.shape
        if had[1] >= rows and had[3] >= tokens:
            return
        rows, tokens = max(rows, had[1]), max(-(-tokens // 64) * 64, had[3])
        for name in ("keys", "values"):
            grown = self._empty(rows, tokens)
            grown[:, : had[1], :, : had[3]] = getattr(self, name)
            setattr(self, name, grown)

    def move(self, source: int, target: int, tokens: int) -> None:
        """Put one row in the place of another."""
        for held in (self.keys, self.values):
            held[:, target, :, :tokens] = held[:, source, :, :tokens]


class Causal:
    """A loaded language model. One pass at a time."""

    def __init__(self, folder: Path, *, threads: int, dtype: Literal["float32", "bfloat16"]) -> None:
        """Load a Hugging Face folder.

        Raises:
            StoreError: the folder holds no language model that can be loaded.
            AskError: its architecture is not one that is computed here.
        """
        torch.set_num_threads(threads)
        self.dtype = getattr(torch, dtype)
        model, self.tokenizer = _load(folder, self.dtype)
        self.backend = self.tokenizer.backend_tokenizer
        """The tokenizer below the wrapping, which streams."""
        self.shape = _shape(model.config)
        self._norm_eps = float(model.config.rms_norm_eps)
        self.bytes: int = sum(part.numel() * part.element_size() for part in model.parameters())
        """Memory of the weights."""
        self._embedding = model.model.embed_tokens.weight.data
        self._layers = [_Layer(layer) for layer in model.model.layers]
        self._norm = model.model.norm.weight.data
        self._head = linear_of(model.lm_head.weight.data, None)
        self.vocabulary = int(model.lm_head.weight.shape[0])
        self.ends = _ends(model, self.tokenizer)
        self._cos, self._sin = _turns(model.model.rotary_emb, self.shape.positions, self.dtype)

    def new_cache(self) -> Cache:
        """Room for answers under way."""
        return Cache(self.shape, self.dtype)

    @torch.inference_mode()
    def logits(self, runs: Sequence[Run], cache: Cache, mix: Mix | None = None) -> torch.Tensor:
        """(runs, vocabulary) float32: what comes after each run.

        Args:
            runs: in the order of their rows; single tokens are quick where they fill the rows from 0.
            mix: what adapters add, told for the tokens in this order.
        """
        place = _Places.of(runs)
        cache.room(max(run.row for run in runs) + 1, max(run.start + len(run.tokens) for run in runs))
        hidden = self._embedding[place.tokens]
        cos, sin = self._cos[place.positions][:, None], self._sin[place.positions][:, None]
        for number, layer in enumerate(self._layers):
            seen = rms_norm(hidden, (self.shape.wide,), layer.first_norm, self._norm_eps)
            looked = self._attention(number, layer, seen, place, cache, (cos, sin), mix)
            hidden = hidden + looked
            seen = rms_norm(hidden, (self.shape.wide,), layer.second_norm, self._norm_eps)
            hidden = hidden + self._mlp(number, layer, seen, mix)
        return self._head(rms_norm(hidden[place.last], (self.shape.wide,), self._norm, self._norm_eps)).float()

    def _attention(
        self,
        number: int,
        layer: "_Layer",
        seen: torch.Tensor,
        place: "_Places",
        cache: Cache,
        turn: tuple[torch.Tensor, torch.Tensor],
        mix: Mix | None,
    ) -> torch.Tensor:
        shape = self.shape
        made = layer.qkv(seen)
        if mix is not None:
            mix.add("qkv", number, seen, made)
        split = made.view(len(seen), shape.heads + 2 * shape.kv_heads, shape.each)
        turned = _turned(split[:, : shape.heads + shape.kv_heads], *turn)
        queries, keys, values = (
            turned[:, : shape.heads],
            turned[:, shape.heads :],
            split[:, shape.heads + shape.kv_heads :],
        )
        where = (place.rows, torch.arange(shape.kv_heads)[None], place.at)
        cache.keys[number].index_put_(where, keys)
        cache.values[number].index_put_(where, values)
        out = _attended(queries, cache.keys[number], cache.values[number], place, shape)
        result: torch.Tensor = layer.o(out)
        if mix is not None:
            mix.add("o", number, out, result)
        return result

    def _mlp(self, number: int, layer: "_Layer", seen: torch.Tensor, mix: Mix | None) -> torch.Tensor:
        both = layer.gate_up(seen)
        if mix is not None:
            mix.add("gate_up", number, seen, both)
        gated = silu(both[:, : self.shape.inner]).mul_(both[:, self.shape.inner :])
        result: torch.Tensor = layer.down(gated)
        if mix is not None:
            mix.add("down", number, gated, result)
        return result


class _Layer:
    """The weights of one layer; what reads the same input is one product."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.first_norm = layer.input_layernorm.weight.data
        self.second_norm = layer.post_attention_layernorm.weight.data
        self.qkv = _fused(attention.q_proj, attention.k_proj, attention.v_proj)
        self.o = _fused(attention.o_proj)
        self.gate_up = _fused(mlp.gate_proj, mlp.up_proj)
        self.down = _fused(mlp.down_proj)


@dataclass(frozen=True)
class _Places:
    """Where the tokens of one pass stand."""

    tokens: torch.Tensor
    positions: torch.Tensor
    rows: torch.Tensor
    """(tokens, 1) row of the cache."""
    at: torch.Tensor
    """(tokens, 1) place in the row."""
    last: torch.Tensor
    """(runs,) the last token of each run."""
    long: tuple[tuple[int, int, Run], ...]
    """Runs of several tokens: first and one past the last, and the run."""
    single: tuple[torch.Tensor, torch.Tensor] | None
    """Places in the pass, and rows of the cache, of the runs that are a single token."""
    mask: torch.Tensor | None
    """(rows, 1, 1, longest) True where the single token of a row looks."""

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "_Places":
        """The places of these runs, one after the other."""
        lengths = [len(run.tokens) for run in runs]
        ends = torch.tensor(lengths).cumsum(0)
        positions = torch.cat([torch.arange(run.start, run.start + n) for run, n in zip(runs, lengths, strict=True)])
        rows = torch.repeat_interleave(torch.tensor([run.row for run in runs]), torch.tensor(lengths))
        begins = (ends - torch.tensor(lengths)).tolist()
        long = tuple((b, b + n, run) for b, n, run in zip(begins, lengths, runs, strict=True) if n > 1)
        single = mask = None
        if lone := [(b, run.row, run.start) for b, n, run in zip(begins, lengths, runs, strict=True) if n == 1]:
            at, row, start = torch.tensor(lone).T
            single = (at, row)
            reach = torch.zeros(int(row.max()) + 1, dtype=torch.long)
            reach[row] = start
            mask = (torch.arange(int(start.max()) + 1) <= reach[:, None])[:, None, None]
        flat = torch.tensor([token for run in runs for token in run.tokens])
        return cls(flat, positions, rows[:, None], positions[:, None], ends - 1, long, single, mask)


def _attended(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, place: _Places, shape: Shape
) -> torch.Tensor:
    """(tokens, heads x each) of (tokens, heads, each) queries over the cache of one layer."""
    out = torch.empty((len(queries), shape.q), dtype=queries.dtype)
    if place.single is not None and place.mask is not None:
        count, longest = place.mask.shape[0], place.mask.shape[-1]
        at, row = place.single
        whole = not place.long and len(at) == count
        mine = queries if whole else queries.new_zeros((count, *queries.shape[1:])).index_copy_(0, row, queries[at])
        asked = mine.reshape(count, shape.kv_heads, -1, shape.each) * shape.each**-0.5
        scores = (asked @ keys[:count, :, :longest].transpose(-1, -2)).float().masked_fill_(~place.mask, -torch.inf)
        found: torch.Tensor = scores.softmax(-1).to(values.dtype) @ values[:count, :, :longest]
        found = found.view(count, shape.q)
        if whole:
            return found
        out[at] = found[row]
    for begin, end, run in place.long:
        reach = run.start + end - begin
        group = shape.heads // shape.kv_heads
        k = keys[run.row, :, :reach].repeat_interleave(group, 0)[None]
        v = values[run.row, :, :reach].repeat_interleave(group, 0)[None]
        q = queries[begin:end].transpose(0, 1)[None]
        if run.start == 0:
            seen = scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            open_to = torch.arange(reach) <= torch.arange(run.start, reach)[:, None]
            seen = scaled_dot_product_attention(q, k, v, attn_mask=open_to)
        out[begin:end] = seen[0].transpose(0, 1).reshape(end - begin, shape.q)
    return out


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    left, right = x[..., :half], x[..., half:]
    return torch.cat((left * cos - right * sin, right * cos + left * sin), -1)


def _turns(rotary: Any, positions: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """(positions, each / 2) cosines and sines of the rotary places."""
    angles = torch.arange(positions)[:, None].float() * rotary.inv_freq.float()[None]
    scale = float(rotary.attention_scaling)
    return (angles.cos() * scale).to(dtype), (angles.sin() * scale).to(dtype)


def _fused(*modules: Any) -> Linear:
    bias = None if modules[0].bias is None else torch.cat([m.bias.data for m in modules])
    return linear_of(torch.cat([m.weight.data for m in modules]), bias)


def _shape(config: Any) -> Shape:
    heads = int(config.num_attention_heads)
    return Shape(
        layers=int(config.num_hidden_layers),
        wide=int(config.hidden_size),
        inner=int(config.intermediate_size),
        heads=heads,
        kv_heads=int(config.num_key_value_heads or heads),
        each=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
        positions=int(config.max_position_embeddings),
    )


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end an answer."""
    told = getattr(model.generation_config, "eos_token_id", None)
    ends = {tokenizer.eos_token_id, *(told if isinstance(told, list) else [told])}
    return frozenset(int(end) for end in ends if end is not None)


def _load(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    quiet.set_verbosity_error()
    place: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        kind = AutoConfig.from_pretrained(folder, **place).model_type
        if kind not in BUILT_ALIKE:
            raise AskError(
                f"The engine 'lm' computes models of these types: {', '.join(BUILT_ALIKE)}; this base is a '{kind}'. "
                "Serve it through an upstream (vLLM, llama.cpp) instead.",
                param="base",
                code="unknown_architecture",
            )
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, **place)
        return model.eval().requires_grad_(requires_grad=False), AutoTokenizer.from_pretrained(folder, **place)
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"Loading a language model from {folder} failed: {error}. Fetch or make it again.", code="base_damaged"
        ) from error
