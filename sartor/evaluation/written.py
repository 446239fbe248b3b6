"""Judges answers that are written: JSON objects value by value, texts criterion by criterion."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from sartor.core.predict import Doubts, Floats
from sartor.core.shelf import Shelf
from sartor.core.stating import Pricing, state
from sartor.evaluation.answers import Answers, Notes, heard, notes
from sartor.evaluation.judging import NO_ANSWER, OUTSIDE, Cut, Judged, Look, Mistake

SCORERS = Shelf("sartor.evaluation.scorers")


@dataclass(frozen=True)
class Assessed:
    """One answer beside the truth."""

    right: float
    """1 where all of it is right, else 0."""
    lost: float
    """Money."""
    counts: tuple[int, ...] = ()
    """Values right, wrong, missed, invented; all of them, then those of fields that the truth has."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Criterion of a rubric -> how far it is fulfilled."""
    mistakes: tuple[tuple[str, str, float], ...] = ()
    """(where, what, money) of each."""


WATCHED = 12
"""Parts of answers that are watched, the most frequent ones."""
RARE = 0.02
"""Share of answers below which a part is not watched: of so few nothing can be told."""

Parts = Callable[[str], Sequence[str]]
"""An answer -> names of what stands in it, each as often as it does."""

Assess = Callable[[str, str | None], Assessed]
"""(truth, answer or None) -> what it came to."""


@dataclass(frozen=True, eq=False)
class Written:
    """Judges answers that are written."""

    assess: Assess
    pricing: Pricing
    most: float
    """Money that one answer can lose at most."""
    asked: float | None = None
    """Chance that whoever is asked is right in all."""
    criteria: tuple[str, ...] = ()
    """Of the rubric."""
    parts: Parts = str.split
    """What of an answer is watched over time."""

    @cached_property
    def _seen(self) -> dict[tuple[str, str | None], Assessed]:
        """The same pairs are judged many times: on validation, on test, against the incumbent, against the floor."""
        return {}

    def _assessed(self, answers: Answers) -> list[Assessed]:
        assert answers.truth is not None
        assert answers.output is not None
        found = []
        for truth, output, there in zip(answers.truth, answers.output, answers.answer >= 0, strict=True):
            pair = (truth, output if there else None)
            if pair not in self._seen:
                self._seen[pair] = self.assess(*pair)
            found.append(self._seen[pair])
        return found

    def judge(self, answers: Answers) -> Judged:
        """What each answer came to."""
        each = self._assessed(answers)
        known = answers.true >= 0
        right = np.where(known, np.array([one.right for one in each], dtype=np.float64), 0.0)
        lost = np.where(known, np.array([one.lost for one in each], dtype=np.float64), self.most)
        code = np.where(answers.answer < 0, -1, np.where(right == 1.0, 0, 1))
        confidence = self._confidence(answers)
        top = None if confidence is None else code
        if answers.escalated.any():
            target = self.pricing.target if self.pricing.target is not None else self.most
            lost = np.where(answers.escalated, target, lost)
            right = np.where(answers.escalated, self.asked or 0.0, right)
        counts = np.array([one.counts for one in each], dtype=np.float64) if each and each[0].counts else None
        parts = {name: np.array([one.parts[name] for one in each], dtype=np.float64) for name in self.criteria}
        return Judged(answers.true, code, right, lost, top, confidence, counts, parts)

    def _confidence(self, answers: Answers) -> Floats | None:
        if answers.said is None or not all(answers.said):
            return None
        return np.array([state(*_beliefs(said, self.pricing)).confidence for said in answers.said], dtype=np.float64)

    def redecide(self, answers: Answers) -> Answers:
        """The least-cost answers under the same beliefs."""
        if answers.said is None or not any(answers.said):
            return answers
        stated = [state(*_beliefs(said, self.pricing)) if said else None for said in answers.said]
        output = [old if new is None else new.output for new, old in zip(stated, answers.output, strict=True)]  # type: ignore[arg-type]
        asked = [old if new is None else new.escalate for new, old in zip(stated, answers.escalated, strict=True)]
        return replace(answers, output=notes(output), escalated=np.array(asked, dtype=bool))

    def texts(self, answers: Answers) -> tuple[Notes, Notes]:
        """(rows,) right answers and (rows,) given ones."""
        assert answers.truth is not None
        assert answers.output is not None
        truths = [truth if known else OUTSIDE for truth, known in zip(answers.truth, answers.true >= 0, strict=True)]
        said = [said if there else NO_ANSWER for said, there in zip(answers.output, answers.answer >= 0, strict=True)]
        return notes(truths), notes(said)

    def mistakes(self, answers: Answers) -> list[Mistake]:
        """Which field or criterion, and what was wrong with it."""
        count: defaultdict[tuple[str, str], int] = defaultdict(int)
        money: defaultdict[tuple[str, str], float] = defaultdict(float)
        for one, asked in zip(self._assessed(answers), answers.escalated, strict=True):
            for where, what, lost in () if asked else one.mistakes:
                count[where, what] += 1
                money[where, what] += lost
        return [Mistake(*sort, count[sort], money[sort]) for sort in sorted(count)]

    def cuts(self, answers: Answers) -> Iterator[Cut]:  # noqa: ARG002 - a row has many fields: none divides the rows
        """None of its own."""
        yield from ()

    def limits(self) -> tuple[float, float]:
        """The least and the most that one row can lose."""
        return min(self.pricing.right, 0.0), max(self.most, self.pricing.target or 0.0)

    def lost_by(self, truth: str, said: str) -> float | None:
        """The cost of one answer where another is right."""
        return self.assess(truth, said).lost

    def same(self, truth: str, said: str) -> bool:
        """Whether nothing is wrong with it."""
        return truth == said or self.assess(truth, said).right == 1.0

    def here(self, answers: Answers) -> Answers:
        """The least-cost answers where nobody else is asked: the same ones, since each value stands for itself."""
        return replace(self.redecide(answers), escalated=np.zeros(len(answers), dtype=bool))

    def chances(self, answers: Answers) -> Floats | None:
        """The chance that all values are right, and none is missing."""
        return self._confidence(answers)

    def can_be(self, said: str) -> bool:  # noqa: ARG002 - what a model wrote is an answer, however bad
        """Always."""
        return True

    def looks(self, learnt: Sequence[str], usual: Sequence[str], given: Sequence[str]) -> list[Look]:
        """How much stands in an answer, and which parts do."""
        before, after = ([Counter(self.parts(said)) for said in texts] for texts in (usual, given))
        share = Counter(name for text in learnt for name in set(self.parts(text)))
        often = [name for name, count in share.most_common(WATCHED) if count >= max(RARE * len(learnt), 2)]
        found = [Look("values in the answer", _amounts(before), _amounts(after))]
        return found + [Look(f"has '{name}'", _there(before, name), _there(after, name)) for name in sorted(often)]

    def facts(self, answers: Answers) -> dict[str, Any]:
        """Fulfilment of each criterion, in the mean."""
        each = self._assessed(answers)
        return {"criteria": {name: float(np.mean([one.parts[name] for one in each])) for name in self.criteria}}


def _amounts(answers: Sequence[Counter[str]]) -> Floats:
    return np.array([sum(one.values()) for one in answers], dtype=np.float64)


def _there(answers: Sequence[Counter[str]], name: str) -> Floats:
    return np.array([float(name in one) for one in answers], dtype=np.float64)


def _beliefs(said: str, pricing: Pricing) -> tuple[Any, Pricing, Doubts]:
    claims, doubts = heard(said)
    return claims, pricing, doubts
