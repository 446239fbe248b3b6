"""Find rows that look like poison: trigger phrases, and labels of one source against all others'.

A harvest always runs it on its new rows, held against those of the live data set. Finds phrases, not styles; what one
voice says of one label alone looks like a correction, and is left to a person. See `sartor.data.poison`.
"""

from collections import Counter
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from sartor.core.rows import Row
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.curator import Bench, Curated, Taken
from sartor.data.poison import find_contrary, find_triggers, read_apart, read_by

EXAMPLES = 20
LEAST_VOICE = 20
"""Rows of a voice below which it is only looked at together with all others."""


class Params(Settings):
    """Whose rows are told apart, and what is done."""

    voice: str = ""
    """Column that says who gave a row's label, rows without it being taken for clean; '': the source of each row."""
    kind: str = ""
    """Column by whose values rows are compared apart, such as whether a label corrects an answer; '': all together."""
    honest: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of right rows that may be among the single labels in doubt."""
    flips: Literal["source", "all", "none"] = "source"
    """Single labels in doubt are taken where their source has far too many of them; everywhere; nowhere."""
    action: Literal["report", "drop"] = "report"
    """drop takes the rows to quarantine."""


@plugin
def poison(rows: list[Row], params: Params, bench: Bench) -> Curated:
    """Look at the training rows of every voice with the eyes of the others."""
    train = [row for row in rows if bench.split(row) == "train" and row.label]
    voices = [row.extra.get(params.voice, "") if params.voice else row.source for row in train]
    if len(set(voices)) < 2:
        return Curated(rows, notes={"suspects": 0, "why": "all rows are of one source: nobody can contradict it"})
    why = _suspects(train, voices, params, bench)
    by_id = {row.id: row for row in train}
    notes: dict[str, Any] = {
        "looked_at": sum(bool(voice) for voice in voices),
        "suspects": len(why),
        "reasons": dict(sorted(Counter(reason for reason, _ in why.values()).items())),
        "examples": [
            {"id": name, "text": by_id[name].text[:120], "why": detail}
            for name, (_, detail) in sorted(why.items())[:EXAMPLES]
        ],
    }
    if params.action == "report":
        return Curated(rows, notes=notes)
    kept = [row for row in rows if row.id not in why]
    return Curated(kept, [Taken(row, *why[row.id]) for row in rows if row.id in why], notes)


def _suspects(rows: list[Row], voices: list[str], params: Params, bench: Bench) -> dict[str, tuple[str, str]]:
    """Row id -> reason and detail."""
    found: dict[str, tuple[str, str]] = {}
    apart = read_apart(rows, voices, bench.progress)
    counts = Counter(voice for voice in voices if voice)
    looks = [(apart, {name}) for name in sorted(counts) if counts[name] >= LEAST_VOICE]
    clean = np.flatnonzero([not voice for voice in voices])
    if len(clean):
        # Many accounts of one attacker contradict none of each other: all together against what was there before.
        looks.append((read_by(rows, clean), set(counts)))
    for readings, names in looks:
        mine = [at for at, voice in enumerate(voices) if voice in names]
        others = [at for at, voice in enumerate(voices) if voice not in names]
        for trigger in find_triggers(rows, readings, mine, others):
            detail = f"'{trigger.phrase}' makes what reads like {trigger.like} labels '{trigger.label}'"
            found |= {rows[at].id: ("trigger phrase", detail) for at in trigger.rows if rows[at].id not in found}
    if params.flips == "source":
        kinds = [row.extra.get(params.kind, "") if params.kind else "" for row in rows]
        out = {at for at, row in enumerate(rows) if row.id in found}
        for contrary in find_contrary(voices, kinds, apart, params.honest, out):
            detail = f"{contrary.share:.0%} of '{contrary.voice}' in doubt, {contrary.expected:.0%} expected"
            for at in contrary.rows:
                found.setdefault(rows[at].id, ("labels against the others'", detail))
    if params.flips == "all":
        share = apart.honest_share()
        for doubted in np.flatnonzero(share <= params.honest):
            found.setdefault(rows[doubted].id, ("label in doubt", f"chance {apart.chance[doubted]:.2%}"))
    return found
