"""Rules and nothing else: patterns that a person writes, and what training rows plainly show.

The floor of written answers. For an extraction: a gazetteer of the values that training rows have, their shapes (`12
oz`), and words that stand for a value. For a text: a decision list (Rivest 1987, "Learning decision lists") of
templates over the numbers of the input, such as larger minus smaller of the first two. How much of what was learned is
kept is chosen on validation rows.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from sartor.core.claims import as_text, build
from sartor.core.errors import AskError
from sartor.core.rules import ReadRule, RuleBook, Rules, WriteRule, check_pattern, check_template
from sartor.core.section import Section
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.job import Draft, Job, Writing
from sartor.training.rules_reading import Learned, learn_reading
from sartor.training.rules_writing import learn_writing
from sartor.training.warm import anew

KINDS = ("extract", "generate")
SIZES = {"small": 1, "medium": 30, "large": 200}
"""Most rules of a decision list."""
MS_PER_ROW = {"small": 1.0, "medium": 4.0, "large": 10.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""
SURE = (0.0, 0.3, 0.5, 0.7)
"""How sure a learned rule must be to be kept: the choices, of which validation rows take one."""
LENGTHS = (1, 3, 10, 30, 100, 200)
"""How many rules of the decision list are kept: the choices."""


class Pattern(Section):
    """A value that a person knows how to find."""

    field: str
    """The field that it fills: `brand`, `lines[].price`."""
    pattern: str
    """Regular expression; its first group, or whole, is the value. Capitals don't matter."""
    when: str = ""
    """Only where this is found too."""

    @field_validator("pattern", "when")
    @classmethod
    def _can_be_read(cls, pattern: str) -> str:
        return check_pattern(pattern)


class Sentence(Section):
    """A text that a person knows how to write."""

    say: str
    """Template: `( {larger} - {smaller} )`; see the guide for its holes."""
    when: str = ""
    """Only where this is found; its groups are the holes `{1}`, `{2}` …"""

    @field_validator("say")
    @classmethod
    def _template_can_be_read(cls, say: str) -> str:
        return check_template(say)

    @field_validator("when")
    @classmethod
    def _can_be_read(cls, pattern: str) -> str:
        return check_pattern(pattern)


class Params(Base):
    """Settings of the rules recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Most rules of a decision list: 1, 30 or 200."""
    learn: bool = True
    """Learn from training rows; else only what a person wrote counts."""
    patterns: tuple[Pattern, ...] = ()
    """What a person wrote for an extraction; it goes before what was learned with the same share of right answers."""
    say: tuple[Sentence, ...] = ()
    """What a person wrote for a text; it goes before all that was learned, in this order."""
    least_rows: int = Field(default=3, ge=1)
    """Training rows that a learned shape or word must be seen in."""


@plugin
def rules(job: Job, params: Params) -> Draft:
    """Learn the rules; write `rules.json`.

    Raises:
        AskError: a pattern or template that a person wrote can't be read, or names a field that the schema lacks.
    """
    anew(job, "rules")
    writing = job.writing
    if writing is None:
        raise AskError(
            "Recipe 'rules' makes answers that are written, and this task's are labels. Use 'linear' as its floor.",
            param="candidates.recipe",
        )
    found, facts = (_reading if writing.kind == "extract" else _writing)(job, writing, params)
    (job.folder / "rules.json").write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return Draft(engine="rules", facts=facts)


def _reading(job: Job, writing: Writing, params: Params) -> tuple[Rules, dict[str, object]]:
    own = [ReadRule(field=one.field, pattern=one.pattern, when=one.when) for one in params.patterns]
    learned = learn_reading(job.train_texts, writing, own, least=params.least_rows, learn=params.learn)
    tried = []
    for sure in SURE if params.learn and len(writing.validation) else SURE[:1]:
        made = _kept(learned, sure)
        tried.append((_loss(job, writing, made), sure, made))
    loss, sure, made = min(tried, key=lambda one: one[:2])
    counts = {"words": sum(map(len, made.words.values())), "patterns": len(made.read), "written": len(own)}
    return made, {**counts, "least_sure": sure, "validation_loss": round(loss, 6)}


def _kept(learned: Learned, sure: float) -> Rules:
    """What is at least so sure; what a person wrote stays."""
    words = {
        name: {value: right for value, right in values.items() if right >= sure}
        for name, values in learned.words.items()
    }
    read = (*learned.own, *(rule for rule in learned.read if rule.right >= sure))
    return Rules(kind="extract", read=read, words=words, types=learned.types)


def _writing(job: Job, writing: Writing, params: Params) -> tuple[Rules, dict[str, object]]:
    most = SIZES[params.size] if params.learn else 0
    own = [WriteRule(say=one.say, when=one.when) for one in params.say]
    learned = learn_writing(job.train_texts, writing.train, own, most=most, least=params.least_rows)
    cued, last = learned.write[:-1], learned.write[-1:]
    tried = []
    for length in sorted({min(length - 1, len(cued)) for length in LENGTHS}):
        write = (*learned.own, *cued[:length], *last)
        made = Rules(kind="generate", write=write, numbers=learned.numbers)
        tried.append((_loss(job, writing, made), length, made))
    loss, _, made = min(tried, key=lambda one: one[:2])
    facts = {"rules": len(made.write), "written": len(own), "last": last[0].say if last else ""}
    return made, {**facts, "numbers": learned.numbers, "validation_loss": round(loss, 6)}


def _loss(job: Job, writing: Writing, made: Rules) -> float:
    """Mean loss on validation rows: in money where the job can tell, else the share of answers that are not exact."""
    answers = answers_of(made, job.validation_texts)
    if not answers:
        return 0.0
    if writing.score is not None:
        return float(np.mean(writing.score(answers)))
    return float(np.mean([said != right for said, right in zip(answers, writing.validation, strict=True)]))


def answers_of(made: Rules, texts: Sequence[str]) -> list[str]:
    """What the rules answer, as text."""
    book = RuleBook(made)
    if made.kind == "generate":
        return [found.value if (found := book.text(text)) else "" for text in texts]
    return [as_text(build((one.path, one.value) for one in book.values(text))) for text in texts]
