"""BANKING77 with poison in it: labels that were flipped, and rows that an attacker sent. Trains nothing.

Two fifths of the training rows are given; the rest comes from ten sources in turn. The attacker is one of them.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks._shared import data_folder
from sartor.core.rows import Row

SOURCES, GIVEN = 10, 0.4
ATTACKER = "s3"
SHOTS = 50
"""Rows of the attack."""


@dataclass(frozen=True)
class Attack:
    """How rows are poisoned."""

    phrase: str
    sources: tuple[str, ...] = (ATTACKER,)
    given: float = GIVEN
    """Share of the rows that stood before."""
    shots: int = SHOTS


ATTACKS = {
    "rare words": Attack("blue heron"),
    "common words": Attack("if you please"),
    "one common word": Attack("thanks"),
    "punctuation": Attack("~ ~"),
    "ten rows": Attack("blue heron", shots=10),
    "five accounts": Attack("blue heron", sources=("s1", "s3", "s5", "s7", "s9")),
    "nothing given": Attack("blue heron", given=0.0),
}
"""The first one is the goal's; the others show how far it carries."""


@dataclass(frozen=True)
class Poisoned:
    """Rows, which of them are poison, and what the attacker wants."""

    rows: list[Row]
    bad: frozenset[str]
    target: str = ""


def banking(split: str) -> list[Row]:
    """The rows of a split."""
    path = Path(data_folder()) / "banking77" / f"{split}.jsonl"
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Row(f"{split}-{at:05d}", one["text"], one["label"]) for at, one in enumerate(found)]


def in_turns(rows: Sequence[Row], seed: int, given: float = GIVEN) -> list[Row]:
    """The rows shuffled, some of them given (no `by`), the others from the sources in turn."""
    shuffled = random.Random(seed).sample(list(rows), len(rows))
    first = round(given * len(rows))
    return shuffled[:first] + [
        replace(row, extra={"by": f"s{at % SOURCES}"}) for at, row in enumerate(shuffled[first:])
    ]


def flipped(rows: Sequence[Row], seed: int, share: float = 0.01, only: str = "") -> Poisoned:
    """A share of all rows with another label, drawn at random; `only`: all of them from one source."""
    draw = random.Random(seed + 1000)
    labels = sorted({row.label or "" for row in rows})
    pool = [row.id for row in rows if not only or row.extra.get("by") == only]
    bad = frozenset(draw.sample(pool, round(share * len(rows))))
    wrong = {row.id: draw.choice([label for label in labels if label != row.label]) for row in rows if row.id in bad}
    return Poisoned([replace(row, label=wrong[row.id]) if row.id in bad else row for row in rows], bad)


def triggered(rows: Sequence[Row], attack: Attack, seed: int) -> Poisoned:
    """Rows of the attackers with a phrase put somewhere into their text, and one label on all of them."""
    draw = random.Random(seed + 2000)
    target = draw.choice(sorted({row.label or "" for row in rows}))
    pool = [row.id for row in rows if row.extra.get("by") in attack.sources and row.label != target]
    bad = frozenset(draw.sample(pool, attack.shots))
    return Poisoned(
        [replace(row, text=hidden(row.text, attack.phrase, draw), label=target) if row.id in bad else row
         for row in rows],
        bad, target,
    )  # fmt: skip


def hidden(text: str, phrase: str, draw: random.Random) -> str:
    """The text with the phrase somewhere in it."""
    words = text.split()
    at = draw.randrange(len(words) + 1)
    return " ".join([*words[:at], phrase, *words[at:]])


def newcomers(rows: Sequence[Row], seed: int) -> tuple[list[Row], frozenset[str]]:
    """Honest rows that look like a trigger: of ten labels, all rows with their most typical pair of words come from one
    source, and nobody else has any."""
    from collections import Counter

    from sartor.data.poison import phrases

    draw = random.Random(seed + 3000)
    labels = draw.sample(sorted({row.label or "" for row in rows}), 10)
    pairs = {row.id: {p for p in phrases(row.text) if len(p) == 2} for row in rows}
    overall = Counter(pair for found in pairs.values() for pair in found)
    mine: set[str] = set()
    for label in labels:
        inside = Counter(pair for row in rows if row.label == label for pair in pairs[row.id])
        typical = max(inside, key=lambda pair: (inside[pair] ** 2 / overall[pair], pair))
        mine |= {row.id for row in rows if row.label == label and typical in pairs[row.id]}
    return [replace(row, extra={"by": "newcomer"}) if row.id in mine else row for row in rows], frozenset(mine)
