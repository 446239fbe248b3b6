"""`sartor key` and what administrators do on the command line: the same verbs, and all of it written down."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sartor.core.errors import AskError, NotFoundError, SartorError, StoreError
from sartor.interfaces.cli.main import app
from sartor.store.credentials import id_in
from sartor.store.opening import open_store

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process and gives its JSON."""
    monkeypatch.setenv("SARTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SARTOR_KEY", str(tmp_path / "signing.key"))
    monkeypatch.setenv("SARTOR_WHO", "Kim")
    for name in ("OMP_NUM_THREADS", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")

    def command(*arguments: str, plain: bool = False) -> Any:
        app(args=[*([] if plain else ["--json"]), *arguments], prog_name="sartor", standalone_mode=False)
        said = capsys.readouterr().out
        return said if plain else json.loads(said)

    return command


def test_a_key_from_its_making_to_its_end(run: Run) -> None:
    made = run(
        "key", "create", "--role", "viewer", "--tenant", "acme", "--scope", "desk*", "--limit", "money_per_day=2.5"
    )
    assert id_in(made["key"]) == made["id"]
    assert (made["role"], made["tenant"], made["scope"], made["limits"]) == (
        "viewer",
        "acme",
        ["desk*"],
        {"money_per_day": 2.5},
    )
    shown = run("key", "show", made["id"])
    assert shown == {name: value for name, value in made.items() if name != "key"} | {"used": {}}
    new = run("key", "rotate", made["id"], "--overlap", "3")
    assert new["replaces"] == made["id"]
    assert run("key", "revoke", made["id"])["state"] == "revoked"
    assert {key["id"]: key["state"] for key in run("key", "list")} == {made["id"]: "revoked", new["id"]: "active"}
    assert run("key", "list", "--tenant", "other") == []
    assert made["key"].split("_")[2] not in json.dumps([run("key", "list"), run("key", "audit")])


def test_people_see_the_key_once_and_tables(run: Run) -> None:
    said = run("key", "create", "--label", "for the shop", plain=True)
    first, second = said.strip().split("\n")[:2]
    ident = id_in(first.strip())
    assert ident is not None
    assert "shown this once" in second
    assert "for the shop" in run("key", "list", plain=True)
    assert "never" in run("key", "list", plain=True)
    assert "key.create" in run("key", "audit", plain=True)
    assert "as they were written" in run("key", "audit", "--verify", plain=True)
    run("key", "tenant", "set", "acme", "--limit", "requests_per_minute=5")
    assert "requests_per_minute 5" in run("key", "tenant", "list", plain=True)
    assert "acme" in run("key", "tenant", "show", "acme", plain=True)
    assert ident in run("key", "show", ident, plain=True)


def test_what_is_wrong_is_said(run: Run) -> None:
    for wrong, says in (
        (("--role", "boss"), "Known: admin"),
        (("--limit", "money_per_day"), "write NAME=NUMBER"),
        (("--limit", "euros=5"), "Names: requests_per_minute"),
        (("--limit", "money_per_day=-5"), "above 0"),
        (("--tenant", "A B"), "can't be called"),
        (("--scope", "A B"), "to be in a scope"),
    ):
        with pytest.raises((AskError, NotFoundError), match=says):
            run("key", "create", *wrong)
    with pytest.raises(NotFoundError, match="There is no key 'nope'"):
        run("key", "show", "nope")


def test_what_administrators_do_is_written_down(run: Run, tmp_path: Path) -> None:
    upstream = ("upstream", "set", "giant", "--url", "https://8.8.8.8/v1", "--price", "1/2/EUR")
    run(*upstream)
    run("route", "set", "desk", "--to", "giant")
    for failing in (
        ("route", "set", "desk", "--to", "nowhere"),
        ("registry", "rollback", "desk"),
        ("route", "live", "desk"),
    ):
        with pytest.raises(SartorError):
            run(*failing)
    run("route", "remove", "desk", "--why", "done")
    told = [(line["action"], line["target"], line["outcome"]) for line in reversed(run("key", "audit"))]
    assert told[1::2] == [
        ("upstream.set", "giant", "done"),
        ("route.set", "desk", "done"),
        ("route.set", "desk", "target_not_found"),
        ("registry.rollback", "desk", "task_not_found"),
        ("route.live", "desk", "error"),
        ("route.remove", "desk", "done"),
    ]
    assert {outcome for _, _, outcome in told[::2]} == {"begun"}
    assert {line["who"] for line in run("key", "audit")} == {"Kim"}
    from sqlalchemy import text

    store = open_store(tmp_path / "home")
    with store.ledger.database.write() as connection:
        connection.execute(text("DROP TRIGGER audit_update"))
        connection.execute(text("UPDATE audit SET who = 'Sam' WHERE seq = 4"))
    store.close()
    with pytest.raises(StoreError, match="line 4"):
        run("key", "audit", "--verify")
