"""The stock of variants: each gets a version of its task, once, and is found by version, digest or field.

Knows nothing of what is live (`releases`), of files, or of how variants are made.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sartor.core.errors import AskError, ConflictError, unknown
from sartor.core.records import Variant
from sartor.core.task import NAME
from sartor.store.ledger import Change, Ledger, Pointer

LIVE, PREVIOUS, RETIRED = "@live", "@previous", "@retired"
"""Endings of the names that move."""
SHORTEST_DIGEST = 8


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A variant's place in the stock of its task."""

    number: int
    name: str
    """`task@v7`: set once, never moved."""
    digest: str


def register(ledger: Ledger, variant: Variant) -> Version:
    """Take a variant into stock; the same variant always gets the same version.

    Raises:
        AskError: the task's name is none.
    """
    (version,) = register_many(ledger, [variant])
    return version


def register_many(ledger: Ledger, variants: Sequence[Variant]) -> list[Version]:
    """Take variants into stock together, in their order; parallel registrations get different numbers."""
    for variant in variants:
        check_task(variant.task)
    ledger.put_many(variants)
    tasks = dict.fromkeys(variant.task for variant in variants)
    found = {
        (task, version.digest): version
        for task in tasks
        for version in _number(ledger, task, list(dict.fromkeys(v.digest for v in variants if v.task == task)))
    }
    return [found[variant.task, variant.digest] for variant in variants]


def _number(ledger: Ledger, task: str, digests: Sequence[str]) -> list[Version]:
    """Versions of one task for digests that are in the ledger.

    Numbers are taken by compare-and-set on names that stand nowhere yet. Who loses a race looks again; each loss
    means that somebody else has won, so this ends.
    """
    number = 1
    while True:
        have = {digest: version for digest in digests if (version := _version_of(ledger, task, digest))}
        fresh = [digest for digest in digests if digest not in have]
        number = _first_free(ledger, task, number) if fresh else number
        have |= {digest: Version(n, f"{task}@v{n}", digest) for n, digest in enumerate(fresh, start=number)}
        changes = [Change(have[digest].name, digest, None) for digest in fresh]
        try:
            if changes:
                ledger.move_many(changes, decision="")
        except ConflictError:
            continue
        return [have[digest] for digest in digests]


def _version_of(ledger: Ledger, task: str, digest: str) -> Version | None:
    found = [v for pointer in ledger.named(digest) if (v := as_version(pointer)) and _task_of(v.name) == task]
    return min(found, default=None)


def _first_free(ledger: Ledger, task: str, low: int) -> int:
    """The first number that no version has, none below `low` being free: there are no holes, so bisection finds it."""
    if ledger.resolve(f"{task}@v{low}") is None:
        return low
    high = low * 2
    while ledger.resolve(f"{task}@v{high}"):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if ledger.resolve(f"{task}@v{middle}") else (low, middle)
    return high


def as_version(pointer: Pointer) -> Version | None:
    """The version that a pointer is; None for one that moves."""
    match = re.fullmatch(r"[^@]+@v([1-9][0-9]*)", pointer.name)
    return Version(int(match[1]), pointer.name, pointer.digest) if match else None


def versions(ledger: Ledger, task: str, *, limit: int = 100_000) -> list[Version]:
    """All versions of a task, oldest first."""
    pointers = ledger.pointers(f"{check_task(task)}@v", limit=limit)
    return sorted(version for pointer in pointers if (version := as_version(pointer)))


def resolve(ledger: Ledger, handle: str) -> Pointer:
    """What `task` (its live variant), `task@live`, `task@previous`, `task@v7` or `task@3fa94c11…` stands at.

    Raises:
        NotFoundError: no such name; the names of the task, or the tasks, that there are get listed.
        AskError: it is no name, or a digest that several variants of the task begin with.
    """
    task, at, place = handle.partition("@")
    check_task(task)
    name = handle if at else task + LIVE
    if (found := ledger.resolve(name)) is not None:
        return found
    known = ledger.pointers(f"{task}@")
    if len(place) >= SHORTEST_DIGEST and (hits := _beginning(known, place)):
        if len({hit.digest for hit in hits}) > 1:
            raise AskError(f"Several variants of '{task}' begin with '{place}': give more of the digest.", param="name")
        return hits[0]
    if known:
        raise unknown("version", name, (pointer.name for pointer in known), code="version_not_found")
    raise unknown("task", task, task_names(ledger), code="task_not_found")


def _beginning(pointers: Sequence[Pointer], digest: str) -> list[Pointer]:
    return [pointer for pointer in pointers if pointer.digest.startswith(digest) and as_version(pointer)]


def task_names(ledger: Ledger) -> list[str]:
    """Every task that has a variant in stock, live, or retired; by name."""
    return sorted({_task_of(pointer.name) for pointer in ledger.pointers(limit=1_000_000)})


def is_retired(ledger: Ledger, task: str) -> bool:
    """Whether a task has been retired, and not been restored since."""
    return ledger.resolve(task + RETIRED) is not None


def search(ledger: Ledger, *, limit: int = 100, **fields: str) -> list[Variant]:
    """Variants whose fields have these values (task, recipe, base, title, data), newest first.

    Raises:
        NotFoundError: variants are not searched by such a field; the known ones are listed.
    """
    return ledger.find(Variant, limit=limit, **fields)


def check_task(task: str) -> str:
    """The name of a task, if it is one.

    Raises:
        AskError: it is none. Names end up in URLs, headers and paths, so they hold nothing that means more there.
    """
    if not NAME.fullmatch(task):
        raise AskError(
            f"'{task[:60]}' is no name of a task: 1 to 128 of a-z, 0-9, '.', '_' and '-', first a letter or digit.",
            param="task",
            code="bad_name",
        )
    return task


def _task_of(name: str) -> str:
    return name.partition("@")[0]
