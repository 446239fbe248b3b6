"""A tokenizer file as a function from texts to token ids, and how texts are put into passes. Knows no models."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sartor.core.errors import StoreError

Tokens = list[int]
BATCH_TOKENS = 512
"""Tokens of one forward pass, padding included: activations then stay in cache (MiniLM: 2048 takes a sixth longer)."""


class Tokenizer:
    """The tokenizer in `tokenizer.json`, cutting texts off after so many tokens. Safe to share between threads."""

    def __init__(self, folder: Path, *, most: int, special: bool) -> None:
        """Read it.

        Args:
            most: tokens that are kept of a text, special ones included.
            special: whether the model's own tokens ([CLS], </s>) are added.

        Raises:
            StoreError: the file is missing or damaged.
        """
        import tokenizers

        try:
            found: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises nothing narrower
            raise StoreError(
                f"Reading 'tokenizer.json' in {folder} failed: {error}. Fetch or make the model again.",
                code="base_damaged",
            ) from error
        found.no_padding()
        found.enable_truncation(most)
        name = json.loads(found.to_str())["model"].get("unk_token")
        self.unknown: int | None = found.token_to_id(name) if name else None
        self._encode = found.encode_batch_fast
        self._encode_one = found.encode
        self._special = special

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text.

        One by one: a batch would be spread over the library's own threads, which is no faster on short texts and
        hides its CPU time from the thread whose answer it is.
        """
        return [self._encode([text], add_special_tokens=self._special)[0].ids for text in texts]

    def placed(self, text: str) -> tuple[Tokens, list[tuple[int, int]]]:
        """Token ids of a text, and where each stands in it by characters; the model's own tokens stand at (0, 0)."""
        found = self._encode_one(text, add_special_tokens=self._special)
        return found.ids, found.offsets


def batches(encoded: Sequence[Tokens]) -> Iterator[list[int]]:
    """Rows of like length together, so that little of a pass is padding."""
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]), reverse=True)
    start = 0
    while start < len(order):
        longest = max(len(encoded[order[start]]), 1)
        step = max(BATCH_TOKENS // longest, 1)
        yield order[start : start + step]
        start += step
