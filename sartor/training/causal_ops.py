"""The few operations of a Llama layer whose backward pass is worth writing by hand on a CPU.

Each keeps what it needs and no more, works in place where it may, and gives the gradients that autograd would. Knows
no model and no data.
"""

from typing import Any

import torch
from torch.nn import functional

Tensor = torch.Tensor
AT_ONCE = 256
"""Rows of logits that are made at once."""


class _Normed(torch.autograd.Function):
    """x / sqrt(mean(x²) + eps) · w over the last axis (Zhang & Sennrich 2019); sums in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """(…, d), (d,) -> (…, d)."""
        scale: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = scale.square_().div_(x.shape[-1]).add_(eps).rsqrt_().to(x.dtype)
        ctx.save_for_backward(x, weight, scale)
        return x * scale * weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Of x, and of the weight where it is trained."""
        x, weight, scale = ctx.saved_tensors
        (grad,) = grads
        of_weight = (grad * x * scale).flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        inner = grad * weight
        along: Tensor = torch.linalg.vecdot(inner, x)[..., None].float() * scale.float().pow(3) / x.shape[-1]
        return inner.mul_(scale).sub_(x * along.to(x.dtype)), of_weight, None


class _Turned(torch.autograd.Function):
    """Rotary position embedding (Su et al. 2021), halves rotated as Llama's checkpoints have them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(n, t, heads, d), (t, 1, d/2) twice -> as x."""
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """The same turn, back."""
        cos, sin = ctx.saved_tensors
        return _turn(grads[0], cos, -sin), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    torch.mul(first, cos, out=out[..., :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out[..., half:]).addcmul_(first, sin)
    return out


class _Gated(torch.autograd.Function):
    """silu(first half) · second half (Shazeer 2020)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """(…, 2f) -> (…, f)."""
        ctx.save_for_backward(x)
        gate, up = x.chunk(2, dim=-1)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Of both halves."""
        (x,) = ctx.saved_tensors
        (grad,) = grads
        gate, up = x.chunk(2, dim=-1)
        out = torch.empty_like(x)
        of_gate, of_up = out.chunk(2, dim=-1)
        torch.mul(grad, functional.silu(gate), out=of_up)
        of_gate.copy_(torch.ops.aten.silu_backward(grad * up, gate))
        return out


class _LowRank(torch.autograd.Function):
    """x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ with W and b frozen, for n adapters at once (Hu et al. 2021).

    Several adapted layers that read the same x go through as one: their A's stand below each other, each B has its own
    columns of the output.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, how: "Blocks", *low: Tensor) -> Tensor:
        """(n, t, d), (o, d), (o,), then A's (n, r, d) and B's (n, o_i, r) -> (n, t, o)."""
        down = torch.cat(low[: len(how.spans)], dim=1)
        up = x.new_zeros(len(x), weight.shape[0], down.shape[1])
        rank = down.shape[1] // len(how.spans)
        for place, (span, b) in enumerate(zip(how.spans, low[len(how.spans) :], strict=True)):
            torch.mul(b, how.scale, out=up[:, span, place * rank : (place + 1) * rank])
        y = functional.linear(x, weight, bias)
        z = torch.empty(*x.shape[:2], down.shape[1], dtype=x.dtype)
        for n in range(len(x)):
            torch.mm(x[n], down[n].t(), out=z[n])
            y[n].addmm_(z[n], up[n].t())
        ctx.how = how
        ctx.save_for_backward(x, weight, down, up, z)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Of x, where it is needed, and of A's and B's."""
        x, weight, down, up, z = ctx.saved_tensors
        how, (grad,) = ctx.how, grads
        grad = grad.contiguous()
        rank = down.shape[1] // len(how.spans)
        of_x = torch.matmul(grad, weight) if ctx.needs_input_grad[0] else None
        of_down, of_up = torch.empty_like(down), torch.empty_like(up)
        for n in range(len(x)):
            back = grad[n] @ up[n]
            if of_x is not None:
                of_x[n].addmm_(back, down[n])
            torch.mm(back.t(), x[n], out=of_down[n])
            torch.mm(grad[n].t(), z[n], out=of_up[n])
        of_up *= how.scale
        blocks = [of_up[:, span, k * rank : (k + 1) * rank] for k, span in enumerate(how.spans)]
        return of_x, None, None, None, *of_down.split_with_sizes([rank] * len(how.spans), dim=1), *blocks


class Blocks:
    """Which columns of a joint output each adapted layer has, and the scale of the adapters."""

    def __init__(self, spans: list[slice], scale: float) -> None:
        self.spans = spans
        self.scale = scale


def attention(query: Tensor, key: Tensor, value: Tensor, unseen: Tensor | None) -> Tensor:
    """Causal attention of grouped heads (Ainslie et al. 2023), the heads of one group as rows of one product.

    Args:
        query: (b, heads, s, d).
        key: (b, groups, t, d), with t >= s.
        value: as `key`.
        unseen: (b, s, t) true where a token may not look; None: none may look ahead, and t is s.

    Returns:
        (b, heads, s, d)
    """
    b, heads, s, d = query.shape
    groups, t = key.shape[1:3]
    if unseen is None:
        unseen = torch.ones(s, t, dtype=torch.bool).triu_(1)[None]
    q = query.reshape(b, groups, heads // groups * s, d) * d**-0.5
    scores = torch.matmul(q, key.transpose(-1, -2)).view(b, groups, heads // groups, s, t)
    shares = functional.softmax(scores.masked_fill(unseen[:, None, None], -1e30), dim=-1)
    return torch.matmul(shares.view(b, groups, -1, t), value).view(b, heads, s, d)


class _Foretold(torch.autograd.Function):
    """Weighted cross-entropy of the tokens that were to be foretold, with the head frozen.

    Logits are made for a few rows at a time and turned into the gradient of the hidden states at once, so that the
    whole table of logits never stands in memory (as in Hsu et al. 2024, "Liger kernel").
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
        """(n, m, d), (v, d), (m,), (m,) -> (n,) sums of weighted losses."""
        found, back = hidden.new_zeros(len(hidden), dtype=torch.float32), torch.empty_like(hidden)
        for n in range(len(hidden)):
            for at in range(0, len(wanted), AT_ONCE):
                span = slice(at, at + AT_ONCE)
                logs = torch.log_softmax(functional.linear(hidden[n, span], head).float(), dim=-1)
                ids = wanted[span, None]
                found[n] -= logs.gather(1, ids)[:, 0] @ weights[span]
                logs.exp_().scatter_add_(1, ids, torch.full_like(ids, -1, dtype=logs.dtype))
                torch.mm(logs.mul_(weights[span, None]).to(head.dtype), head, out=back[n, span])
        ctx.save_for_backward(back)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Of the hidden states."""
        (back,) = ctx.saved_tensors
        return back * grads[0][:, None, None].to(back.dtype), None, None, None


def foretell(hidden: Tensor, head: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """(n, m) loss of each token that was to be foretold, and whether it was the likeliest; no gradients."""
    shape = hidden.shape[:2]
    losses, hits = torch.empty(shape), torch.empty(shape, dtype=torch.bool)
    with torch.no_grad():
        for n in range(len(hidden)):
            for at in range(0, len(wanted), AT_ONCE):
                span = slice(at, at + AT_ONCE)
                logits = functional.linear(hidden[n, span], head).float()
                losses[n, span] = functional.cross_entropy(logits, wanted[span], reduction="none")
                hits[n, span] = logits.argmax(dim=-1) == wanted[span]
    return losses, hits


def normed(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm over the last axis."""
    return _apply(_Normed, x, weight, eps)


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions; (n, t, heads, d), (t, 1, d/2) twice -> as x."""
    return _apply(_Turned, x, cos, sin)


def gated(x: Tensor) -> Tensor:
    """silu(first half) · second half; (…, 2f) -> (…, f)."""
    return _apply(_Gated, x)


def low_rank(x: Tensor, weight: Tensor, bias: Tensor | None, how: Blocks, low: tuple[Tensor, ...]) -> Tensor:
    """A frozen linear layer with n adapters; (n, t, d), A's (n, r, d) and B's (n, o_i, r) -> (n, t, o)."""
    return _apply(_LowRank, x, weight, bias, how, *low)


def foretold(hidden: Tensor, head: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """(n,) weighted losses of (m,) wanted tokens, from (n, m, d) hidden states and the (v, d) frozen head."""
    return _apply(_Foretold, hidden, head, wanted, weights)


def _apply(function: Any, *given: Any) -> Tensor:
    """Torch's own signature is untyped."""
    found: Tensor = function.apply(*given)
    return found
