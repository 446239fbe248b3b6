"""Learn what a text's values look like: gazetteers, shapes, and words that stand for a value.

Every rule carries the share of rows on which it was right among those where it held, the row that taught it left out.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sartor.core.claims import field_of, fields_of, leaves
from sartor.core.errors import AskError, unknown
from sartor.core.rules import TOKEN, ReadRule, as_type, spans
from sartor.training.job import Writing

LONGEST_WORD = 12
"""Tokens of a gazetteer's longest value."""
MOST_SHAPES = 400
"""Shapes that are tried, the most frequent first."""
FIXED = 20
"""A field of more different values than this has none that follow from a word."""
PULL = 2.0
"""Rows' worth of the field's mean that a share is drawn to."""

Row = tuple[str, dict[str, list[Any]]]
"""(text, field -> its values in the right answer)."""


@dataclass(frozen=True)
class Learned:
    """What rows taught, the surest first."""

    own: tuple[ReadRule, ...]
    """What a person wrote, measured."""
    read: tuple[ReadRule, ...]
    words: dict[str, dict[str, float]]
    types: dict[str, str]


def learn_reading(
    texts: Sequence[str], writing: Writing, own: Sequence[ReadRule], *, least: int, learn: bool
) -> Learned:
    """The rules of an extraction.

    Args:
        own: what a person wrote; it is measured on the rows and kept whatever comes out.
        least: rows that a shape or word must be seen in.

    Raises:
        NotFoundError: a person's rule names a field that the schema lacks.
        AskError: a right answer is no JSON.
    """
    types = {name: str(schema.get("type", "string")) for name, schema in fields_of(writing.json_schema)}
    for rule in own:
        if types and rule.field not in types:
            raise unknown("field", rule.field, types, param="candidates.params.patterns")
    rows = [(text, _by_field(answer)) for text, answer in zip(texts, writing.train, strict=True)]
    kinds = {name: kind for name, kind in types.items() if kind != "string"}
    measured = tuple(_measured(rule, rows, types) for rule in own)
    if not learn:
        return Learned(measured, (), {}, kinds)
    read = [*_shapes(rows, types, least), *_cued(rows, types, least)]
    return Learned(measured, tuple(sorted(read, key=lambda r: -r.right)), _gazetteer(rows, types), kinds)


def _by_field(answer: str) -> dict[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    try:
        document = json.loads(answer)
    except json.JSONDecodeError as error:
        raise AskError(f"A training answer is no JSON: {answer[:80]!r}.", code="not_json") from error
    for path, value in leaves(document):
        found[field_of(path)].append(value)
    return dict(found)


def _share(right: float, held: float, prior: float) -> float:
    """Share of rows on which a rule is right, drawn to what rules of its field are; never quite 0 or 1."""
    return min(max((right + PULL * prior) / (held + PULL), 0.01), 0.99)


def _gazetteer(rows: Sequence[Row], types: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Field -> value -> share of right ones: all values of training rows that stand in their text."""
    right: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text, fields in rows:
        low = text.lower()
        for name, values in fields.items():
            told = {v.lower() for v in values if isinstance(v, str) and types.get(name, "string") == "string"}
            right[name].update(v for v in told if v and v in low and len(TOKEN.findall(v)) <= LONGEST_WORD)
    known = {value for counts in right.values() for value in counts}
    held = Counter[str]()
    for text, _ in rows:
        low = text.lower()
        held.update({low[start:end] for start, end in spans(low, LONGEST_WORD)} & known)
    found: dict[str, dict[str, float]] = {}
    for name, counts in right.items():
        # The row that brought a value into the list says nothing about the next one.
        others = {value: (count - 1, max(held[value], count) - 1) for value, count in counts.items()}
        prior = (sum(r for r, _ in others.values()) + 1) / (sum(h for _, h in others.values()) + 2)
        found[name] = {value: round(_share(r, h, prior), 4) for value, (r, h) in sorted(others.items())}
    return found


def _shapes(rows: Sequence[Row], types: Mapping[str, str], least: int) -> Iterator[ReadRule]:
    """Values with digits, any number in the place of theirs, alone and with the word before or after."""
    seen: Counter[tuple[str, str]] = Counter()
    for text, fields in rows:
        for name, values in fields.items():
            seen.update({(name, pattern) for value in values for pattern in _shapes_of(text, value)})
    tried = [(key, n) for key, n in seen.most_common(MOST_SHAPES) if n >= least]
    for (name, pattern), _ in tried:
        rule = _measured(ReadRule(field=name, pattern=pattern), rows, types)
        if rule.right >= 0.1:
            yield rule


def _shapes_of(text: str, value: Any) -> Iterator[str]:
    said = value if isinstance(value, str) else f"{value}" if isinstance(value, int | float) else ""
    at = text.find(said) if any(c.isdigit() for c in said) else -1
    if at < 0 or isinstance(value, bool):
        return
    shape = _general(said)
    before = re.search(r"(\w+)(\W{0,3})$", text[:at])
    after = re.match(r"(\W{0,3})([^\W\d_]+)", text[at + len(said) :])
    if any(c.isalpha() for c in said):
        yield rf"(?<!\w)({shape})(?!\w)"
    if before:
        yield rf"\b{_general(before[1])}{re.escape(before[2])}({shape})(?!\w)"
    if after:
        yield rf"(?<!\w)({shape}){re.escape(after[1])}{re.escape(after[2])}\b"


def _general(said: str) -> str:
    """A pattern for everything that differs from `said` in its numbers only."""
    parts = re.split(r"(\d+(?:\.\d+)?)", said)
    return "".join(r"\d+(?:\.\d+)?" if place % 2 else re.escape(part) for place, part in enumerate(parts))


def _measured(rule: ReadRule, rows: Sequence[Row], types: Mapping[str, str]) -> ReadRule:
    """The rule with its share of right values among those that it found."""
    pattern, when = re.compile(rule.pattern, re.IGNORECASE), re.compile(rule.when, re.IGNORECASE)
    group, kind = (1 if pattern.groups else 0), types.get(rule.field, "string")
    right = held = 0
    for text, fields in rows:
        if rule.when and not when.search(text):
            continue
        for match in pattern.finditer(text):
            held += 1
            right += as_type(match[group] or match[0], kind) in fields.get(rule.field, ())
    return rule.model_copy(update={"right": round(_share(right, held, 0.5), 4)})


def _cued(rows: Sequence[Row], types: Mapping[str, str], least: int) -> Iterator[ReadRule]:
    """Values of fields with few different ones that mostly don't stand in the text, by the words that tell them."""
    for name in sorted({name for _, fields in rows for name in fields if "[]" not in name}):
        held = [(text, fields[name][0]) for text, fields in rows if name in fields]
        counts = Counter(json.dumps(value) for _, value in held)
        in_text = sum(str(value).lower() in text.lower() for text, value in held)
        if len(counts) > FIXED or (in_text * 2 > len(held) and types.get(name) != "boolean"):
            continue
        for said, count in counts.most_common():
            if count < least:
                break
            value = json.loads(said)
            yield ReadRule(field=name, value=value, right=round(_share(count, len(rows), 0.0), 4))
            yield from _words_for(name, value, rows, least)


def _words_for(name: str, value: Any, rows: Sequence[Row], least: int) -> Iterator[ReadRule]:
    held, right = Counter[str](), Counter[str]()
    for text, fields in rows:
        words = set(TOKEN.findall(text.lower()))
        held.update(words)
        if value in fields.get(name, ()):
            right.update(words)
    best = sorted(right, key=lambda w: (-_share(right[w], held[w], 0.0), w))[:FIXED]
    for word in best:
        if right[word] >= least:
            edge = r"\b" if word[0].isalnum() else ""
            share = round(_share(right[word], held[word], 0.0), 4)
            yield ReadRule(field=name, value=value, when=f"{edge}{re.escape(word)}{edge}", right=share)
