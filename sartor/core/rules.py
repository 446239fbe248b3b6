"""Rules that read values out of a text, or write a text from its numbers: plain data, alike for maker and engine.

A rule is a regular expression, a word of a gazetteer, a fixed value, or a template with holes; arithmetic in a template
is parsed and worked out here, so that nothing of a rule is ever run as code. Knows neither files nor how rules are
learned.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from sartor.core.section import Section

LONGEST = 20_000
"""Characters of a text that rules look at."""
NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
TOKEN = re.compile(r"\w+|[^\w\s]")
HOLE = re.compile(r"\{(=?)([^{}]*)\}")
STEPS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
PLAIN = (ast.BinOp, ast.UnaryOp, ast.USub, ast.Name, ast.Load, *STEPS)
"""All that a sum may be made of, beside numbers."""
Style = Literal["as_written", "float", "short"]
"""How numbers are written in an answer: as in the text, always with a point (`84.0`), or without needless zeros."""


class Cued(Section):
    """A rule that holds where some word stands in the text."""

    when: str = ""
    """Regular expression that must be found; empty: always. Capitals don't matter."""
    right: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of training rows, smoothed, on which it was right where it held."""

    @field_validator("when")
    @classmethod
    def _can_be_read(cls, pattern: str) -> str:
        return check_pattern(pattern)


class ReadRule(Cued):
    """A value that is found in a text, or follows from a word in it."""

    field: str
    """The field that it fills: `brand`, `lines[].price`."""
    pattern: str = ""
    """Regular expression whose first group, or whole, is the value."""
    value: Any = None
    """The value itself, where it does not stand in the text."""

    @field_validator("pattern")
    @classmethod
    def _pattern_can_be_read(cls, pattern: str) -> str:
        return check_pattern(pattern)


class WriteRule(Cued):
    """A text that is written from what stands in the input."""

    say: str
    """Template: `{n1}`, `{n2}` … are the numbers of the input in order, `{larger}` and `{smaller}` the first two by
    size, `{largest}` and `{smallest}` of all, `{= n1 * n2}` is worked out, `{1}` is a group of `when`."""

    @field_validator("say")
    @classmethod
    def _template_can_be_read(cls, say: str) -> str:
        return check_template(say)


class Rules(Section):
    """All rules of one variant."""

    kind: Literal["extract", "generate"]
    """What they make."""
    read: tuple[ReadRule, ...] = ()
    """For extraction; the surest that fits a place fills it."""
    words: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Field -> value in small letters -> how sure: values that stand in a text as they are."""
    types: dict[str, str] = Field(default_factory=dict)
    """Field -> type of the JSON Schema, where it is not `string`."""
    write: tuple[WriteRule, ...] = ()
    """For texts; the first that holds, and whose holes can be filled, writes."""
    numbers: Style = "as_written"
    """How numbers are written."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value that a rule found."""

    path: str
    value: Any
    right: float
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    field: str
    value: Any
    right: float
    span: tuple[int, int] | None


@dataclass
class RuleBook:
    """Rules, ready to be used."""

    rules: Rules
    _read: list[tuple[ReadRule, re.Pattern[str] | None, re.Pattern[str] | None]] = field(init=False)
    _words: dict[str, list[tuple[str, float]]] = field(init=False)
    _longest: int = field(init=False)
    """Tokens of the longest word of the gazetteer."""

    def __post_init__(self) -> None:
        self._read = [
            (
                rule,
                re.compile(rule.when, re.IGNORECASE) if rule.when else None,
                re.compile(rule.pattern, re.IGNORECASE) if rule.pattern else None,
            )
            for rule in self.rules.read
        ]
        self._words = {}
        for name, values in self.rules.words.items():
            for value, right in values.items():
                self._words.setdefault(value, []).append((name, right))
        self._longest = max((len(TOKEN.findall(value)) for value in self._words), default=0)

    def values(self, text: str) -> list[Found]:
        """Everything that the rules read out of a text, by place; each character serves one value."""
        text = text[:LONGEST]
        taken: list[_Candidate] = []
        full: set[str] = set()
        for one in sorted(self._candidates(text), key=_rank):
            if one.field in full or any(_overlap(one.span, other.span) for other in taken):
                continue
            taken.append(one)
            if "[]" not in one.field or one.span is None:
                full.add(one.field)
        return list(_placed(taken))

    def text(self, text: str) -> Found | None:
        """What the first rule that holds writes; None where none does."""
        text = text[:LONGEST]
        said = numbers_in(text)
        for rule in self.rules.write:
            held = re.search(rule.when, text, re.IGNORECASE) if rule.when else None
            if rule.when and held is None:
                continue
            groups = {str(place): group or "" for place, group in enumerate(held.groups(), 1)} if held else {}
            written = fill(rule.say, said, groups, self.rules.numbers)
            if written is not None:
                return Found("", written, rule.right)
        return None

    def _candidates(self, text: str) -> Iterator[_Candidate]:
        for rule, when, pattern in self._read:
            if when is not None and when.search(text) is None:
                continue
            if pattern is None:
                yield _Candidate(rule.field, rule.value, rule.right, None)
                continue
            for match in pattern.finditer(text):
                group = 1 if pattern.groups and match[1] is not None else 0
                if match[group].strip():
                    yield from self._typed(rule.field, text, match.span(group), rule.right)
        for span in spans(text, self._longest):
            for name, right in self._words.get(text[span[0] : span[1]].lower(), ()):
                yield from self._typed(name, text, span, right)

    def _typed(self, name: str, text: str, span: tuple[int, int], right: float) -> Iterator[_Candidate]:
        value = as_type(text[span[0] : span[1]], self.rules.types.get(name, "string"))
        if value is not None:
            yield _Candidate(name, value, right, span)


def _rank(one: _Candidate) -> tuple[float, int, str, int]:
    """The surest first; of equals the longest, then by name and place."""
    start, end = one.span or (0, 0)
    return -round(one.right, 3), start - end, one.field, start


def _overlap(one: tuple[int, int] | None, other: tuple[int, int] | None) -> bool:
    return one is not None and other is not None and one[0] < other[1] and other[0] < one[1]


def _placed(taken: Sequence[_Candidate]) -> Iterator[Found]:
    """Places for values: those of a repeated field are numbered as they stand in the text."""
    counts: dict[str, int] = {}
    for one in sorted(taken, key=lambda c: (c.span or (0, 0), c.field)):
        place = counts[one.field] = counts.get(one.field, -1) + 1
        yield Found(path_of(one.field, place), one.value, one.right, one.span)


def path_of(name: str, place: int) -> str:
    """The JSON pointer of a field: of the n-th element where it is repeated (of the innermost list)."""
    head, _, rest = name.rpartition("[]")
    steps = (head.replace("[]", ".0") + f".{place}" + rest) if "[]" in name else name
    return "/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in steps.split("."))


def as_type(said: str, wanted: str) -> Any:
    """A piece of text as a value of a JSON type; None where it is none."""
    if wanted in ("number", "integer"):
        number = NUMBER.search(said)
        if number is None:
            return None
        found = float(number[0].replace(",", ""))
        return int(found) if wanted == "integer" or (found.is_integer() and "." not in number[0]) else found
    return said.strip() if wanted == "string" else None


def spans(text: str, longest: int) -> Iterator[tuple[int, int]]:
    """Every run of at most `longest` tokens of a text, by characters."""
    tokens = [match.span() for match in TOKEN.finditer(text)]
    for first, (start, _) in enumerate(tokens):
        for _, end in tokens[first : first + longest]:
            yield start, end


def numbers_in(text: str) -> list[str]:
    """The numbers of a text, as they are written there."""
    return [match[0].replace(",", "") for match in NUMBER.finditer(text)]


def fill(template: str, said: Sequence[str], groups: Mapping[str, str], style: Style) -> str | None:
    """The text of a template; None where one of its holes can't be filled.

    Args:
        said: numbers of the input, as they are written.
        groups: what else holes may name.
    """
    values = _named(said)
    parts, at = [], 0
    for hole in HOLE.finditer(template):
        parts.append(template[at : hole.start()])
        at = hole.end()
        worked, inner = hole.groups()
        if inner in groups:
            parts.append(groups[inner])
            continue
        number = work_out(inner, values) if worked else values.get(inner)
        if number is None:
            return None
        parts.append(number if isinstance(number, str) and style == "as_written" else shown(float(number), style))
    return "".join([*parts, template[at:]])


def _named(said: Sequence[str]) -> dict[str, str]:
    named = {f"n{place}": number for place, number in enumerate(said[:9], 1)}
    if len(said) >= 2:
        named["smaller"], named["larger"] = sorted(said[:2], key=float)
        named["smallest"], named["largest"] = min(said, key=float), max(said, key=float)
    return named


def shown(number: float, style: Style) -> str:
    """A number as answers write it."""
    if style == "float":
        return repr(float(number))
    return str(int(number)) if float(number).is_integer() else repr(round(number, 6))


def work_out(formula: str, values: Mapping[str, str]) -> float | None:
    """The value of a sum over named numbers; None where a name is missing or it has no value."""
    try:
        return _value(_formula(formula), values)
    except (KeyError, ZeroDivisionError, OverflowError):
        return None


@lru_cache(maxsize=1024)
def _formula(formula: str) -> ast.expr:
    """A sum: numbers, names, + - * / and brackets, and nothing else."""
    try:
        tree = ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"'{formula.strip()}' is no sum of numbers and names") from error
    for node in ast.walk(tree):
        plain = isinstance(node, PLAIN)
        number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
        if not (plain or number):
            raise ValueError(f"'{formula.strip()}' may have numbers, names, + - * / and brackets only")
    return tree


def _value(node: ast.expr, values: Mapping[str, str]) -> float:
    if isinstance(node, ast.BinOp):
        return STEPS[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.UnaryOp):
        return -_value(node.operand, values)
    if isinstance(node, ast.Name):
        return float(values[node.id])
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, int | float)
    return float(node.value)


def check_template(say: str) -> str:
    """The template; ValueError where a hole of it is none."""
    for worked, inner in HOLE.findall(say):
        if worked:
            _formula(inner)
        elif not re.fullmatch(r"n[1-9]|[1-9]|larger|smaller|largest|smallest", inner):
            known = "n1 to n9, larger, smaller, largest, smallest, 1 to 9 for groups of 'when', or a sum after '='"
            raise ValueError(f"no hole is called '{{{inner}}}': take {known}")
    return say


def check_pattern(pattern: str) -> str:
    """The pattern; ValueError where it is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return pattern
