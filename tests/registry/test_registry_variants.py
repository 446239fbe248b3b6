"""Versions: given once, never twice, whoever asks and however many at once; found by name, digest and field."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from registry_stock import variant

from sartor.core.errors import AskError, NotFoundError
from sartor.registry.variants import register, register_many, resolve, search, task_names, versions
from sartor.store.opening import Store, open_store


def test_the_same_variant_always_has_the_same_version(store: Store) -> None:
    first, second = register(store.ledger, variant(1)), register(store.ledger, variant(2))
    assert (first.name, second.name) == ("support@v1", "support@v2")
    assert register(store.ledger, variant(1)) == first
    assert versions(store.ledger, "support") == [first, second]
    assert len(store.ledger.moves("support@v1")) == 1


def test_versions_are_counted_for_each_task_and_sorted_as_numbers(store: Store) -> None:
    made = [variant(seed) for seed in range(23)] + [variant(0, task="other")]
    given = register_many(store.ledger, made)
    assert [v.name for v in given[:23]] == [f"support@v{n}" for n in range(1, 24)]
    assert given[23].name == "other@v1"
    assert [v.number for v in versions(store.ledger, "support")] == list(range(1, 24))
    assert register(store.ledger, variant(99)).number == 24
    assert task_names(store.ledger) == ["other", "support"]


def test_a_batch_may_hold_known_variants_and_the_same_one_twice(store: Store) -> None:
    register(store.ledger, variant(1))
    given = register_many(store.ledger, [variant(2), variant(1), variant(2)])
    assert [v.number for v in given] == [2, 1, 2]


def test_threads_that_register_at_once_get_all_numbers_once(store: Store) -> None:
    barrier = threading.Barrier(8)

    def work(thread: int) -> list[int]:
        barrier.wait()
        return [register(store.ledger, variant(thread * 10 + i)).number for i in range(5)]

    with ThreadPoolExecutor(8) as pool:
        numbers = [n for given in pool.map(work, range(8)) for n in given]
    assert sorted(numbers) == list(range(1, 41))


WRITER = """
import sys; from pathlib import Path
sys.path.insert(0, sys.argv[3])
from registry_stock import variant
from sartor.registry.variants import register
from sartor.store.opening import open_store
store = open_store(Path(sys.argv[1]))
for seed in range(10):  # two processes, the same ten variants
    register(store.ledger, variant(seed))
print([v.number for v in (register(store.ledger, variant(seed)) for seed in range(10))])
assert "torch" not in sys.modules
"""


def test_processes_that_register_the_same_variants_agree(store: Store) -> None:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", WRITER, str(store.root), "", here]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [writer.communicate()[0] for writer in writers]
    assert answers[0] == answers[1] != ""
    assert [v.number for v in versions(store.ledger, "support")] == list(range(1, 11))


def test_a_name_or_a_digest_leads_to_the_variant(store: Store) -> None:
    version = register(store.ledger, variant(1))
    for handle in ("support@v1", f"support@{version.digest}", f"support@{version.digest[:8]}"):
        assert resolve(store.ledger, handle).digest == version.digest
    store.ledger.point("support@live", version.digest, expected=None, decision="")
    assert resolve(store.ledger, "support").digest == version.digest


def test_an_unknown_name_lists_the_known_ones(store: Store) -> None:
    register(store.ledger, variant(1))
    with pytest.raises(NotFoundError, match=r"Did you mean 'support@v1'"):
        resolve(store.ledger, "support@v11")
    with pytest.raises(NotFoundError, match="Known: support"):
        resolve(store.ledger, "supprot")
    for bad in ("../x", "Support", "a b", "", "x/y", "a\n"):
        with pytest.raises(AskError, match="no name of a task"):
            resolve(store.ledger, bad)
        with pytest.raises(AskError, match="no name of a task"):
            register(store.ledger, variant(1, task=bad))


def test_variants_are_found_by_their_fields(store: Store) -> None:
    register_many(store.ledger, [variant(1), variant(2, recipe="tune"), variant(3, task="other")])
    assert [v.seed for v in search(store.ledger, task="support", recipe="tune", base="tiny")] == [2]
    assert [v.seed for v in search(store.ledger, base="tiny")] == [3, 2, 1]
    with pytest.raises(NotFoundError, match="Known: base, data, recipe, task, title"):
        search(store.ledger, seed="1")


def test_versions_outlive_the_process(store: Store) -> None:
    register(store.ledger, variant(1))
    store.close()
    again = open_store(store.root)
    assert register(again.ledger, variant(2)).number == 2
    again.close()
