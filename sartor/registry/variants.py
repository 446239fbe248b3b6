"""The stock of variants: each gets a version of its task, once, and is found by version, digest or field.

Knows nothing of what is live (`releases`), of files, or of how variants are made.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from sartor.core.errors import AskError, ConflictError, unknown
from sartor.core.records import Variant
from sartor.core.task import NAME
from sartor.store.ledger import Change, Ledger, Pointer

LIVE, PREVIOUS, RETIRED = "@live", "@previous", "@retired"
"""Endings of the names that move."""
PRIOR = "@prior"
"""Ending of the name that today's shares of labels stand at."""
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
    """Take variants into stock together, all or none, in their order; the same variant always gets the same version.

    Numbers are taken by compare-and-set on names that stand nowhere yet, in the transaction that stores the variants:
    parallel registrations get different numbers. Who loses a race looks again; each loss means that somebody else
    has won, so this ends.
    """
    stock = {(check_task(variant.task), variant.digest): variant for variant in variants}
    have = _versions_of(ledger, stock)
    while fresh := [key for key in stock if key not in have]:
        changes = [Change(version.name, version.digest, None) for version in _next_versions(ledger, fresh)]
        with suppress(ConflictError):
            ledger.move_many(changes, decision="", items=[stock[key] for key in fresh])
        have = _versions_of(ledger, stock)
    return [have[variant.task, variant.digest] for variant in variants]


Key = tuple[str, str]
"""Task and digest: one variant may be in the stock of several tasks."""


def _versions_of(ledger: Ledger, keys: Collection[Key]) -> dict[Key, Version]:
    """The versions of those that have one."""
    pointers = ledger.named(*(digest for _, digest in keys))
    versions = [version for pointer in pointers if (version := as_version(pointer))]
    return {(task_of(version.name), version.digest): version for version in versions}


def _next_versions(ledger: Ledger, keys: Sequence[Key]) -> list[Version]:
    """The numbers that come next in each task."""
    free = {task: count(_first_free(ledger, task)) for task in {task for task, _ in keys}}
    numbered = [(task, next(free[task]), digest) for task, digest in keys]
    return [Version(number, f"{task}@v{number}", digest) for task, number, digest in numbered]


def _first_free(ledger: Ledger, task: str) -> int:
    """The first number that no version has: there are no holes, so bisection finds it."""
    low, high = 0, 1
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
    return list(_task_names(ledger))


def _task_names(ledger: Ledger) -> Iterator[str]:
    """Leap from the first name of a task to the first of the next, however many versions lie between."""
    behind = ""
    while found := ledger.pointers(after=behind, limit=1):
        task = task_of(found[0].name)
        # Routes and upstreams have pointers of their own; a task is what has a first version.
        if ledger.resolve(f"{task}@v1"):
            yield task
        behind = f"{task}@\U0010ffff"


def is_registered(ledger: Ledger, task: str, digest: str) -> bool:
    """Whether the variant is in the stock of the task."""
    return bool(_versions_of(ledger, [(task, digest)]))


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


def task_of(name: str) -> str:
    """The task that a pointer's name belongs to."""
    return name.partition("@")[0]
