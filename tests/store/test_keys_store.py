"""Keys, tenants and the audit log in the store, on both databases: kept apart by tenant, never shown or rewritten."""

import json
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sartor.core.errors import ConflictError, NotFoundError, StoreError
from sartor.core.records import Variant
from sartor.store.allowances import Allowances
from sartor.store.audit import Audit, Deed
from sartor.store.backup import backup, restore
from sartor.store.credentials import AccessKey, Tenant, hide_keys, id_in, mark_of, new_text
from sartor.store.keys import Keys
from sartor.store.ledger import Ledger
from sartor.store.migrate import revision
from sartor.store.opening import Store, open_store
from sartor.store.schema import REVISION
from sartor.store.shares import Want

SPITE = [
    "' OR '1'='1",
    "x'; DROP TABLE access_key; --",
    '" OR 1=1 --',
    "%",
    "_",
    "*' OR tenant <> '",
    "\\",
    "a'||'b",
    "💣",
]


def key(number: int = 1, **changes: Any) -> AccessKey:
    ident, said = new_text()
    return replace(AccessKey(ident, mark_of(said), "acme", "application", label=f"key {number}"), **changes)


def test_a_key_is_kept_without_its_secret(ledger: Ledger) -> None:
    keys = Keys(ledger.database)
    ident, said = new_text()
    kept = AccessKey(ident, mark_of(said), "acme", "viewer", ("desk*",), {"money_per_day": 2.5}, "x", 1.0, "me", 9.0)
    keys.add(kept)
    assert keys.get(ident, "acme") == kept
    with ledger.database.read() as connection:
        row = str(connection.execute(text("SELECT * FROM access_key")).one())
    assert said.split("_")[2] not in row
    assert mark_of(said) in row
    assert "mark" not in kept.body(0.0)
    assert (kept.state(8.9), kept.state(9.0), replace(kept, revoked=1.0).state(0.0)) == ("active", "expired", "revoked")


def test_the_text_of_a_key_tells_its_id_and_typing_errors() -> None:
    ident, said = new_text()
    assert id_in(said) == ident
    assert len({new_text()[1] for _ in range(100)}) == 100
    assert re.fullmatch(r"sartor_[0-9a-f]{12}_[0-9a-f]{64}_[0-9a-f]{8}", said)
    for place in range(len(said)):
        other = said[:place] + ("0" if said[place] != "0" else "1") + said[place + 1 :]
        assert id_in(other) is None, other
    for wrong in ("", "x", said + "\n", " " + said, said.upper(), "sk-" + said, *SPITE):
        assert id_in(wrong) is None
    assert hide_keys(f"sent {said}, and {said[:40]}.") == f"sent sartor_{ident}_…, and sartor_{ident}_…."


def test_every_read_takes_the_tenant_that_asks(ledger: Ledger) -> None:
    keys = Keys(ledger.database)
    ours, theirs = key(tenant="acme"), key(tenant="other")
    for item in (ours, theirs):
        keys.add(item)
    assert [k.id for k in keys.all("acme")] == [ours.id]
    assert {k.id for k in keys.all("*")} == {ours.id, theirs.id}
    assert [t.name for t in keys.tenants("acme")] == ["acme"]
    assert keys.get(theirs.id, "*") == theirs
    for act in (
        lambda: keys.get(theirs.id, "acme"),
        lambda: keys.revoke(theirs.id, "acme", 1.0),
        lambda: keys.tenant("other", "acme"),
    ):
        with pytest.raises(NotFoundError) as caught:
            act()
        assert theirs.id not in caught.value.message.partition("Known")[2]
    assert keys.get(theirs.id, "*").revoked is None


@pytest.mark.parametrize("spite", SPITE)
def test_what_is_asked_for_is_never_read_as_sql(ledger: Ledger, spite: str) -> None:
    keys = Keys(ledger.database)
    mine = key(tenant="acme")
    keys.add(mine)
    with pytest.raises(NotFoundError):
        keys.get(spite, "acme")
    with pytest.raises(NotFoundError):
        keys.get(mine.id, spite)
    assert keys.all(spite) == keys.tenants(spite) == Audit(ledger.database).lines(spite) == []
    odd = key(tenant=spite, label=spite, created_by=spite, scope=(spite,))
    keys.add(odd)
    assert keys.get(odd.id, spite) == odd
    assert len(keys.all("*")) == 2


def test_whatever_changes_a_key_or_a_pointer_is_told_by_one_number(
    ledger: Ledger, make: Callable[..., Variant]
) -> None:
    keys, seen = Keys(ledger.database), [ledger.revision()]

    def moved() -> bool:
        seen.append(ledger.revision())
        return seen[-1] > seen[-2]

    first = key()
    keys.add(first)
    assert moved()
    keys.revoke(first.id, "acme", 5.0)
    assert moved()
    keys.revoke(first.id, "acme", 6.0)
    assert not moved()
    assert keys.get(first.id, "acme").revoked == 5.0
    keys.set_tenant(Tenant("acme", {"money_per_day": 1.0}))
    assert moved()
    digest = ledger.put(make(1))
    assert not moved()
    ledger.point("triage@live", digest, expected=None, decision="")
    assert moved()
    with pytest.raises(ConflictError):
        ledger.point("triage@live", digest, expected=None, decision="")
    assert not moved()


def test_a_replaced_key_goes_on_for_a_while_and_only_once(ledger: Ledger) -> None:
    keys = Keys(ledger.database)
    old, ending = key(), key(expires=50.0)
    for item in (old, ending):
        keys.add(item)
    keys.replace(old, key(replaces=old.id), until=100.0)
    assert keys.get(old.id, "acme").expires == 100.0
    keys.replace(ending, key(replaces=ending.id), until=100.0)
    assert keys.get(ending.id, "acme").expires == 50.0
    with pytest.raises(ConflictError):
        keys.replace(old, key(), until=200.0)
    assert len(keys.everything().keys) == 4


def test_limits_of_a_tenant_can_be_changed_and_are_kept(ledger: Ledger) -> None:
    keys = Keys(ledger.database)
    keys.set_tenant(Tenant("acme", {"requests_per_minute": 5.0}, 1.0, "me"))
    keys.add(key(tenant="acme", created=2.0))
    assert keys.tenant("acme", "acme") == Tenant("acme", {"requests_per_minute": 5.0}, 1.0, "me")
    assert keys.set_tenant(Tenant("acme", {}, 9.0, "you")) == Tenant("acme", {}, 1.0, "me")


def deed(number: int, tenant: str = "acme") -> Deed:
    return Deed(float(number), "me", tenant, "key.create", f"key {number}", "done")


def test_the_audit_log_is_sealed_line_by_line_also_by_many_at_once(opener: Callable[..., Any]) -> None:
    logs = [Audit(opener().ledger.database) for _ in range(3)]
    threads = [threading.Thread(target=lambda log=log: [log.append(deed(n)) for n in range(5)]) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = logs[0]
    log.append(deed(99, "other"))
    assert log.verify() is None
    lines = log.lines("*")
    assert len(lines) == 16
    assert [line.before for line in lines[:-1]] == [line.hash for line in lines[1:]]
    assert {line.deed.tenant for line in log.lines("acme")} == {"acme"}
    assert [line.deed.at for line in log.lines("other")] == [99.0]
    below = lines[5].seq
    assert [line.seq for line in log.lines("*", below=below, limit=2)] == [line.seq for line in lines[6:8]]


def test_the_audit_log_refuses_changes_and_shows_those_that_were_forced(ledger: Ledger) -> None:
    log = Audit(ledger.database)
    for number in range(4):
        log.append(deed(number))
    for spite in ("UPDATE audit SET who = 'nobody' WHERE seq = 2", "DELETE FROM audit WHERE seq = 2"):
        with pytest.raises(StoreError, match="only ever added to"), ledger.database.write() as connection:
            connection.execute(text(spite))
    assert log.verify() is None
    off = (
        ("ALTER TABLE audit DISABLE TRIGGER ALL",)
        if ledger.database.dialect == "postgresql"
        else ("DROP TRIGGER audit_update", "DROP TRIGGER audit_delete")
    )
    with ledger.database.write() as connection:
        for statement in off:
            connection.execute(text(statement))
        connection.execute(text("UPDATE audit SET who = 'nobody' WHERE seq = 2"))
    found = log.verify()
    assert found is not None
    assert found.seq == 2
    with ledger.database.write() as connection:
        connection.execute(text("DELETE FROM audit WHERE seq = 2"))
    found = log.verify()
    assert found is not None
    assert found.seq == 3


def test_a_backup_brings_keys_tenants_and_the_audit_log_back(
    opener: Callable[..., Any], tmp_path: Path, postgres_url: str
) -> None:
    store = opener()
    keys, log = Keys(store.ledger.database), Audit(store.ledger.database)
    kept = key(scope=("desk*",), limits={"money_per_day": 2.0}, expires=5.0)
    keys.add(kept)
    keys.set_tenant(Tenant("acme", {"money_per_month": 9.0}, 1.0, "me"))
    for number in range(3):
        log.append(deed(number))
    Allowances(store.ledger.database).lease([Want("key:k", "money_per_day", 100, 60)], 1e9)
    backup(store, tmp_path / "backup")
    url = None if store.ledger.database.dialect == "postgresql" else postgres_url
    restore(tmp_path / "backup", tmp_path / "new", ledger_url=url)
    new = open_store(tmp_path / "new", ledger_url=url)
    database = new.ledger.database
    assert Keys(database).everything() == keys.everything()
    assert Allowances(database).used("key:k", 1e9) == {"money_per_day": 60}
    Audit(database).append(deed(9))
    assert Audit(database).verify() is None
    assert [line.deed.at for line in Audit(database).lines("*")] == [9.0, 2.0, 1.0, 0.0]
    new.close()
    with pytest.raises(ConflictError):
        restore(tmp_path / "backup", tmp_path / "new", ledger_url=url)


def test_a_backup_of_before_there_were_keys_is_restored(
    store: Store, make: Callable[..., Variant], tmp_path: Path
) -> None:
    digest = store.ledger.put(make(1))
    backup(store, tmp_path / "backup")
    path = tmp_path / "backup" / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in ("tenants", "keys", "allowances", "audit"):
        del manifest["tables"][name]
        (tmp_path / "backup" / f"{name}.jsonl").unlink()
    path.write_text(json.dumps(manifest))
    restore(tmp_path / "backup", tmp_path / "new")
    new = open_store(tmp_path / "new")
    assert new.ledger.get(digest).digest == digest
    assert Keys(new.ledger.database).everything().keys == ()
    new.close()


def test_a_store_of_before_there_were_keys_is_brought_up_and_takes_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(Path(__file__).parents[1] / "fixtures" / "store-0.1", home)
    store = open_store(home)
    assert revision(store.ledger.database) == REVISION != "0001"
    assert (home / "ledger.db.0001").exists()
    keys = Keys(store.ledger.database)
    assert keys.everything().keys == ()
    before = store.ledger.revision()
    keys.add(key())
    assert store.ledger.revision() == before + 1
    Audit(store.ledger.database).append(deed(1))
    store.close()
