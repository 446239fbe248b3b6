"""What changed from one data set to another. Rows are matched by what their text says, not by id.

Knows nothing of models: whether a change is good is for an inspection to tell.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sartor.core.rows import SPLITS, Snapshot
from sartor.data.text import key


@dataclass(frozen=True, slots=True)
class Change:
    """One text that is not what or where it was; '' stands for not there."""

    text: str
    before: str
    after: str


@dataclass(frozen=True)
class DatasetDiff:
    """The difference of two data sets, b against a."""

    counts: dict[str, tuple[int, int]]
    """Rows per split in a and in b."""
    added: tuple[Change, ...]
    """Texts that only b has; `after` is their label."""
    removed: tuple[Change, ...]
    relabelled: tuple[Change, ...]
    moved: tuple[Change, ...]
    """Texts in another split; before and after are splits."""
    labels: dict[str, tuple[float, float]]
    """Share of each label among the training rows of a and b, for labels whose share differs."""
    shift: float
    """Total variation distance of the two label distributions, 0 to 1."""
    curators: tuple[str, ...]
    """Differences in what was done, in words; empty without datasheets."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.added or self.removed or self.relabelled or self.moved or self.curators) and all(
            a == b for a, b in self.counts.values()
        )

    def body(self) -> dict[str, Any]:
        """The difference as JSON."""
        return asdict(self)


def diff(
    a: Snapshot,
    b: Snapshot,
    *,
    sheet_a: Mapping[str, Any] | None = None,
    sheet_b: Mapping[str, Any] | None = None,
) -> DatasetDiff:
    """Compare two data sets; with both datasheets, also what the curators did."""
    before, after = _by_text(a), _by_text(b)
    both = [name for name in before if name in after]
    share_a, share_b = _shares(a), _shares(b)
    every = sorted({*share_a, *share_b})
    shares = {label: (share_a.get(label, 0.0), share_b.get(label, 0.0)) for label in every}
    return DatasetDiff(
        counts={split: (len(a.splits[split]), len(b.splits[split])) for split in SPLITS},
        added=tuple(Change(after[n].text, "", after[n].labels) for n in after if n not in before),
        removed=tuple(Change(before[n].text, before[n].labels, "") for n in before if n not in after),
        relabelled=tuple(
            Change(after[n].text, before[n].labels, after[n].labels)
            for n in both
            if before[n].labels != after[n].labels
        ),
        moved=tuple(
            Change(after[n].text, before[n].splits, after[n].splits)
            for n in both
            if before[n].splits != after[n].splits
        ),
        labels={label: pair for label, pair in shares.items() if pair[0] != pair[1]},
        shift=sum(abs(one - other) for one, other in shares.values()) / 2,
        curators=tuple(_curation(sheet_a, sheet_b)) if sheet_a is not None and sheet_b is not None else (),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    text: str
    labels: str
    splits: str


def _by_text(snapshot: Snapshot) -> dict[str, _Seen]:
    texts: dict[str, str] = {}
    labels: defaultdict[str, set[str]] = defaultdict(set)
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for split in SPLITS:
        for row in snapshot.splits[split]:
            name = key(row.text)
            texts.setdefault(name, row.text)
            labels[name].add(row.label or "")
            splits[name].add(split)
    return {n: _Seen(texts[n], " | ".join(sorted(labels[n])), " | ".join(sorted(splits[n]))) for n in texts}


def _shares(snapshot: Snapshot) -> dict[str, float]:
    counts = Counter(row.label or "" for row in snapshot.splits["train"])
    total = max(sum(counts.values()), 1)
    return {label: n / total for label, n in counts.items()}


def _curation(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What each curator was told and took, where it differs."""
    said = []
    steps_a = {step["use"]: step for step in a["curators"]}
    steps_b = {step["use"]: step for step in b["curators"]}
    for use in dict.fromkeys([*steps_a, *steps_b]):
        one, other = steps_a.get(use), steps_b.get(use)
        if one is None or other is None:
            said.append(f"{use}: only in the {'first' if other is None else 'second'}")
            continue
        if one["settings"] != other["settings"]:
            said.append(f"{use}: settings {one['settings']} became {other['settings']}")
        if one["taken"] != other["taken"]:
            said.append(f"{use}: took {sum(one['taken'].values())} rows, now {sum(other['taken'].values())}")
    return said
