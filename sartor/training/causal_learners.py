"""What is trained of a lean language model: low-rank adapters, several at once, or the weights of its top layers.

Hu et al. 2021, "LoRA: low-rank adaptation of large language models". The files are PEFT's, or a Hugging Face folder.
Embeddings and the head stay as they are. Knows no optimiser and no epochs.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.training.causal_batch import Pass, Scale, collate, passes
from sartor.training.causal_lean import GROUPS, Layer, Lean, Low, Lows, Tensor
from sartor.training.causal_ops import Blocks, foretell, foretold
from sartor.training.causal_rows import Row

KEPT_BYTES = 2 << 30
"""Most memory for what the frozen layers made of all rows."""
LOOKED_AT_ONCE = 4096
"""Tokens of one pass without gradients."""
MODEL_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
               "special_tokens_map.json", "chat_template.jinja", "vocab.json", "merges.txt")  # fmt: skip


class Judged(NamedTuple):
    """How well the right answers are foretold."""

    losses: Floats
    """(tries, rows) mean loss of an answer's tokens."""
    exact: Floats
    """(tries, rows) 1 where each token of the answer is the likeliest: greedy writing gives the answer itself."""


class Learner(Protocol):
    """A model and what is trained of it."""

    tries: list[list[Tensor]]
    """Trained weights in float32, of each of those that learn side by side."""

    def cost(self, rows: Sequence[Row], scale: Scale, weights: Sequence[float] | None) -> Tensor:
        """(tries,) share of the batch's loss that these rows have, with gradients."""
        ...

    def judge(self, rows: Sequence[Row]) -> Judged:
        """How well these rows' answers are foretold now."""
        ...

    def save(self, folder: Path, which: int) -> None:
        """Write the files of one of them."""
        ...


@dataclass
class Kept:
    """What the frozen bottom layers made of rows, so that later epochs needn't."""

    lean: Lean
    layers: int
    _found: dict[int, tuple[Row, Tensor]] = field(default_factory=dict, init=False)
    """By the row's identity; the row is held, so that no other can take its place in memory."""

    def fill(self, rows: Sequence[Row]) -> bool:
        """Compute it for all rows; False where that would take too much memory, and nothing is kept."""
        width, size = self.lean.shape.width, self.lean.embedding.element_size()
        if not self.layers or sum(len(row) for row in rows) * width * size > KEPT_BYTES:
            return False
        for part in passes(rows, LOOKED_AT_ONCE):
            some = [rows[place] for place in part]
            given = collate(some, Scale.of(some))
            below, begin = self.lean.bottom(given, self.layers)[0], len(given.prefix)
            each = below[begin:].view(*given.ids.shape, width)
            for row, states in zip(some, each, strict=True):
                self._found[id(row)] = row, torch.cat([below[:begin], states[: len(row) - begin]])
        return True

    def below(self, rows: Sequence[Row], given: Pass) -> Tensor:
        """(1, p + b·s, d) for a pass over these rows."""
        if any(id(row) not in self._found for row in rows):
            return self.lean.bottom(given, self.layers)
        begin = len(given.prefix)
        parts = [self._found[id(rows[0])][1][:begin]]
        for row in rows:
            states = self._found[id(row)][1][begin:]
            parts += [states, states.new_zeros(given.ids.shape[1] - len(states), states.shape[1])]
        return torch.cat(parts)[None]


@dataclass(frozen=True)
class Factor:
    """Where an adapted layer stands, and its size."""

    layer: int
    group: str
    name: str
    span: slice
    """Its columns in the group's output."""
    wide: int
    """Width of what it reads."""

    @property
    def out(self) -> int:
        """Width of what it gives."""
        return int(self.span.stop - self.span.start)


class Adapters:
    """Low-rank adapters on some linear layers of the top layers, `count` of them side by side."""

    def __init__(self, lean: Lean, kept: Kept, *, rank: int, targets: Sequence[str], count: int) -> None:
        self._lean, self._kept, self._rank = lean, kept, rank
        self.factors = _factors(lean, kept.layers, targets)
        self.targets = tuple(sorted({one.name.rsplit(".", 1)[-1] for one in self.factors}))
        self.alpha = 2 * rank
        first = _started(self.factors, rank)
        self.tries = [[first.clone().requires_grad_()] for _ in range(count)]

    def cost(self, rows: Sequence[Row], scale: Scale, weights: Sequence[float] | None) -> Tensor:
        """As `Learner` says."""
        given = collate(rows, scale, weights)
        return foretold(self._hidden(rows, given), self._lean.head, given.wanted, given.weights)

    def judge(self, rows: Sequence[Row]) -> Judged:
        """As `Learner` says."""
        return judged_by(rows, len(self.tries), LOOKED_AT_ONCE, self._look)

    def fill(self, tensors: dict[str, Tensor]) -> None:
        """Begin with the adapter of a PEFT folder's tensors."""
        with torch.no_grad():
            parts = [tensors[name].flatten().float() for name in self._names()]
            for (leaf,) in self.tries:
                leaf.copy_(torch.cat(parts))

    def save(self, folder: Path, which: int) -> None:
        """Write PEFT's `adapter/`."""
        from safetensors.torch import save_file

        (leaf,) = self.tries[which]
        shapes = [shape for one in self.factors for shape in _shapes(one, self._rank)]
        parts = leaf.detach().split_with_sizes([rows * columns for rows, columns in shapes])
        named = dict(zip(self._names(), (p.view(s) for p, s in zip(parts, shapes, strict=True)), strict=True))
        (folder / "adapter").mkdir(parents=True)
        tensors = {name: named[name].contiguous() for name in sorted(named)}
        save_file(tensors, folder / "adapter/adapter_model.safetensors", {"format": "pt"})
        config = peft_config(self._rank, self.alpha, self.targets, range(self._kept.layers, self._lean.shape.layers))
        (folder / "adapter/adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")

    def _names(self) -> list[str]:
        heads = [f"base_model.model.model.layers.{one.layer}.{one.name}" for one in self.factors]
        return [f"{head}.lora_{part}.weight" for head in heads for part in ("A", "B")]

    def _look(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        given = collate(rows, Scale.of(rows))
        with torch.no_grad():
            return foretell(self._hidden(rows, given), self._lean.head, given.wanted)

    def _hidden(self, rows: Sequence[Row], given: Pass) -> Tensor:
        below = self._kept.below(rows, given)
        return self._lean.top(given, below, self._kept.layers, self._lows(), len(self.tries))

    def _lows(self) -> Lows:
        joined = torch.stack([leaf for (leaf,) in self.tries]).to(self._lean.embedding.dtype)
        shapes = [shape for one in self.factors for shape in _shapes(one, self._rank)]
        parts = joined.split_with_sizes([rows * columns for rows, columns in shapes], dim=1)
        views = [part.view(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
        found: Lows = {}
        for key in dict.fromkeys((one.layer, one.group) for one in self.factors):
            at = [k for k, one in enumerate(self.factors) if (one.layer, one.group) == key]
            blocks = Blocks([self.factors[k].span for k in at], self.alpha / self._rank)
            found[key] = Low(blocks, (*(views[2 * k] for k in at), *(views[2 * k + 1] for k in at)))
        return found


class Whole:
    """The weights of the top layers themselves."""

    def __init__(self, lean: Lean, kept: Kept, home: Path) -> None:
        self._lean, self._kept, self._home = lean, kept, home
        self._trained = lean.layers[kept.layers :]
        parts = ([*one.weights.values(), *one.biases.values(), *one.norms] for one in self._trained)
        leaves = [leaf for part in parts for leaf in part]
        self.tries = [[leaf.detach().float().clone().requires_grad_() for leaf in [*leaves, lean.norm]]]

    def cost(self, rows: Sequence[Row], scale: Scale, weights: Sequence[float] | None) -> Tensor:
        """As `Learner` says."""
        given = collate(rows, scale, weights)
        return foretold(self._hidden(rows, given), self._lean.head, given.wanted, given.weights)

    def judge(self, rows: Sequence[Row]) -> Judged:
        """As `Learner` says."""
        return judged_by(rows, 1, LOOKED_AT_ONCE, self._look)

    def save(self, folder: Path, which: int) -> None:  # noqa: ARG002 - there is one
        """Write `model/`, a Hugging Face folder with weights as precise as they were computed with."""
        from safetensors.torch import load_file, save_file

        now = self._now()
        home = folder / "model"
        home.mkdir(parents=True)
        for name in MODEL_FILES:
            if (self._home / name).exists():
                shutil.copyfile(self._home / name, home / name)
        named: dict[str, Tensor] = {"model.norm.weight": now.norm}
        for at in range(self._kept.layers, len(now.layers)):
            named |= _by_name(now.layers[at], at)
        for path in sorted(self._home.glob("*.safetensors")):
            tensors = {name: named.get(name, tensor).detach() for name, tensor in load_file(path).items()}
            dtype = self._lean.embedding.dtype
            save_file({n: t.to(dtype).contiguous() for n, t in tensors.items()}, home / path.name, {"format": "pt"})
        config = json.loads((home / "config.json").read_text(encoding="utf-8"))
        config = {k: v for k, v in config.items() if k not in ("_name_or_path", "_model_name_or_path", "torch_dtype")}
        config["dtype"] = str(self._lean.embedding.dtype).removeprefix("torch.")
        (home / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")

    def _now(self) -> Lean:
        dtype = self._lean.embedding.dtype
        cast = iter([leaf.to(dtype) for leaf in self.tries[0]])

        def layer(like: Layer) -> Layer:
            weights, biases = ({name: next(cast) for name in part} for part in (like.weights, like.biases))
            return Layer(weights, biases, (next(cast), next(cast)))

        below = self._lean.layers[: self._kept.layers]
        return replace(self._lean, layers=[*below, *(layer(one) for one in self._trained)], norm=next(cast))

    def _look(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        given = collate(rows, Scale.of(rows))
        with torch.no_grad():
            return foretell(self._hidden(rows, given), self._lean.head, given.wanted)

    def _hidden(self, rows: Sequence[Row], given: Pass) -> Tensor:
        return self._now().top(given, self._kept.below(rows, given), self._kept.layers, {}, 1)


Look = Callable[[Sequence[Row]], tuple[Tensor, Tensor]]
"""Rows of one branch -> (tries, m) losses of their answers' tokens, in the rows' order, and whether each is hit."""


def judged_by(rows: Sequence[Row], tries: int, tokens: int, look: Look) -> Judged:
    """How well the first branches of rows are foretold, so many tokens at a time."""
    losses, exact = np.zeros((tries, len(rows))), np.ones((tries, len(rows)))
    for part in passes(rows, tokens):
        each, hits = (found.numpy() for found in look([rows[place].alone() for place in part]))
        start = 0
        for place in part:
            end = start + len(rows[place].branches[0].answer)
            losses[:, place] = each[:, start:end].mean(axis=1)
            exact[:, place] = hits[:, start:end].all(axis=1)
            start = end
    return Judged(losses, exact)


def peft_config(rank: int, alpha: int, targets: Sequence[str], layers: Sequence[int]) -> dict[str, Any]:
    """What stands in PEFT's `adapter_config.json`."""
    some = {"layers_to_transform": list(layers), "layers_pattern": "layers"} if layers[0] else {}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted(targets),
        **some,
    }


def _factors(lean: Lean, bottom: int, targets: Sequence[str]) -> list[Factor]:
    known = {name.rsplit(".", 1)[-1]: (group, name) for group, names in GROUPS.items() for name in names}
    if missing := sorted(set(targets) - set(known)):
        raise AskError(
            f"Adapters were asked for on '{missing[0]}', which the base has not; its linear layers are "
            f"{', '.join(sorted(known))}. Name some of these under 'targets'.",
            code="unknown_target",
            param="candidates.params.targets",
        )
    found = []
    for at in range(bottom, lean.shape.layers):
        for group, names in GROUPS.items():
            weight, start = lean.layers[at].weights[group], 0
            for name, out in zip(names, _widths(lean, group, weight), strict=True):
                if name.rsplit(".", 1)[-1] in targets:
                    found.append(Factor(at, group, name, slice(start, start + out), weight.shape[1]))
                start += out
    return found


def _widths(lean: Lean, group: str, weight: Tensor) -> list[int]:
    shape = lean.shape
    if group == "qkv":
        return [shape.heads * shape.head, shape.groups * shape.head, shape.groups * shape.head]
    return [weight.shape[0] // len(GROUPS[group])] * len(GROUPS[group])


def _shapes(one: Factor, rank: int) -> list[tuple[int, int]]:
    return [(rank, one.wide), (one.out, rank)]


def _started(factors: Sequence[Factor], rank: int) -> Tensor:
    """First factors as PEFT draws them: A uniform within 1/sqrt(width), B zero."""
    parts = []
    for one in factors:
        bound = one.wide**-0.5
        parts += [torch.empty(rank * one.wide).uniform_(-bound, bound), torch.zeros(one.out * rank)]
    return torch.cat(parts)


def _by_name(layer: Layer, at: int) -> dict[str, Tensor]:
    """The tensors of a layer under their names in a checkpoint."""
    home = f"model.layers.{at}"
    found: dict[str, Tensor] = {}
    for group, names in GROUPS.items():
        for what, tensors in (("weight", layer.weights), ("bias", layer.biases)):
            if group not in tensors:
                continue
            joined, width = tensors[group], layer.weights["o"].shape
            if group == "qkv":
                groups = (joined.shape[0] - width[1]) // 2
                parts = joined.split_with_sizes([width[1], groups, groups])
            else:
                parts = joined.chunk(len(names))
            found |= {f"{home}.{name}.{what}": part for name, part in zip(names, parts, strict=True)}
    for name, norm in zip(("input", "post_attention"), layer.norms, strict=True):
        found[f"{home}.{name}_layernorm.weight"] = norm
    return found
