"""Rows of tokens as the tensors of one pass: what they all begin with stands there once, masks keep the rest apart.

The common beginning (template, instructions) is one sequence, and all rows see it; causal attention makes that exact.
Rows are padded to the longest of the pass; a token sees the common beginning, its row's stem and its own branch, up to
itself. Knows no model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sartor.training.causal_rows import Row, common
from sartor.training.job import Ints

CHUNK = 32
"""Batches that are sorted by length together."""


@dataclass(frozen=True)
class Pass:
    """The tensors of some rows."""

    prefix: torch.Tensor
    """(p,) token ids that all rows begin with; may be empty."""
    ids: torch.Tensor
    """(b, s) token ids, padded."""
    places: torch.Tensor
    """(b, s) position of each token in its own sequence."""
    unseen: torch.Tensor
    """(b, s, p + s) whether a token (second axis) may not look at another (third)."""
    at: torch.Tensor
    """(m,) where in `ids`, flattened, a token of an answer is foretold."""
    wanted: torch.Tensor
    """(m,) the tokens of the answers."""
    weights: torch.Tensor
    """(m,) of their losses; they sum to the rows' share of the batch."""


@dataclass(frozen=True)
class Scale:
    """What a token of each branch weighs: all tokens of one kind of branch in a batch weigh 1 together."""

    tokens: tuple[int, ...]
    """Tokens of the first branch in the batch, of the second, …"""

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Scale":
        """That of a batch."""
        most = max(len(row.branches) for row in rows)
        return cls(tuple(sum(len(r.branches[k].answer) for r in rows if k < len(r.branches)) for k in range(most)))


def collate(rows: Sequence[Row], scale: Scale, row_weights: Sequence[float] | None = None) -> Pass:
    """The tensors of one pass over rows that are part of a batch of this scale."""
    begin = common(rows)
    longest = max(len(row) for row in rows) - begin
    shape = (len(rows), longest)
    ids, places = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    # A branch's number, 0 in the stem, -1 in padding, which sees nothing but the beginning and other padding.
    branch = np.full(shape, -1, np.int64)
    at: list[int] = []
    wanted: list[int] = []
    weights: list[float] = []
    for b, row in enumerate(rows):
        stem = row.stem[begin:]
        ids[b, : len(stem)], places[b, : len(stem)] = stem, np.arange(begin, len(row.stem))
        branch[b, : len(stem)] = 0
        s = len(stem)
        for k, one in enumerate(row.branches):
            read = one.read
            ids[b, s : s + len(read)] = read
            places[b, s : s + len(read)] = np.arange(len(row.stem), len(row.stem) + len(read))
            branch[b, s : s + len(read)] = k + 1
            first = b * longest + s + len(one.prompt) - 1
            at += range(first, first + len(one.answer))
            wanted += one.answer
            heavy = one.weight * (1.0 if row_weights is None else float(row_weights[b])) / scale.tokens[k]
            weights += [heavy] * len(one.answer)
            s += len(read)
    later = np.triu(np.ones((longest, longest), bool), 1)
    mine, other = branch[:, :, None], branch[:, None, :]
    unseen = later | ((other != 0) & (other != mine)) | ((other == 0) & (mine == -1))
    return Pass(
        prefix=torch.tensor(rows[0].stem[:begin], dtype=torch.int64),
        ids=torch.from_numpy(ids),
        places=torch.from_numpy(places),
        unseen=torch.from_numpy(np.concatenate([np.zeros((*shape, begin), bool), unseen], axis=2)),
        at=torch.tensor(at),
        wanted=torch.tensor(wanted),
        weights=torch.tensor(weights, dtype=torch.float32),
    )


def batches(rows: Sequence[Row], size: int, most: int, draw: np.random.Generator) -> list[Ints]:
    """Row numbers of the batches of one epoch of at most so many rows, in random order, like lengths together."""
    order = draw.permutation(len(rows))[:most]
    lengths = np.array([len(rows[row]) for row in order])
    found: list[Ints] = []
    for start in range(0, len(order), CHUNK * size):
        part = order[start : start + CHUNK * size]
        part = part[np.argsort(lengths[start : start + CHUNK * size], kind="stable")]
        found.extend(part[at : at + size] for at in range(0, len(part), size))
    return [found[place] for place in draw.permutation(len(found))]


def passes(rows: Sequence[Row], tokens: int) -> Iterator[list[int]]:
    """Places of the rows of each pass: as many as stay under so many tokens with their padding, at least one."""
    part: list[int] = []
    for place in sorted(range(len(rows)), key=lambda one: len(rows[one])):
        if part and len(rows[place]) * (len(part) + 1) > tokens:
            yield part
            part = []
        part.append(place)
    yield part
