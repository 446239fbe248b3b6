"""What counts as the same text. Knows nothing of rows.

Two forms: `clean` is what a person would still call the text itself; `key` is what it is compared by.
"""

import re
import unicodedata

_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")
_INVISIBLE = frozenset("\u200b\u200e\u200f\u2060\ufeff\u00ad")
"""Zero-width space, direction marks, word joiner, byte order mark, soft hyphen. The joiners U+200C and U+200D stay:
Persian, Hindi and emoji need them."""


def clean(text: str) -> str:
    """The text in NFC, without control and invisible characters, runs of spaces as one, at most one blank line."""
    if text.isascii() and text.isprintable():  # the common case, ten times faster
        return " ".join(text.split())
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(c for c in text if c in "\n\t" or not (c in _INVISIBLE or unicodedata.category(c) == "Cc"))
    spaced = _LINES.sub("\n", _SPACES.sub(" ", kept))
    return _BLANK_LINES.sub("\n\n", spaced).strip()


def key(text: str) -> str:
    """What a text is compared by: NFKC, case folded, every run of white space one space."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())
