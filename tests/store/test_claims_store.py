"""Who has which rows before them: never two by mistake, and nobody for ever."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sartor.store.claims import Claims
from sartor.store.opening import open_store


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def claims(request: pytest.FixtureRequest, tmp_path: Path) -> Claims:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    store = open_store(tmp_path / "store", ledger_url=url)
    yield Claims(store.ledger.database)
    store.close()


def test_two_people_get_different_rows_and_keep_their_own(claims: Claims) -> None:
    items = ["a", "b", "c", "d"]
    assert claims.take("desk", items, "anna", until=20, now=10, size=2) == ["a", "b"]
    assert claims.take("desk", items, "ben", until=20, now=10, size=3) == ["c", "d"]
    assert claims.take("desk", items, "anna", until=30, now=11, size=4) == ["a", "b"]
    assert claims.take("other", items, "ben", until=20, now=10, size=4) == items
    assert claims.held("desk", now=12) == {"a": {"anna"}, "b": {"anna"}, "c": {"ben"}, "d": {"ben"}}


def test_claims_lapse_and_are_let_go(claims: Claims) -> None:
    claims.take("desk", ["a", "b"], "anna", until=20, now=10, size=2)
    assert claims.take("desk", ["a", "b"], "ben", until=40, now=20, size=2) == ["a", "b"]
    assert claims.held("desk", now=20) == {"a": {"ben"}, "b": {"ben"}}
    claims.release("desk", "ben", ["a"])
    assert claims.held("desk", now=20) == {"b": {"ben"}}
    claims.release("desk", "ben", [])
    claims.release("desk", "ben")
    assert claims.held("desk", now=20) == {}


def test_a_row_for_two(claims: Claims) -> None:
    for who in ("anna", "ben", "cleo"):
        got = claims.take("desk", ["a"], who, until=20, now=10, size=1, most=2)
        assert got == ([] if who == "cleo" else ["a"])


def test_many_who_ask_at_once_share_nothing(claims: Claims) -> None:
    items = [f"row {i}" for i in range(60)]

    def ask(number: int) -> list[str]:
        return claims.take("desk", items, f"p{number}", until=20, now=10, size=10)

    with ThreadPoolExecutor(4) as pool:
        got = [item for taken in pool.map(ask, range(6)) for item in taken]
    assert sorted(got) == sorted(items)
