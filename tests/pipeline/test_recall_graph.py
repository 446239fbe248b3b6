"""What descends from something is exact: against an oracle that reads every record and every row by itself."""

from pathlib import Path

import pytest
from recall_house import BAD, filled

from benchmarks._oracle import descendants
from sartor.core.errors import AskError, NotFoundError
from sartor.core.licence import Licence
from sartor.core.records import Base, Variant
from sartor.pipeline.recall_plan import plan
from sartor.pipeline.workshop import Workshop
from sartor.registry.impact import impact
from sartor.store.opening import open_store


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    shop = filled(tmp_path_factory.mktemp("recall"))
    yield shop
    shop.store.close()


def test_a_source_is_found_in_everything_made_of_it(full: Workshop) -> None:
    found = plan(full, "source", "bad.csv")
    oracle = descendants(full.store.root, lambda row: row["source"] == BAD)
    assert set(found.found.records) == set(oracle)
    assert {v.task for v in found.found.variants.values()} == {"later", "always"}
    assert found.routes == ("always", "later")
    assert {move.task: move.how for move in found.moves.tasks} == {"always": "retired", "later": "clean"}


def test_a_source_in_everything_is_found_in_everything(full: Workshop) -> None:
    found = plan(full, "source", "csv:a.csv")
    assert set(found.found.records) == set(descendants(full.store.root, lambda row: row["source"] == "csv:a.csv"))
    assert {move.how for move in found.moves.tasks} == {"retired"}


def test_a_row_is_found_by_its_id_in_every_split_and_in_quarantine(full: Workshop) -> None:
    from sartor.data.snapshot import read_snapshot

    dataset = next(iter(plan(full, "source", "bad.csv").found.datasets.values()))
    row = read_snapshot(full.store.folder(dataset)).splits["test"][0]
    found = plan(full, "row", row.id)
    oracle = descendants(full.store.root, lambda other: other["id"] == row.id)
    assert set(found.found.records) == set(oracle)


def test_a_licence_is_found_in_data_sets_and_what_carries_it(full: Workshop) -> None:
    found = plan(full, "licence", "CC0-1.0")
    carry = {v.digest for v in full.store.ledger.find(Variant) if "CC0-1.0" in v.licence.names}
    assert set(found.found.variants) == carry
    assert len(carry) == 2


def test_a_variant_leads_to_its_reports_and_names(full: Workshop) -> None:
    found = plan(full, "variant", "later@v2")
    assert set(found.found.records) == set(descendants(full.store.root, lambda _: False, roots=set(found.begun.roots)))
    assert found.rebuilds == ()
    assert [pointer.name for pointer in found.found.live] == ["later@live"]


@pytest.mark.parametrize(
    ("kind", "value", "known"),
    [
        ("source", "bda.csv", "csv:bad.csv"),
        ("base", "minilm", "none"),
        ("licence", "GPL-3.0", "CC0-1.0"),
        ("row", "0000000000000000", "Known:"),
        ("dataset", "nothing", "later"),
        ("variant", "later@v9", "later@v2"),
        ("subject", "mallory", "0 people have rows"),
        ("sauce", "x", "source"),
    ],
)
def test_what_is_unknown_is_answered_with_what_is_known(full: Workshop, kind: str, value: str, known: str) -> None:
    with pytest.raises((NotFoundError, AskError), match=known):
        plan(full, kind, value)


def test_a_base_that_is_made_from_a_base_descends_from_it(tmp_path: Path) -> None:
    store = open_store(tmp_path / "home")
    licence = Licence.of("owned")
    one = Base(name="one", tier="small", engine="encoder", licence=licence)
    facts = {"home_kind": "Distilled", "home": {"base": "one", "dimension": 2}}
    two = Base(name="two", tier="small", engine="static", licence=licence, facts=facts)
    made = Variant(name="t/x", task="t", recipe="head", base="two", engine="static", labels=("a",), licence=licence,
                   parents={"base": two.digest})  # fmt: skip
    store.ledger.put_many([one, two, made])
    found = impact(store.ledger, [one.digest])
    assert set(found.records) == {one.digest, two.digest, made.digest}
    assert [edge.role for edge in found.path(made.digest)] == ["distilled", "base"]
    store.close()
