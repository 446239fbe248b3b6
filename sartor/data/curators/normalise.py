"""Bring text and labels to one form: Unicode NFC, no control characters, no stray white space.

Changes text, never meaning: case, punctuation and word order stay. Takes no row out.
"""

from dataclasses import replace

from sartor.core.rows import Row
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.curator import Bench, Curated
from sartor.data.text import clean


class Params(Settings):
    """Nothing to set."""


@plugin
def normalise(rows: list[Row], _params: Params, _bench: Bench) -> Curated:
    """Clean text and label of every row; the named input columns stay as they came."""
    kept: list[Row] = []
    texts = labels = 0
    for row in rows:
        text = clean(row.text)
        label = clean(row.label) if row.label is not None else None
        texts += text != row.text
        labels += label != row.label
        changed = text != row.text or label != row.label
        kept.append(replace(row, text=text, label=label) if changed else row)
    return Curated(kept, notes={"texts_changed": texts, "labels_changed": labels})
