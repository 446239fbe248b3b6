"""How many tokens an encoder has positions for, from its Hugging Face config. Knows no weights and no tokenizers."""

from collections.abc import Mapping
from typing import Any

MAX_TOKENS = 128
"""Of a text that an encoder reads, whatever it has positions for."""
COUNTED_FROM_PAD = ("mpnet", "roberta", "xlm-roberta", "camembert")
"""Architectures whose positions are counted from the pad token's number: those up to it are no places for words."""


def first_position(config: Mapping[str, Any]) -> int:
    """Row of the table of positions at which the first token of a text stands."""
    return int(config.get("pad_token_id") or 0) + 1 if config.get("model_type") in COUNTED_FROM_PAD else 0


def longest(config: Mapping[str, Any]) -> int:
    """Tokens that a text is cut after: 128, or fewer where the encoder has no more positions."""
    rows = config.get("max_position_embeddings")
    return MAX_TOKENS if not rows or rows < 0 else min(MAX_TOKENS, int(rows) - first_position(config))
