"""What became of a label under edits of a task's labels. Pure; rows and answers follow it elsewhere."""

from collections.abc import Sequence

import numpy as np

from sartor.core.predict import Floats
from sartor.core.wheel import Relabel


def carried(label: str, edits: Sequence[Relabel]) -> tuple[str, ...]:
    """The labels that an old one may be now: itself where no edit names it, several where it was split, none where it
    was retired without a successor."""
    now: tuple[str, ...] = (label,)
    for edit in edits:
        gone = {edit.retire, edit.split, *edit.merge} - {""}
        now = tuple(dict.fromkeys(new for old in now for new in (edit.into if old in gone else (old,))))
    return now


def gone(edits: Sequence[Relabel]) -> set[str]:
    """Labels that are no answer any more."""
    return _named(edits)[1]


def added(edits: Sequence[Relabel]) -> set[str]:
    """Labels that came in by an edit, and stand."""
    return _named(edits)[0]


def _named(edits: Sequence[Relabel]) -> tuple[set[str], set[str]]:
    new, old = set[str](), set[str]()
    for edit in edits:
        left, came = {edit.retire, edit.split, *edit.merge} - {""}, {edit.add, *edit.into} - {""}
        left -= came  # a label that goes on under its name, e.g. {split: card, into: [card, card_lost]}
        new, old = (new - left) | came, (old - came) | left
    return new, old


def transfer(old: Sequence[str], new: Sequence[str], edits: Sequence[Relabel]) -> Floats:
    """(old labels, new labels) how the probability of each old label is divided over the new ones.

    A split label's is divided evenly: a model that never heard of the parts can't tell them apart. That of a label
    without a successor is lost.
    """
    place = {label: at for at, label in enumerate(new)}
    found = np.zeros((len(old), len(new)))
    for row, label in enumerate(old):
        stands = [place[name] for name in carried(label, edits) if name in place]
        found[row, stands] = 1.0 / max(len(stands), 1)
    return found
