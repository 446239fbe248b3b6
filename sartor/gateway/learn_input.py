"""Infer from captured chats what prompt an application sends, and where in it the input stands.

Chats are divided by their roles and by messages that never change (versions of a prompt); in each part, what is the
same becomes fixed text and what varies becomes a hole. A fifth of the chats is held out, and says how many of them
the prompt really fits. Where that are too few, or nothing varies, nothing is guessed. Knows no files and no store.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sartor.core.errors import AskError, RefusedError
from sartor.gateway.learn_pattern import FEW, SHARED, learn_pattern, versions
from sartor.gateway.policy import draw
from sartor.gateway.prompt import Pattern, Prompt
from sartor.gateway.unpack import messages_of

FEWEST = 30
"""Chats without which nothing is inferred."""
MOST = 5000
"""Chats from which is learned; the others still count in what is held out."""
HELD_OUT = 5
"""One chat in so many is held out."""
FEWEST_HELD_OUT = 10
LEAST = FEWEST - FEWEST_HELD_OUT
"""Chats of one prompt without which it is not inferred."""
REPEATED = 4
"""Characters of a line of fixed text that mean something when they stand in what varies too."""
DEPTH = 6
"""How often versions are divided into versions."""
WORD = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,30})\W*$")

Said = tuple[tuple[str, str], ...]
"""(role, text) of each message."""


@dataclass(frozen=True)
class Found:
    """One prompt of the traffic."""

    prompt: Prompt
    held_out: int
    """Chats held out that it fits better than the other prompts do."""
    coverage: float
    """Their share."""
    example: Mapping[str, str]
    """What one chat held out has in its holes."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The inputs, in the order in which they stand in the prompt."""
        return self.prompt.columns

    def declared(self) -> list[dict[str, str]]:
        """As it stands under `input.prompt` in a task file."""
        return [{"role": role, "content": pattern.write()} for role, pattern in self.prompt.messages]


@dataclass(frozen=True)
class Lesson:
    """What the traffic says."""

    chats: int
    held_out: int
    prompts: tuple[Found, ...]
    """The one that fits most first."""
    strangers: tuple[Said, ...]
    """Some chats that the first does not fit."""

    @property
    def best(self) -> Found:
        """The prompt to declare."""
        return self.prompts[0]


def learn_input(chats: Sequence[Mapping[str, Any]], *, columns: Sequence[str] = (), coverage: float = 0.95) -> Lesson:
    """The prompt that an application sends.

    Args:
        chats: OpenAI bodies of requests.
        columns: names of the holes in their order; those that begin with '_' are no inputs (a date). Empty: one hole
            is `text`, several are named by the word before them.
        coverage: share of the chats held out that the prompt must fit.

    Raises:
        RefusedError: there are too few chats, nothing varies, or no prompt fits enough of them; says the counts.
        AskError: there are not as many columns as holes.
    """
    readable = list(_readable(chats))
    if len(readable) < FEWEST:
        raise _refused(
            f"{len(readable)} of {len(chats)} chats can be read, and at least {FEWEST} are needed to tell what varies. "
            "Wait for more traffic",
            "too_few_chats",
        )
    # By chance, not by counting: traffic may have a rhythm of its own.
    shuffled = sorted(range(len(readable)), key=lambda at: draw("held out", str(at)))
    size = max(FEWEST_HELD_OUT, len(readable) // HELD_OUT)
    held_out = [readable[at] for at in shuffled[:size]]
    rest = [readable[at] for at in shuffled[size:]]
    found = _measured(list(_prompts(rest[:: -(-len(rest) // MOST)])), held_out)
    if not found:
        raise _refused(
            f"nothing varies in {len(readable)} chats, or every part of them that is alike has fewer than {LEAST}",
            "nothing_varies",
        )
    if found[0].coverage < coverage:
        parts = ", ".join(f"{f.coverage:.1%}" for f in found[:5])
        raise _refused(
            f"{len(found)} prompts are in this traffic, which fit {parts} of {len(held_out)} chats held out; one must "
            f"fit {coverage:.0%}. Give each version of the prompt a route of its own, or accept less: what does not "
            "fit goes to the upstream",
            "low_coverage",
        )
    _refuse_too_wide(found[0], held_out)
    _refuse_varying_examples(found[0].prompt, held_out)
    named = tuple(_named(one, held_out, columns if at == 0 else ()) for at, one in enumerate(found))
    strangers = tuple(said for said in readable if named[0].prompt.match(said) is None)[:5]
    return Lesson(len(readable), len(held_out), named, strangers)


def _refuse_too_wide(best: Found, held_out: Sequence[Said]) -> None:
    """A prompt that is little more than a hole would take what was sent with another prompt for an input."""
    fitting = sum(best.prompt.match(said) is not None for said in held_out)
    if best.held_out < SHARED * fitting:
        raise _refused(
            f"the prompt that is sent most has so little fixed text that it fits {fitting} of {len(held_out)} chats "
            f"held out, and {fitting - best.held_out} of them were sent with another one. Give each version of the "
            "prompt a route of its own",
            "too_wide",
        )


def _refuse_varying_examples(prompt: Prompt, chats: Sequence[Said]) -> None:
    """Where the line around a hole stands in what fills it too, examples are sent that change with each request."""
    filled = [values for said in chats if (values := prompt.match(said)) is not None]
    for _, pattern in prompt.messages:
        for hole, before, after in zip(pattern.holes, pattern.literals, pattern.literals[1:], strict=False):
            lines = [*before.split("\n")[-1:], *after.lstrip("\n").split("\n")[:1]]
            for line in (line.strip() for line in lines):
                again = sum(line in values[hole] for values in filled)
                if len(line) >= REPEATED and again >= 0.5 * len(filled) > 0:
                    raise _refused(
                        f"{line[:60]!r} stands in {again} of {len(filled)} texts that vary, too: examples that change "
                        "with each request seem to stand before the input. Send the input in a message of its own",
                        "varying_examples",
                    )


def _readable(chats: Sequence[Mapping[str, Any]]) -> Iterator[Said]:
    """The chats that are nothing but text."""
    for chat in chats:
        try:
            said = messages_of(chat)
        except AskError:
            continue
        if all(text is not None for _, text in said) and all(role in ROLES for role, _ in said):
            yield tuple((role, text or "") for role, text in said)


ROLES = frozenset({"developer", "system", "user", "assistant"})


def _prompts(chats: Sequence[Said]) -> Iterator[Prompt]:
    """Every prompt with enough chats to tell what varies in it."""
    by_roles: dict[tuple[str, ...], list[Said]] = {}
    for said in chats:
        by_roles.setdefault(tuple(role for role, _ in said), []).append(said)
    for group in by_roles.values():
        yield from _learned(group, DEPTH)


def _learned(chats: list[Said], depth: int) -> Iterator[Prompt]:
    """The prompts of chats whose roles are the same: divided as long as there are versions, then learned."""
    if len(chats) < LEAST:
        return
    columns = [[said[at][1] for said in chats] for at in range(len(chats[0]))]
    fixed = {at: values for at, texts in enumerate(columns) if (values := _fixed_values(texts))}
    for at, values in fixed.items():
        if len(values) > 1 and depth:
            for value in values:
                yield from _learned([said for said in chats if said[at][1] == value], depth - 1)
            return
    patterns = []
    for at, texts in enumerate(columns):
        if at in fixed:
            patterns.append(Pattern((fixed[at][0],), ()))
            continue
        pattern = learn_pattern(texts)
        if depth and (groups := _divided(pattern, texts)):
            for places in groups:
                yield from _learned([chats[place] for place in places], depth - 1)
            return
        patterns.append(pattern)
    if any(pattern.holes for pattern in patterns):
        yield _numbered(zip((role for role, _ in chats[0]), patterns, strict=True))


def _fixed_values(texts: Sequence[str]) -> list[str]:
    """The few values that a message has in nearly all chats; none where it varies."""
    counts = Counter(texts)
    frequent = [value for value, count in counts.most_common() if count >= max(5, FEW * len(texts))]
    covered = sum(counts[value] for value in frequent)
    if covered < 0.9 * len(texts):
        return []
    # One value and the odd other one: the prompt is fixed there, and the odd one does not fit it.
    return frequent[:1] if counts[frequent[0]] >= SHARED * len(texts) else frequent


def _divided(pattern: Pattern, texts: Sequence[str]) -> list[list[int]]:
    """Places of the texts of each version, where what fills a hole is alike in many of them."""
    filled = [pattern.match(text) for text in texts]
    places = [at for at, values in enumerate(filled) if values is not None]
    for hole in range(len(pattern.holes)):
        groups = versions([values[hole] for values in filled if values is not None])
        if groups:
            return [[places[at] for at in group] for group in groups]
    return []


def _measured(prompts: Sequence[Prompt], held_out: Sequence[Said]) -> list[Found]:
    """The prompts with what they fit, the one that fits most first."""
    fits = [_fits_best(prompts, said) for said in held_out]
    counts = Counter(fits)
    found = [Found(prompt, counts[place], counts[place] / len(held_out), {}) for place, prompt in enumerate(prompts)]
    return sorted(found, key=lambda f: -f.held_out)


def _fits_best(prompts: Sequence[Prompt], said: Said) -> int | None:
    """The place of the prompt with most fixed text that fits: a lone hole fits everything, and means little."""
    fitting = [place for place, prompt in enumerate(prompts) if prompt.match(said) is not None]
    return max(fitting, key=lambda place: prompts[place].fixed_size, default=None)


def _named(found: Found, chats: Sequence[Said], columns: Sequence[str]) -> Found:
    """The prompt with names for its holes, and an example of them."""
    prompt = found.prompt
    filled = [values for said in chats if (values := prompt.match(said)) is not None]
    same = _same(prompt.holes, filled)
    distinct = [hole for hole in prompt.holes if hole not in same]
    if columns and len(columns) != len(distinct):
        befores = ", ".join(f"after {before[-30:]!r}" for before in _before(prompt, distinct))
        raise AskError(
            f"The prompt has {len(distinct)} holes ({befores}), and {len(columns)} columns were named: "
            f"{', '.join(columns)}. Name each hole, those that are no input with '_' first.",
            code="other_columns",
        )
    names = list(columns) or _names(_before(prompt, distinct))
    name_of = dict(zip(distinct, names, strict=True))
    name_of |= {hole: name_of[earlier] for hole, earlier in same.items()}
    messages = [(role, replace(p, holes=tuple(name_of[hole] for hole in p.holes))) for role, p in prompt.messages]
    example = {name_of[hole]: value for hole, value in filled[0].items()} if filled else {}
    return replace(found, prompt=Prompt(tuple(messages)), example=example)


def _numbered(messages: Iterable[tuple[str, Pattern]]) -> Prompt:
    """A prompt whose holes are told apart over all messages."""
    numbered = [
        (role, replace(pattern, holes=tuple(f"{at}.{hole}" for hole in pattern.holes)))
        for at, (role, pattern) in enumerate(messages)
    ]
    return Prompt(tuple(numbered))


def _same(holes: Sequence[str], filled: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Holes that are always filled like an earlier one -> that one."""
    same: dict[str, str] = {}
    for at, hole in enumerate(holes):
        for earlier in holes[:at]:
            if earlier not in same and filled and all(values[hole] == values[earlier] for values in filled):
                same[hole] = earlier
                break
    return same


def _before(prompt: Prompt, holes: Sequence[str]) -> list[str]:
    """The fixed text before each hole."""
    before = {
        hole: literal
        for _, pattern in prompt.messages
        for hole, literal in zip(pattern.holes, pattern.literals, strict=False)
    }
    return [before[hole] for hole in holes]


def _names(befores: Sequence[str]) -> list[str]:
    """A name for each hole: the word before it (`Subject: …`), made unlike the others."""
    if len(befores) == 1:
        return ["text"]
    names: list[str] = []
    for before in befores:
        word = WORD.search(before[-60:])
        name = word[1].lower() if word else "text"
        taken = sum(other.rstrip("0123456789") == name for other in names)
        names.append(f"{name}{taken + 1}" if taken or name in names else name)
    return names


def _refused(what: str, code: str) -> RefusedError:
    return RefusedError(f"Inferring the prompt from traffic failed: {what}.", code=code)
