"""What is live moves by decisions only, all names together, and back."""

import subprocess
import sys

import pytest
from registry_stock import contract, decision, variant

from sartor.core.errors import AskError, ConflictError, NotFoundError, RefusedError
from sartor.core.records import Decision
from sartor.registry.releases import release, restore, retire, rollback, standing
from sartor.registry.variants import is_retired, register, versions
from sartor.store.opening import Store

ONE, TWO, THREE = variant(1), variant(2), variant(3)


def released(store: Store) -> None:
    """ONE, then TWO, released."""
    for item in (ONE, TWO):
        register(store.ledger, item)
        release(store.ledger, decision(item))


def test_a_release_moves_live_and_previous_and_keeps_its_decision(store: Store) -> None:
    released(store)
    stands = standing(store.ledger, "support")
    assert (stands.live, stands.previous, stands.retired) == (TWO.digest, ONE.digest, None)
    kept = store.ledger.get(store.ledger.resolve("support@live").decision)
    assert isinstance(kept, Decision)
    assert kept.candidate == TWO.digest


def test_repeating_a_release_changes_nothing(store: Store) -> None:
    released(store)
    assert release(store.ledger, decision(TWO)).previous == ONE.digest
    assert len(store.ledger.moves("support@live")) == 2


@pytest.mark.parametrize("verdict", ["hold", "need_data"])
def test_what_was_not_judged_good_is_refused_and_nothing_moves(store: Store, verdict: str) -> None:
    released(store)
    register(store.ledger, THREE)
    with pytest.raises(RefusedError, match=f"verdict is {verdict} \\(it saves money\\)") as refused:
        release(store.ledger, decision(THREE, verdict=verdict))
    assert refused.value.exit_code == 7
    assert standing(store.ledger, "support").live == TWO.digest
    assert store.ledger.count(Decision) == 2


def test_a_decision_against_what_is_no_longer_live_is_refused(store: Store) -> None:
    released(store)
    register(store.ledger, THREE)
    with pytest.raises(ConflictError, match="Decide again"):
        release(store.ledger, decision(THREE, incumbent=ONE.digest))
    assert release(store.ledger, decision(THREE, incumbent=TWO.digest)).previous == TWO.digest


def test_only_a_registered_variant_of_the_task_is_released(store: Store) -> None:
    store.ledger.put(ONE)
    with pytest.raises(NotFoundError, match="Register it first"):
        release(store.ledger, decision(ONE))


def test_rollback_is_one_transaction_and_can_be_taken_back(store: Store) -> None:
    released(store)
    stands = rollback(store.ledger, decision(ONE, "rollback", reasons=("it was slow",)))
    assert stands == standing(store.ledger, "support")
    assert (stands.live, stands.previous) == (ONE.digest, TWO.digest)
    moves = [store.ledger.moves(f"support@{name}")[-1] for name in ("live", "previous")]
    assert moves[0].moved == moves[1].moved
    assert moves[0].decision == moves[1].decision
    assert rollback(store.ledger, decision(TWO, "rollback")).live == TWO.digest


def test_a_retired_task_vanishes_from_serving_only_and_comes_back(store: Store) -> None:
    released(store)
    assert retire(store.ledger, decision(TWO, "retire")).live is None
    assert is_retired(store.ledger, "support")
    assert [v.digest for v in versions(store.ledger, "support")] == [ONE.digest, TWO.digest]
    register(store.ledger, THREE)
    with pytest.raises(RefusedError, match="Restore it first"):
        release(store.ledger, decision(THREE))
    stands = restore(store.ledger, decision(TWO, "restore"))
    assert (stands.live, stands.previous, stands.retired) == (TWO.digest, ONE.digest, None)
    assert [move.digest for move in store.ledger.moves("support@live")] == [ONE.digest, TWO.digest, None, TWO.digest]


def test_there_must_be_something_to_move(store: Store) -> None:
    register(store.ledger, ONE)
    with pytest.raises(NotFoundError, match="Nothing is live"):
        rollback(store.ledger, decision(ONE, "rollback"))
    with pytest.raises(NotFoundError, match="Nothing is live"):
        retire(store.ledger, decision(ONE, "retire"))
    with pytest.raises(AskError, match="not retired"):
        restore(store.ledger, decision(ONE, "restore"))
    with pytest.raises(AskError, match="where one to release is needed"):
        release(store.ledger, decision(ONE, "retire"))


ROLLBACK = """
import sys
for heavy in ("torch", "transformers", "sklearn", "scipy", "pyarrow", "ray"):
    sys.modules[heavy] = None  # as if it were not installed
from pathlib import Path
from sartor.core.records import Decision
from sartor.registry.releases import rollback
from sartor.store.opening import open_store
store = open_store(Path(sys.argv[1]))
print(rollback(store.ledger, Decision.model_validate_json(sys.argv[2])).live)
"""


def test_rollback_works_without_the_training_stack(store: Store) -> None:
    released(store)
    body = decision(ONE, "rollback", contract=contract().digest).model_dump_json()
    done = subprocess.run(
        [sys.executable, "-c", ROLLBACK, str(store.root), body], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ONE.digest
