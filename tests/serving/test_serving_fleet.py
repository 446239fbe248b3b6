"""The fleet: one pass a base for mixed variants, loading on first use, calibration, blends, the cache's hook."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_house import TEXTS, House, write_blend, write_calibration, write_head

from sartor.core.calibration import Calibration
from sartor.core.errors import SartorError, StoreError
from sartor.serving.engine import Scored
from sartor.serving.fleet import calibrated


@pytest.fixture
def stocked(house: House, static_base: Path, tiny_linear: Any, tmp_path: Path) -> tuple[House, list[str]]:
    """Two heads on one base, a linear variant, and a blend of a head and the linear one."""
    base = house.base("b" * 64, static_base)
    heads = [house.add("static", write_head(tmp_path / f"h{i}", seed=i), parents={"base": base}) for i in (1, 2)]
    linear = house.add("linear", tiny_linear.folder)
    mixed = write_blend(tmp_path / "mix", [0.6, 0.4], "probability")
    return house, [*heads, linear, house.add("blend", mixed, parents={"first": heads[0], "second": linear})]


def test_mixed_variants_answer_as_each_alone_in_order(stocked: tuple[House, list[str]]) -> None:
    house, variants = stocked
    work = [(variants[i % 4], text) for i, text in enumerate(TEXTS * 3)]
    mixed = house.fleet().probabilities(work)
    alone = house.fleet()
    for pair, answered in zip(work, mixed, strict=True):
        (one,) = alone.probabilities([pair])
        np.testing.assert_allclose(answered.probabilities, one.probabilities, atol=1e-5)
        assert answered.probabilities.sum() == pytest.approx(1.0)
        assert answered.out_of_scope == pytest.approx(one.out_of_scope, abs=1e-3)
        assert answered.cpu_seconds > 0
    assert house.fleet().probabilities([]) == []


def test_a_blend_is_the_calibrated_mix_of_its_calibrated_parts(stocked: tuple[House, list[str]]) -> None:
    house, (first, _, second, blend) = stocked
    one, two, both = house.fleet().probabilities([(v, "my card") for v in (first, second, blend)])
    np.testing.assert_allclose(both.probabilities, 0.6 * one.probabilities + 0.4 * two.probabilities, atol=1e-9)


def test_loads_on_first_use_once_and_one_base_for_all_heads(stocked: tuple[House, list[str]]) -> None:
    house, variants = stocked
    fleet = house.fleet()
    assert house.asked == []
    barrier = threading.Barrier(8)
    failures: list[BaseException] = []

    def ask() -> None:
        barrier.wait()
        try:
            assert len(fleet.probabilities([(v, TEXTS[0]) for v in variants])) == 4
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(house.asked) == sorted([*variants, "b" * 64])


def test_dropped_variants_load_again(stocked: tuple[House, list[str]]) -> None:
    house, variants = stocked
    fleet = house.fleet()
    fleet.load(variants[0])
    fleet.drop(variants[0])
    fleet.drop("never held")
    assert len(fleet.probabilities([(variants[0], "card")])) == 1
    assert house.asked.count(variants[0]) == 2
    assert house.asked.count("b" * 64) == 1


def test_the_embedding_cache_stands_before_frozen_bases_only(stocked: tuple[House, list[str]]) -> None:
    house, variants = stocked
    kept: dict[tuple[str, str], Any] = {}
    computed: list[str] = []

    def cache(base: str, texts: list[str], compute: Any) -> Any:
        new = [text for text in dict.fromkeys(texts) if (base, text) not in kept]
        computed.extend(new)
        kept.update({(base, text): vector for text, vector in zip(new, compute(new), strict=True)})
        return np.stack([kept[base, text] for text in texts])

    fleet = house.fleet(embed_cache=cache)
    work = [(v, text) for v in variants for text in TEXTS]
    with_cache = fleet.probabilities(work)
    assert sorted(computed) == sorted(TEXTS)
    for one, two in zip(with_cache, house.fleet().probabilities(work), strict=True):
        np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-6)


numbers = st.floats(-50, 50)


@given(
    st.lists(st.tuples(st.lists(numbers, min_size=2, max_size=4), numbers | st.none(), st.booleans()), max_size=8),
    st.floats(0.01, 20),
)
def test_many_calibrations_at_once_are_each_calibration_alone(
    rows: Sequence[tuple[list[float], float | None, bool]], temperature: float
) -> None:
    scored = [Scored(np.array(logits, dtype=np.float32), novelty) for logits, novelty, _ in rows]
    each = [
        Calibration(temperature=temperature + i, energy=(-i, 1 + i), novelty=(0.3, 0.1 + i) if knows else None)
        for i, (_, _, knows) in enumerate(rows)
    ]
    found = calibrated(scored, each)
    assert len(found) == len(rows)
    for result, score, calibration in zip(found, scored, each, strict=True):
        np.testing.assert_allclose(result.probabilities, calibration.probabilities(score.logits), atol=1e-12)
        wanted = float(calibration.out_of_scope(score.logits, score.novelty))
        assert result.out_of_scope == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_what_cannot_be_loaded_says_so_and_leaves_the_rest(stocked: tuple[House, list[str]], tmp_path: Path) -> None:
    house, variants = stocked
    bad = write_head(tmp_path / "bad")
    (bad / "calibration.json").write_text(json.dumps({"temperature": 0}))
    broken = house.add("static", bad, parents={"base": "b" * 64})
    fleet = house.fleet()
    with pytest.raises(StoreError, match="calibration"):
        fleet.load(broken)
    write_calibration(bad, novelty=[0.5, 0.2])
    assert len(fleet.probabilities([(broken, "card"), (variants[0], "card")])) == 2


def test_a_blend_with_a_missing_or_foreign_part_is_refused(house: House, tiny_linear: Any, tmp_path: Path) -> None:
    linear = house.add("linear", tiny_linear.folder)
    folder = write_blend(tmp_path / "mix", [0.6, 0.4], "probability")
    with pytest.raises(StoreError, match="'second' that is none of its parents"):
        house.fleet().load(house.add("blend", folder, parents={"first": linear}))
    foreign = house.variants[linear].model_copy(update={"labels": ("x", "y"), "name": "foreign"})
    house.variants["f" * 64], house.folders["f" * 64] = foreign, tiny_linear.folder
    with pytest.raises(SartorError, match="other labels"):
        house.fleet().load(house.add("blend", folder, parents={"first": linear, "second": "f" * 64}))
