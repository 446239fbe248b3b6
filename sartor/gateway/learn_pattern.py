"""What stays the same in many texts, and where they vary: one message of a prompt, learned from its fillings.

All of it is counting over characters; a share of the texts may be something else altogether. Knows no chats.
"""

import math
from collections import Counter
from collections.abc import Sequence

from sartor.gateway.prompt import Pattern

SHARED = 0.95
"""Share of the texts that fixed text must stand in."""
LONE = 0.97
"""Share of the texts in which what separates two holes stands equally often."""
MANY = 20
"""Most holes that one thing separates."""
SAMPLE = 60
LONGEST = 4000
"""Characters of a text in which separators are searched for."""
FEW = 0.05
"""Share of the texts that makes a version of its own."""
BOILERPLATE = 20
"""Characters at an end that a fifth of the texts share only if somebody's prompt put them there."""


def learn_pattern(texts: Sequence[str]) -> Pattern:
    """The pattern that nearly all of the texts are fillings of, its holes unnamed (`0`, `1`, …)."""
    prefix = _trim_end(shared_prefix(texts, SHARED), texts)
    suffix = _mirrored(_trim_end(shared_prefix([t[::-1] for t in texts], SHARED), [t[::-1] for t in texts]))
    middles = [
        t[len(prefix) : len(t) - len(suffix)]
        for t in texts
        if len(t) >= len(prefix) + len(suffix) and t.startswith(prefix) and t.endswith(suffix)
    ]
    literals = (prefix, *separators(middles), suffix)
    return Pattern(literals, tuple(str(i) for i in range(len(literals) - 1)))


def shared_prefix(texts: Sequence[str], share: float) -> str:
    """The longest beginning that at least this share of the texts has."""
    ordered = sorted(texts)
    width = max(1, math.ceil(share * len(ordered)))
    best = ""
    for first, last in zip(ordered, ordered[width - 1 :], strict=False):
        if (length := _common(first, last)) > len(best):
            best = first[:length]
    return best


def separators(texts: Sequence[str]) -> tuple[str, ...]:
    """The fixed texts that stand equally often in nearly every text, in one order, from left to right."""
    found, times = _separator(texts)
    if not found:
        return ()
    parts = [text.split(found) for text in texts if text.count(found) == times]
    between = [separators(side) for side in zip(*parts, strict=True)]
    return (*between[0], *(literal for inner in between[1:] for literal in (found, *inner)))


def versions(texts: Sequence[str]) -> list[list[int]]:
    """Texts that begin or end alike, where that can only be several prompts: their places, group by group.

    Empty where the texts are fillings of one.
    """
    for turned in (texts, [text[::-1] for text in texts]):
        heads = Counter(text[:BOILERPLATE] for text in turned if len(text) >= BOILERPLATE)
        wide = {head for head, count in heads.items() if count >= 0.2 * len(texts)}
        many = {head for head, count in heads.items() if count >= max(5, FEW * len(texts))}
        if not wide and sum(heads[head] for head in many) < 0.9 * len(texts):
            continue
        chosen = many or wide
        groups: dict[str, list[int]] = {}
        for place, text in enumerate(turned):
            head = text[:BOILERPLATE]
            groups.setdefault(head if head in chosen else "", []).append(place)
        if len(groups) > 1:
            return sorted(groups.values(), key=len, reverse=True)
    return []


def _separator(texts: Sequence[str]) -> tuple[str, int]:
    """The longest text that stands equally often in nearly all, and how often; '' if there is none worth the name."""
    ordered = sorted((t for t in texts if t), key=len)
    if len(ordered) < LONE * len(texts) or not ordered:
        return "", 0
    sample = ordered[:: max(1, len(ordered) // SAMPLE)]
    best, often = "", 0
    for source in {sample[0], sample[len(sample) // 10], sample[len(sample) // 5]}:
        if len(source) > LONGEST:
            continue
        for candidate in _longest_shared(source, sample):
            trimmed = _mirrored(_trim_around(_mirrored(_trim_around(candidate, texts)), [t[::-1] for t in texts]))
            worth = len(trimmed) >= 3 or "\n" in trimmed
            if worth and len(trimmed) > len(best) and (times := _times(trimmed, texts)):
                best, often = trimmed, times
                break
    return best, often


def _times(found: str, texts: Sequence[str]) -> int:
    """How often something stands in nearly every text; 0 where that differs."""
    ((times, count),) = Counter(text.count(found) for text in texts).most_common(1)
    return times if count >= LONE * len(texts) and times <= MANY else 0


def _longest_shared(source: str, sample: Sequence[str]) -> list[str]:
    """The longest pieces of the source that nearly all of the sample have."""
    allowed = len(sample) - math.ceil(LONE * len(sample))

    def shared(length: int) -> list[str]:
        pieces = dict.fromkeys(source[at : at + length] for at in range(len(source) - length + 1))
        return [piece for piece in pieces if _in_most(piece, sample, allowed)]

    low, high, best = 1, len(source), []
    # What is shared has shared parts, so the lengths at which anything is shared have no gaps.
    while low <= high:
        middle = (low + high) // 2
        if found := shared(middle):
            low, best = middle + 1, found
        else:
            high = middle - 1
    return best


def _in_most(piece: str, sample: Sequence[str], allowed: int) -> bool:
    for text in sample:
        if piece not in text:
            allowed -= 1
            if allowed < 0:
                return False
    return True


def _trim_end(fixed: str, texts: Sequence[str]) -> str:
    """Fixed text without a last word that is whole in none or not in all: its letters are alike by accident."""
    if not fixed or not fixed[-1].isalnum():
        return fixed
    size = len(fixed)
    if any(len(t) > size and t[size].isalnum() and t.startswith(fixed) for t in texts):
        return fixed[: size - _word_at_end(fixed)]
    return fixed


def _trim_around(fixed: str, texts: Sequence[str]) -> str:
    """The same for fixed text within the texts."""
    if not fixed or not fixed[-1].isalnum():
        return fixed
    for text in texts:
        after = text.find(fixed) + len(fixed)
        if len(fixed) <= after < len(text) and text[after].isalnum():
            return fixed[: len(fixed) - _word_at_end(fixed)]
    return fixed


def _word_at_end(text: str) -> int:
    size = 0
    while size < len(text) and text[-1 - size].isalnum():
        size += 1
    return size


def _mirrored(text: str) -> str:
    return text[::-1]


def _common(a: str, b: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[:middle] == b[:middle] else (low, middle - 1)
    return low
