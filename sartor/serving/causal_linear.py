"""A weight matrix as a function, in the order of memory that this processor multiplies fastest. Knows no models.

With few rows, a product in bfloat16 spends half its time putting the weights in order; here that is done once. The
results are the same bits.
"""

from collections.abc import Callable
from typing import Any

import torch

Linear = Callable[[torch.Tensor], torch.Tensor]
"""(rows, in) -> (rows, out)."""

ROWS = 64
"""Rows that the order is chosen for; others work too."""


def linear_of(weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
    """The product with a (out, in) matrix."""
    if weight.dtype == torch.bfloat16 and (packed := _packed(weight)) is not None:
        # The operator behind torch's own compiled models; where it is missing, the plain product serves.
        product: Any = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
        return lambda x: product(x, packed, bias, "none", [], "")
    return lambda x: torch.nn.functional.linear(x, weight, bias)


def _packed(weight: torch.Tensor) -> Any:
    try:
        return torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)  # noqa: SLF001
    except (AttributeError, RuntimeError):
        return None
