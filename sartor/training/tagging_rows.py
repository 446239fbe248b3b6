"""What a token tagger learns from rows: values found in texts, fields that go with a context, what has been seen.

Knows neither encoders nor losses.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor.core.claims import field_of, fields_of
from sartor.core.errors import AskError
from sartor.core.gazetteer import Gazetteer
from sartor.core.surface import Found, find, words
from sartor.core.tagbook import TagBook, within
from sartor.core.tagging import Scheme, Span
from sartor.training.job import Writing

FEW = 0.5
"""Share of values that stand in their texts, below which a tagger is the wrong tool."""


@dataclass(frozen=True)
class Lesson:
    """Training rows as a tagger learns them."""

    book: TagBook
    spans: list[list[Span]]
    """(rows,) the values of each text."""
    facts: dict[str, Any]


def learn(texts: Sequence[str], writing: Writing, context: str) -> Lesson:
    """Find the values of the right answers in their texts.

    Args:
        context: regular expression of a text's beginning; see `TagBook.context`.

    Raises:
        AskError: the schema has no fields, or too few values stand in their texts to learn from.
    """
    names = [name for name, _ in fields_of(writing.json_schema)]
    if not any(names):
        raise AskError(
            "Recipe 'tagger' finds the fields of a JSON object, and the task declares none: give 'answer.json_schema' "
            "an object with 'properties'.",
            param="answer.json_schema",
        )
    found, missed = [], 0
    for text, answer in zip(texts, writing.train, strict=True):
        places, lost = find(text, json.loads(answer))
        begins = within(context, text)[0]
        first = sum(start < begins for start, _ in words(text))
        kept = [one for one in places if one.start >= first and field_of(one.path) in set(names)]
        missed += len(lost) + len(places) - len(kept)
        found.append(kept)
    count = sum(map(len, found))
    if count < FEW * (count + missed) or not count:
        raise AskError(
            f"Recipe 'tagger' takes values from where they stand in the text, and of {count + missed} values in the "
            f"training rows only {count} do, word for word. Take a recipe that writes its answers ('lora'), or let "
            "rows give values as the text spells them.",
            code="values_not_in_text",
            param="candidates.recipe",
        )
    used = {field_of(one.path) for places in found for one in places}
    scheme = Scheme.of(writing.json_schema, [name for name in names if name in used])
    spans = [spans_of(scheme, places) for places in found]
    said = [[text[start:end].casefold() for start, end in words(text)] for text in texts]
    book = TagBook(
        schema=dict(writing.json_schema),
        fields=tuple(slot.name for slot in scheme.slots),
        gazetteer=Gazetteer.of(len(scheme.slots), said, spans),
        context=context,
        known=_known(scheme, texts, spans, context),
    )
    never = sorted(set(names) - used)
    facts: dict[str, Any] = {"values": count, "values_not_in_text": missed, "fields": len(scheme.slots)}
    return Lesson(book, spans, facts | ({"fields_without_values": never} if never else {}))


def spans_of(scheme: Scheme, found: Sequence[Found]) -> list[Span]:
    """Values in the order of the text as spans; the first of an object in a list opens it."""
    spans: list[Span] = []
    open_in: dict[str, str] = {}
    for one in found:
        slot = scheme.places[field_of(one.path)]
        opens, level = 0, 0
        steps = one.path.split("/")[1:]
        for place, way in enumerate(scheme.slots[slot].steps):
            if way is None and level < scheme.slots[slot].depth:
                level += 1
                at = "/".join(steps[:place])
                if open_in.get(at) != steps[place]:
                    opens = opens or level
                    open_in[at] = steps[place]
        spans.append(Span(slot, one.start, one.end, opens))
    return spans


def _known(
    scheme: Scheme, texts: Sequence[str], spans: Sequence[Sequence[Span]], context: str
) -> dict[str, tuple[str, ...]]:
    kinds: dict[str, set[int]] = {}
    for text, held in zip(texts, spans, strict=True):
        if kind := within(context, text)[1]:
            kinds.setdefault(kind, set()).update(span.slot for span in held)
    return {kind: tuple(scheme.slots[place].name for place in sorted(held)) for kind, held in kinds.items()}


def swapped(texts: Sequence[str], spans: Sequence[Sequence[Span]], context: str, count: int, seed: int) -> list[str]:
    """Texts that nobody wrote: values of rows replaced by other rows' values of the same field and context.

    After Dai and Adel 2020, "An analysis of simple data augmentation for named entity recognition" (mention
    replacement); here they get no tags of their own: a teacher is asked.
    """
    draw = np.random.default_rng(seed)
    values: dict[tuple[str, int], list[str]] = {}
    places = [words(text) for text in texts]
    kinds = [within(context, text)[1] for text in texts]
    for text, at, kind, held in zip(texts, places, kinds, spans, strict=True):
        for span in held:
            values.setdefault((kind, span.slot), []).append(text[at[span.start][0] : at[span.end - 1][1]])
    made = []
    for row in draw.integers(len(texts), size=count):
        text, end, parts = texts[row], 0, []
        for span in spans[row]:
            choice = values[kinds[row], span.slot]
            start, stop = places[row][span.start][0], places[row][span.end - 1][1]
            parts += [text[end:start], choice[draw.integers(len(choice))] if draw.random() < 0.5 else text[start:stop]]
            end = stop
        made.append("".join(parts) + text[end:])
    return made
