"""What many adapters add to one pass of their base: grouped products of low rank, each row with its own adapter.

Knows no files and no answers. Low-rank adaptation after Hu et al. 2021; grouping as in S-LoRA (Sheng et al. 2023), done
here with batched products: rows are laid out adapter by adapter, so that every adapter is read once a pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

Site = Literal["qkv", "o", "gate_up", "down"]
"""Products of a layer that an adapter may add to; q, k and v are one, so are gate and up."""
SITES: tuple[Site, ...] = ("qkv", "o", "gate_up", "down")
LOOSE = 2.0
"""Padding that a batched product is worth: above so many times the rows, adapters are taken one by one."""


class Pair(NamedTuple):
    """An adapter's two matrices at one site, for all layers."""

    into: torch.Tensor
    """(layers, in, rank)"""
    out: torch.Tensor
    """(layers, rank, out), scaled; parts that are fused stand on the diagonal."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """A loaded adapter."""

    key: str
    """Of the variant that it belongs to."""
    sites: Mapping[Site, Pair]

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(t.numel() * t.element_size() for pair in self.sites.values() for t in pair)


class Bank:
    """The adapters of the answers under way, side by side. Adapters that stay are not copied again."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._seats: dict[Adapter, int] = {}
        self._held: dict[Site, list[torch.Tensor]] = {}
        self._room = 0

    def mix(self, adapters: Sequence[Adapter | None], lengths: Sequence[int]) -> "Mix | None":
        """What these adapters add to a pass of runs of these lengths; None where no run has one."""
        wanted = dict.fromkeys(a for a in adapters if a is not None)
        if not wanted:
            return None
        self._seat(list(wanted))
        order = [-1 if a is None else self._seats[a] for a in adapters]
        seats = torch.repeat_interleave(torch.tensor(order), torch.tensor(lengths))
        return Mix(self._held, seats, len(self._seats))

    def _seat(self, wanted: list[Adapter]) -> None:
        """Give every adapter wanted a seat; seats of others are given away, or closed where they are many."""
        new = [a for a in wanted if a not in self._seats]
        if not new and len(self._seats) <= len(wanted) + len(wanted) // 4:
            return
        stale = [a for a in self._seats if a not in set(wanted)]
        if len(wanted) > self._room or any(not self._fits(a) for a in new):
            self._rebuild(wanted)
            return
        for adapter in new:
            if stale:
                self._seats[adapter] = self._seats.pop(stale.pop())
            else:
                self._seats[adapter] = len(self._seats)
            self._copy(adapter)
        if len(stale) > len(wanted) // 4:
            self._close(stale)

    def _close(self, stale: Sequence[Adapter]) -> None:
        """Fill the seats of those who left from the end."""
        for gone in stale:
            seat = self._seats.pop(gone)
            last = len(self._seats)
            if seat != last:
                mover = next(a for a, at in self._seats.items() if at == last)
                self._seats[mover] = seat
                self._copy(mover)

    def _fits(self, adapter: Adapter) -> bool:
        return all(
            site in self._held and pair.into.shape[-1] <= self._held[site][0].shape[-1]
            for site, pair in adapter.sites.items()
        )

    def _rebuild(self, wanted: list[Adapter]) -> None:
        self._room = max(len(wanted) + len(wanted) // 4, 1)
        self._seats = {adapter: seat for seat, adapter in enumerate(wanted)}
        self._held = {}
        for site in SITES:
            pairs = [a.sites[site] for a in wanted if site in a.sites]
            if not pairs:
                continue
            rank = max(pair.into.shape[-1] for pair in pairs)
            layers, wide, _ = pairs[0].into.shape
            out = pairs[0].out.shape[-1]
            dtype = pairs[0].into.dtype
            self._held[site] = [
                torch.zeros((layers, self._room, wide, rank), dtype=dtype),
                torch.zeros((layers, self._room, rank, out), dtype=dtype),
            ]
        for adapter in wanted:
            self._copy(adapter)

    def _copy(self, adapter: Adapter) -> None:
        seat = self._seats[adapter]
        for site, (into, out) in self._held.items():
            pair = adapter.sites.get(site)
            if pair is None:
                into[:, seat].zero_()
                continue
            rank = pair.into.shape[-1]
            into[:, seat, :, :rank] = pair.into
            into[:, seat, :, rank:] = 0
            out[:, seat, :rank] = pair.out


class Mix:
    """What adapters add to the products of one pass."""

    def __init__(self, held: Mapping[Site, list[torch.Tensor]], seats: torch.Tensor, count: int) -> None:
        """Group the rows.

        Args:
            held: site -> (layers, seats, in, rank) and (layers, seats, rank, out).
            seats: (rows,) each row's seat; -1: none.
            count: seats in use; those behind it are not looked at.
        """
        self._held = held
        self._count = count
        rows = torch.arange(len(seats))
        mine = seats >= 0
        self._all = bool(mine.all())
        self._rows = rows[mine]
        sizes = torch.bincount(seats[mine], minlength=count)
        self._most = int(sizes.max())
        self._by_one = self._most * count > LOOSE * len(self._rows) and len(self._rows) > count
        if self._by_one:
            order = seats[mine].argsort(stable=True)
            parts = torch.split(self._rows[order], sizes.tolist())
            self._parts = [(seat, part) for seat, part in enumerate(parts) if len(part)]
            return
        order = seats[mine].argsort(stable=True)
        within = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[seats[mine][order]]
        places = torch.empty_like(order)
        places[order] = seats[mine][order] * self._most + within
        self._places = places
        """(rows with an adapter,) place of each in the padded layout."""
        self._laid = torch.zeros(count * self._most, dtype=torch.long)
        self._laid[places] = self._rows
        self._straight = self._all and bool((self._laid == rows).all()) if len(self._laid) == len(rows) else False

    def add(self, site: Site, layer: int, seen: torch.Tensor, made: torch.Tensor) -> None:
        """Add to `made` (rows, out), in place, what each row's adapter makes of `seen` (rows, in)."""
        if site not in self._held:
            return
        into, out = (held[layer] for held in self._held[site])
        if self._by_one:
            for seat, rows in self._parts:
                made.index_add_(0, rows, (seen[rows] @ into[seat]) @ out[seat])
            return
        into, out = into[: self._count], out[: self._count]
        if self._straight:
            groups = made.view(self._count, self._most, -1)
            groups.baddbmm_(torch.bmm(seen.view(self._count, self._most, -1), into), out)
            return
        added = torch.bmm(torch.bmm(seen[self._laid].view(self._count, self._most, -1), into), out)
        added = added.view(self._count * self._most, -1)[self._places]
        if self._all:
            made.add_(added)
        else:
            made.index_add_(0, self._rows, added)
