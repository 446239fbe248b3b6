"""From words to rows: whose label, how sure, which side, what is left out and why. Reads no store.

The order: whose word counts (`feedback.said`), how far it can be trusted (`feedback.noise`), the same text with two
labels, which side of the standing test, and personal data. Suspected poison and shares come after, on what is left.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sartor.core.canonical import sha256
from sartor.core.rows import Row
from sartor.core.shelf import Shelf
from sartor.core.task import Task
from sartor.core.traffic import Exchange, Feedback
from sartor.core.wheel import JudgePick, Said
from sartor.data import personal
from sartor.data.curator import Bench
from sartor.data.text import key
from sartor.feedback.noise import PRIOR, REFERENCE, Noise, estimate
from sartor.feedback.said import Verdict, hear, judge
from sartor.pipeline.harvest_reading import Read, Spoken

CURATORS = Shelf("sartor.data.curators")
LEAST_SURE = 0.5
"""A label that is more likely wrong than right is not learned."""
MANY, MOST = 5, 0.8
"""Of so many exchanges with one text, a label that so many of them have stands against the others."""


@dataclass(frozen=True)
class Judged:
    """An exchange with the verdict on it."""

    spoken: Spoken
    verdict: Verdict
    sure: float = 0.0


@dataclass
class Sifted:
    """Rows with a label, and what became of all other exchanges."""

    rows: list[Row] = field(default_factory=list)
    """Both sides; `extra['side']` is train or test."""
    fates: dict[str, str] = field(default_factory=dict)
    """Exchange -> why it gave no row."""
    sides: dict[str, str] = field(default_factory=dict)
    """Group of a row -> its side."""
    to_label: list[dict[str, Any]] = field(default_factory=list)
    """Exchanges that a person should look at: why, what it is not, what was said."""


def weigh(found: Sequence[Spoken], task: Task) -> tuple[list[Judged], dict[str, Noise]]:
    """The verdict on every exchange, and what each source is worth.

    A judge's word counts only once the judge has been measured on enough people's answers.
    """
    trusted = [by for by in task.learn.harvest.trust if by in REFERENCE]
    settled = [(one.heard.words, judge(one.heard.words, trusted)) for one in found]
    noise = estimate(settled)
    counts = {who: _counts(who, measured, task.judges) for who, measured in noise.items()}
    judged = []
    for one in found:
        words = [word for word in one.heard.words if counts[word.who]]
        verdict = judge(words, task.learn.harvest.trust)
        sure = noise[verdict.word.who].sure(verdict.label) if verdict.word else 0.0
        judged.append(Judged(one, verdict, sure))
    return judged, noise


def _counts(who: str, noise: Noise, judges: Sequence[JudgePick]) -> bool:
    if not who.startswith("judge:"):
        return True
    known = {pick.name: pick for pick in judges}
    pick = known.get(who.removeprefix("judge:"), JudgePick(use="llm", name="any"))
    enough = noise.heard >= pick.min_golden
    return enough and (noise.informedness is None or noise.informedness >= pick.min_informedness)


def sift(task: Task, judged: Sequence[Judged], contents: Mapping[str, Read], sides: Mapping[str, str]) -> Sifted:
    """Rows of all exchanges that have a label and content.

    Args:
        contents: exchange -> its input, for all that have a label.
        sides: group -> side, for groups whose side was decided under another share.
    """
    done = Sifted()
    rows: list[tuple[Row, Judged]] = []
    for one in judged:
        name = one.spoken.exchange.id
        why = _no_row(one, contents)
        if why:
            done.fates[name] = why
        else:
            rows.append((_row(task, one, contents[name], sides), one))
        if why in ("conflict", "not this", "unknown label"):
            done.to_label.append(_asked(one, why))
    out = _same_text(rows, task.learn.harvest.trust)
    for row, one in rows:
        if row.id in out:
            done.fates[row.id] = out[row.id]
            if out[row.id] == "conflict":
                done.to_label.append(_asked(one, "conflict"))
        else:
            done.rows.append(row)
    done.sides = {row.group or "": row.extra["side"] for row, _ in rows}
    done.rows = _treated(task, done.rows)
    return done


def _no_row(one: Judged, contents: Mapping[str, Read]) -> str:
    """Why an exchange gives no row; '' where it gives one."""
    verdict, heard = one.verdict, one.spoken.heard
    if verdict.conflict:
        return "conflict"
    if not verdict.label:
        return "unknown label" if heard.unknown else "not this" if verdict.barred else "nobody said"
    if one.sure < LEAST_SURE:
        return "too unsure"
    state = contents[one.spoken.exchange.id].state
    return "" if state == "kept" else {"none": "without content", "hashed": "without content"}.get(state, state)


def _asked(one: Judged, why: str) -> dict[str, Any]:
    words = one.verdict.conflict or one.spoken.heard.words
    said = [{"who": word.who, "label": word.label, "bars": word.bars} for word in words]
    return {"exchange": one.spoken.exchange.id, "why": why, "not": list(one.verdict.barred), "said": said}


def group_of(subject: str, business: str, text: str) -> str:
    """What stays on one side: all that a user asked, else all of a case, else all that has the same text."""
    if subject:
        return f"subject:{subject}"
    return f"business:{business}" if business else f"text:{key(text)}"


def side_of(task: str, group: str, share: float) -> str:
    """The side of a group, by a hash that only the task's name and the group go into."""
    place = int(sha256(f"side:{task}:{group}".encode())[:13], 16) / 16**13
    return "test" if place < share else "train"


def _row(task: Task, one: Judged, content: Read, sides: Mapping[str, str]) -> Row:
    exchange, word = one.spoken.exchange, one.verdict.word
    assert word is not None
    group = group_of(exchange.subject, one.spoken.business, content.text)
    mark = sha256(group.encode())[:24]
    at = datetime.fromtimestamp(exchange.at, UTC).isoformat(timespec="milliseconds")
    told = {
        "said_by": word.by,
        "by": word.source,
        "sure": f"{one.sure:.4f}",
        "exchange": exchange.id,
        "tenant": exchange.tenant,
        "subject": exchange.subject,
        "business": one.spoken.business,
        "at": at,
        "era": at[:7],
        "side": sides.get(mark) or side_of(task.name, group, task.learn.harvest.test_share),
        "answered": exchange.label or "",
        "answered_by": exchange.variant,
        "arm": exchange.arm,
        "propensity": "" if exchange.propensity is None else repr(exchange.propensity),
        "weak": "yes" if word.weak or word.by in ("giant", "own") else "",
        "audit": "random" if any(w.random for w in one.spoken.heard.words) else "",
    }
    return Row(
        id=exchange.id,
        text=content.text,
        label=one.verdict.label,
        inputs=content.inputs,
        group=mark,
        time=at,
        source=f"traffic:{word.source}",
        extra={name: value for name, value in told.items() if value},
    )


def _same_text(rows: Sequence[tuple[Row, Judged]], trust: Sequence[Said]) -> dict[str, str]:
    """Rows whose text has another label too, and why they go: overruled by who is trusted more, or in conflict."""
    rank = {by: place for place, by in enumerate(trust)}

    def of(row: Row) -> tuple[bool, int]:
        return bool(row.extra.get("weak")), rank[row.extra["said_by"]]  # type: ignore[index]

    alike: defaultdict[str, list[Row]] = defaultdict(list)
    for row, _ in rows:
        alike[key(row.text)].append(row)
    out: dict[str, str] = {}
    for same in alike.values():
        if len({row.label for row in same}) < 2:
            continue
        best = min(of(row) for row in same)
        counts = Counter(row.label for row in same if of(row) == best)
        label, most = counts.most_common(1)[0]
        clear = len(counts) == 1 or (counts.total() >= MANY and most >= MOST * counts.total())
        for row in same:
            if not (clear and row.label == label):
                out[row.id] = "overruled" if of(row) != best else "conflict"
    return out


def _treated(task: Task, rows: Sequence[Row]) -> list[Row]:
    """The rows as the task's own curators leave them: one form, and no personal data (redacted where it says nothing).

    What we add about a row is not looked at: the digests in it are not personal data, and must stay exact.
    """
    picks = {pick.use: pick.settings for pick in task.data.curate}
    treatment = {"normalise": {}, "personal_data": picks.get("personal_data") or {"action": "redact"}}
    if treatment["personal_data"].get("action", "report") == "report":
        treatment["personal_data"] = treatment["personal_data"] | {"action": "redact"}
    bare = [replace(row, extra={}, group=None) for row in rows]
    for name, settings in treatment.items():
        plugin = CURATORS.take(name)
        bare = plugin(bare, plugin.read(settings), Bench({}, task.seed)).kept
    kept = {row.id: row for row in bare}
    return [replace(row, text=kept[row.id].text, inputs=kept[row.id].inputs) for row in rows if row.id in kept]


def shown_values(unknown: Counter[str]) -> list[list[Any]]:
    """Values that are no label, with how often they came, the most frequent first, without personal data."""
    clean = Counter[str]()
    for value, count in unknown.items():
        clean[personal.redact(value, personal.find(value))[:80]] += count
    return [[value, count] for value, count in sorted(clean.items(), key=lambda item: (-item[1], item[0]))[:20]]


def verdicts_on_rows(
    said: Mapping[str, Sequence[Feedback]], labels: Collection[str], task: Task
) -> dict[str, dict[str, Any]]:
    """What people said of rows of data sets: the row's id -> label, who, how sure; or the labels in conflict."""
    found: dict[str, dict[str, Any]] = {}
    for name, items in sorted(said.items()):
        nobody = Exchange(name, 0.0, "", "", "", "")
        verdict = judge(hear(nobody, items, labels, task.feedback, task.relabel).words, REFERENCE)
        if verdict.conflict:
            found[name] = {"conflict": [word.label for word in verdict.conflict]}
        elif verdict.word is not None:
            word = verdict.word
            found[name] = {"label": verdict.label, "said_by": word.by, "by": word.source, "sure": PRIOR[word.by]}
    return found
