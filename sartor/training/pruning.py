"""Which layers and attention heads a made encoder or language model can best do without.

Layers: by influence, one minus the cosine of what goes in and what comes out (Men et al. 2024, "ShortGPT"), or one
after the other by what the answers to validation rows lose. Heads: by the slope of the loss along each head's output
(Michel et al. 2019, "Are sixteen heads really better than one?"). Knows no files.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from sartor.core.predict import Floats
from sartor.training.encoder import Encoder, Tokens, precision
from sartor.training.heads import Head
from sartor.training.job import Ints

BATCH = 32
OUT = ("attention.output.dense", "attention.attn.o")
"""Layers that read what the heads of an encoder say, side by side."""


def stack_of(model: Any) -> Any:
    """The list of a model's layers.

    Raises:
        ValueError: there is none.
    """
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    if not lists:
        raise ValueError("found no list of layers to cut")
    return max(lists, key=len)


def influence(model: Any, passes: Sequence[Callable[[], Any]]) -> Floats:
    """(layers,) how much each layer turns what it is given, in the mean over tokens."""
    layers = stack_of(model)
    turned = np.zeros(len(layers))
    count = 0

    def watch(place: int) -> Callable[[Any, Any, Any], None]:
        def hook(_: Any, given: Any, made: Any) -> None:
            after = made[0] if isinstance(made, tuple) else made
            turned[place] += float((1.0 - functional.cosine_similarity(given[0].float(), after.float(), dim=-1)).mean())

        return hook

    hooks = [layer.register_forward_hook(watch(place)) for place, layer in enumerate(layers)]
    try:
        with torch.no_grad():
            for one in passes:
                one()
                count += 1
    finally:
        for hook in hooks:
            hook.remove()
    found: Floats = turned / max(count, 1)
    return found


def passes_of(encoder: Encoder, texts: Sequence[str]) -> list[Callable[[], Any]]:
    """What runs texts through an encoder, batch by batch."""
    tokens = sorted(encoder.tokens(texts), key=len)
    batches = [tokens[start : start + BATCH] for start in range(0, len(tokens), BATCH)]
    return [partial(encoder.pooled, batch) for batch in batches]


def least_missed(encoder: Encoder, head: Head, tokens: Sequence[Tokens], targets: Ints, keep: int) -> list[int]:
    """Numbers of the layers that stay: one after the other goes whose loss the answers feel least."""
    whole = stack_of(encoder.model)
    kept = list(range(len(whole)))
    while len(kept) > keep:
        losses = []
        for place in kept:
            rest = [layer for layer in kept if layer != place]
            with only(encoder.model, rest):
                logits = head.logits(encoder.embed(tokens))
            losses.append((_log_loss(logits, targets), place))
        kept.remove(min(losses)[1])
    return kept


@contextlib.contextmanager
def only(model: Any, kept: Sequence[int]) -> Iterator[None]:
    """Inside, the model has just these layers."""
    whole = stack_of(model)
    parent, name = _parent_of(model, whole)
    setattr(parent, name, torch.nn.ModuleList([whole[place] for place in kept]))
    before = model.config.num_hidden_layers
    model.config.num_hidden_layers = len(kept)
    try:
        yield
    finally:
        setattr(parent, name, whole)
        model.config.num_hidden_layers = before


def slopes(encoder: Encoder, head: Head, tokens: Sequence[Tokens], targets: Ints) -> Floats:
    """(layers, heads) how much the loss would change, to first order, if a head fell silent."""
    outs = outs_of(encoder.model)
    heads = int(encoder.model.config.num_attention_heads)
    said: dict[int, torch.Tensor] = {}
    found = np.zeros((len(outs), heads))
    weight, bias = torch.from_numpy(head.weight), torch.from_numpy(head.bias)

    def watch(place: int) -> Callable[[Any, Any], None]:
        def hook(_: Any, given: Any) -> None:
            given[0].retain_grad()
            said[place] = given[0]

        return hook

    hooks = [out.register_forward_pre_hook(watch(place)) for place, out in enumerate(outs)]
    encoder.model.eval()
    try:
        for start in range(0, len(tokens), BATCH):
            rows = slice(start, start + BATCH)
            with precision():
                embedded = encoder.pooled(tokens[rows])
            loss = functional.cross_entropy(embedded @ weight.T + bias, torch.as_tensor(targets[rows]), reduction="sum")
            torch.autograd.backward(loss)
            for place, value in said.items():
                assert value.grad is not None
                product = (value * value.grad).detach().float()
                split = product.reshape(*product.shape[:2], heads, -1)
                found[place] += split.sum(dim=(1, 3)).abs().sum(dim=0).numpy()
            encoder.model.zero_grad(set_to_none=True)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def outs_of(model: Any) -> list[Any]:
    """The layers that read what the heads say, by number of the layer.

    Raises:
        ValueError: the architecture is none of those known here.
    """
    found = [module for name, module in model.named_modules() if name.endswith(OUT)]
    if not found:
        raise ValueError(f"found no attention to cut heads of; known are layers called {' or '.join(OUT)}")
    return found


def silenced(scores: Floats, share: float) -> dict[int, list[int]]:
    """Layer -> heads that go: the least of all, so that each layer keeps one at least."""
    layers, heads = scores.shape
    cut: dict[int, list[int]] = {layer: [] for layer in range(layers)}
    order = np.argsort(scores, axis=None, kind="stable")
    wanted = round(share * scores.size)
    for flat in order.tolist():
        layer, head = divmod(flat, heads)
        if wanted and len(cut[layer]) < heads - 1:
            cut[layer].append(head)
            wanted -= 1
    return {layer: sorted(found) for layer, found in cut.items() if found}


@contextlib.contextmanager
def silent(model: Any, cut: dict[int, list[int]]) -> Iterator[None]:
    """Inside, these heads say nothing and are taught nothing; after it, what reads them is zero."""
    heads = int(model.config.num_attention_heads)
    hooks = []
    for layer, out in enumerate(outs_of(model)):
        size = out.in_features // heads
        mask = torch.ones(out.in_features)
        for head in cut.get(layer, []):
            mask[head * size : (head + 1) * size] = 0.0
        hooks.append(out.register_forward_pre_hook(lambda _, given, mask=mask: (given[0] * mask.to(given[0].dtype),)))
        with torch.no_grad():
            out.weight.mul_(mask)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        with torch.no_grad():
            for layer, out in enumerate(outs_of(model)):
                size = out.in_features // heads
                for head in cut.get(layer, []):
                    out.weight[:, head * size : (head + 1) * size] = 0.0


def _parent_of(model: Any, child: Any) -> tuple[Any, str]:
    for module in model.modules():
        for name, found in module.named_children():
            if found is child:
                return module, name
    raise ValueError("found no place of the layers in the model")


def _log_loss(logits: Floats, targets: Ints) -> float:
    from sartor.training import calibration

    return float(calibration.facts(logits, calibration.fit(logits, None, targets), targets)["loss_after"])
