"""Learn to write a text from the numbers of another: templates that fit right answers, and words that tell which.

A decision list (Rivest 1987): the surest rule first, found on the rows that no earlier one holds for. Knows no
arithmetic beyond putting numbers into their places.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sartor.core.rules import LONGEST, NUMBER, Style, WriteRule, fill, numbers_in, shown

MOST_TEMPLATES = 40
"""Templates that are tried, the most frequent first."""
MOST_WORDS = 600
STYLES: tuple[Style, ...] = ("as_written", "float", "short")
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Written:
    """What rows taught: the list, its last rule without a condition."""

    own: tuple[WriteRule, ...]
    """What a person wrote, measured."""
    write: list[WriteRule]
    numbers: Style


def learn_writing(
    texts: Sequence[str], answers: Sequence[str], own: Sequence[WriteRule], *, most: int, least: int
) -> Written:
    """The rules for a text.

    Args:
        own: what a person wrote; it is measured and kept whatever comes out.
        most: rules that are learned, the last included; 0: none.
        least: rows that a word must stand in.
    """
    numbers = _style(texts, answers)
    said = [numbers_in(text[:LONGEST]) for text in texts]
    measured = tuple(_measured(rule, texts, answers, said, numbers) for rule in own)
    if not most or not texts:
        return Written(measured, [], numbers)
    templates = _templates(said, answers, numbers)
    fits = np.array(
        [[fill(t, n, {}, numbers) == a for t in templates] for n, a in zip(said, answers, strict=True)], dtype=bool
    )
    return Written(measured, _decision_list(texts, templates, fits, most, least), numbers)


def _style(texts: Sequence[str], answers: Sequence[str]) -> Style:
    """How answers write the numbers of their inputs."""
    counts = Counter[Style]()
    for text, answer in zip(texts, answers, strict=True):
        written = set(NUMBER.findall(answer))
        for number in numbers_in(text[:LONGEST]):
            forms = {"as_written": number, **{style: shown(float(number), style) for style in STYLES[1:]}}
            counts.update(style for style in STYLES if forms[style] in written)
    return max(STYLES, key=lambda style: counts[style])


def _templates(said: Sequence[Sequence[str]], answers: Sequence[str], numbers: Style) -> list[str]:
    """Answers with names in the place of numbers, the most frequent first."""
    counts = Counter[str]()
    for own, answer in zip(said, answers, strict=True):
        counts.update(set(_named(own, answer, numbers)))
    whole = Counter(answer for answer in answers if not re.search(r"[{}]", answer))
    counts.update(dict(whole.most_common(3)))
    return [template for template, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_TEMPLATES]]


def _named(own: Sequence[str], answer: str, numbers: Style) -> Iterator[str]:
    """Every template that gives this answer, with places by order and by size."""
    if re.search(r"[{}]", answer) or not NUMBER.search(answer):
        return
    schemes = [[f"n{place}" for place in range(1, 10)]]
    if len(own) >= 2:
        large = float(own[0]) >= float(own[1])
        schemes.append(["larger", "smaller"] if large else ["smaller", "larger"])
        order = sorted(range(len(own)), key=lambda place: float(own[place]))
        schemes.append(["" for _ in own])
        schemes[-1][order[0]], schemes[-1][order[-1]] = "smallest", "largest"
    for names in schemes:
        holes: dict[str, str] = {}
        for name, number in zip(names, own, strict=False):
            if name:
                holes.setdefault(number if numbers == "as_written" else shown(float(number), numbers), name)
        parts = [f"{{{holes[p]}}}" if p in holes else p for p in re.split(f"({NUMBER.pattern})", answer)]
        if len(parts) > 1 and any(p.startswith("{") for p in parts):
            yield "".join(parts)


def _measured(
    rule: WriteRule, texts: Sequence[str], answers: Sequence[str], said: Sequence[Sequence[str]], numbers: Style
) -> WriteRule:
    right = held = 0
    for text, answer, own in zip(texts, answers, said, strict=True):
        found = re.search(rule.when, text[:LONGEST], re.IGNORECASE)
        if found is None:
            continue
        written = fill(rule.say, own, {str(n): g or "" for n, g in enumerate(found.groups(), 1)}, numbers)
        held += written is not None
        right += written == answer
    return rule.model_copy(update={"right": _smooth(right, held)})


def _smooth(right: float, held: float) -> float:
    return round((float(right) + 1.0) / (float(held) + 2.0), 4)


def _decision_list(
    texts: Sequence[str], templates: Sequence[str], fits: Bools, most: int, least: int
) -> list[WriteRule]:
    """Rules by their words, then the one template that is right most often on all rows."""
    names, stands = _cues(texts, least)
    left = np.ones(len(texts), dtype=bool)
    found: list[WriteRule] = []
    best = int(fits.sum(axis=0).argmax())
    while len(found) < most - 1 and left.sum() >= least and names:
        held = (stands & left[:, None]).sum(axis=0)
        right = (stands & left[:, None]).T.astype(np.float32) @ fits.astype(np.float32)
        # A small number of rows shows little: one wrong row is added to each rule.
        share = np.where(held[:, None] >= least, right / (held[:, None] + 1.0), 0.0)
        cue, template = (int(place) for place in np.unravel_index(share.argmax(), share.shape))
        default = fits[left, best].mean()
        if share[cue, template] <= default:
            break
        found.append(
            WriteRule(
                when=names[cue], say=templates[template], right=_smooth(float(right[cue, template]), float(held[cue]))
            )
        )
        left &= ~stands[:, cue]
    return [*found, WriteRule(say=templates[best], right=_smooth(float(fits[:, best].sum()), len(texts)))]


def _cues(texts: Sequence[str], least: int) -> tuple[list[str], Bools]:
    """Words and pairs of words as patterns, and (rows, cues) whether they stand in a text."""
    spoken = [_grams(text) for text in texts]
    counts = Counter(gram for grams in spoken for gram in grams)
    kept = [gram for gram, n in counts.most_common() if n >= max(least, 3)][:MOST_WORDS]
    place = {gram: column for column, gram in enumerate(kept)}
    stands = np.zeros((len(texts), len(kept)), dtype=bool)
    for row, grams in enumerate(spoken):
        stands[row, [place[gram] for gram in grams if gram in place]] = True
    return [_pattern(gram) for gram in kept], stands


def _pattern(gram: str) -> str:
    return r"\b" + r"[\W\d_]+".join(re.escape(word) for word in gram.split()) + r"\b"


def _grams(text: str) -> set[str]:
    words = re.findall(r"[^\W\d_]+", text[:LONGEST].lower())
    return {*words, *(f"{one} {next_}" for one, next_ in pairwise(words))}
