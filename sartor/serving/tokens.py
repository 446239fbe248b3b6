"""A tokenizer file as a function from texts to token ids. Knows no models."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sartor.core.errors import StoreError

Tokens = list[int]


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
        self._special = special

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text.

        One by one: a batch would be spread over the library's own threads, which is no faster on short texts and
        hides its CPU time from the thread whose answer it is.
        """
        return [self._encode([text], add_special_tokens=self._special)[0].ids for text in texts]
