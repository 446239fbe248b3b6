"""Access keys and tenants in the store. Every read takes the tenant that asks; a change tells workers to look again.

Knows no texts of keys: what is kept is their marks (`store.credentials`).
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, and_, select, true, update

from sartor.core.errors import ConflictError, unknown
from sartor.store.credentials import EVERY_TENANT, Access, AccessKey, Tenant
from sartor.store.engine import Database
from sartor.store.schema import access_key, tenant
from sartor.store.statements import BUMP


class Keys:
    """The tables of keys and tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def everything(self) -> Access:
        """All keys and tenants, for those who check keys. Not to be shown to anybody."""
        with self._database.snapshot() as connection:
            keys = connection.execute(select(access_key)).mappings().all()
            tenants = connection.execute(select(tenant)).mappings().all()
        return Access(tuple(map(_key, keys)), tuple(map(_tenant, tenants)))

    def add(self, key: AccessKey) -> None:
        """Keep a new key; its tenant is made if it is new."""
        with self._write() as connection:
            self._put_tenant(connection, Tenant(key.tenant, {}, key.created, key.created_by))
            connection.execute(access_key.insert(), _row(key))

    def replace(self, old: AccessKey, new: AccessKey, until: float) -> None:
        """Keep a new key in the place of another, which goes on until then at most, in one transaction.

        Raises:
            ConflictError: the old one was revoked or replaced meanwhile.
        """
        with self._write() as connection:
            same = and_(
                access_key.c.id == old.id, access_key.c.revoked.is_(None), _is(access_key.c.expires, old.expires)
            )
            ends = until if old.expires is None else min(until, old.expires)
            if connection.execute(update(access_key).where(same).values(expires=ends)).rowcount != 1:
                raise ConflictError(
                    f"Key {old.id} was changed meanwhile. Look at it again: sartor key show {old.id}",
                    code="key_changed",
                )
            connection.execute(access_key.insert(), _row(new))

    def revoke(self, ident: str, asker: str, at: float) -> AccessKey:
        """Refuse a key from now on; a second time changes nothing.

        Raises:
            NotFoundError: the asker's tenant has no such key.
        """
        found = self.get(ident, asker)
        if found.revoked is None:
            with self._write() as connection:
                connection.execute(update(access_key).where(access_key.c.id == ident).values(revoked=at))
        return self.get(ident, asker)

    def get(self, ident: str, asker: str) -> AccessKey:
        """One key.

        Raises:
            NotFoundError: the asker's tenant has no such key; those that it has are listed.
        """
        with self._database.read() as connection:
            found = (
                connection.execute(
                    select(access_key).where(access_key.c.id == ident, _seen(access_key.c.tenant, asker))
                )
                .mappings()
                .first()
            )
        if found is None:
            raise unknown("key", ident[:80], [key.id for key in self.all(asker)])
        return _key(found)

    def all(self, asker: str, *, after: str = "", limit: int = 1000) -> list[AccessKey]:
        """Keys of the asker's tenant by id, behind the id `after`."""
        statement = (
            select(access_key)
            .where(_seen(access_key.c.tenant, asker), access_key.c.id > after)
            .order_by(access_key.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(statement).mappings()]

    # Tenants

    def set_tenant(self, item: Tenant) -> Tenant:
        """Make a tenant, or give it other limits."""
        with self._write() as connection:
            self._put_tenant(connection, item)
            limits = json.dumps(dict(item.limits))
            connection.execute(update(tenant).where(tenant.c.name == item.name).values(limits=limits))
        return self.tenant(item.name, item.name)

    def tenant(self, name: str, asker: str) -> Tenant:
        """One tenant.

        Raises:
            NotFoundError: there is none, or the asker may not see it.
        """
        found = self.tenants(asker)
        named = next((item for item in found if item.name == name), None)
        if named is None:
            raise unknown("tenant", name[:80], [item.name for item in found])
        return named

    def tenants(self, asker: str) -> list[Tenant]:
        """Tenants that the asker may see, by name."""
        statement = select(tenant).where(_seen(tenant.c.name, asker)).order_by(tenant.c.name)
        with self._database.read() as connection:
            return [_tenant(row) for row in connection.execute(statement).mappings()]

    def _put_tenant(self, connection: Connection, item: Tenant) -> None:
        insert: Callable[..., Any] = import_module(f"sqlalchemy.dialects.{self._database.dialect}").insert
        row = asdict(item) | {"limits": json.dumps(dict(item.limits))}
        connection.execute(insert(tenant).on_conflict_do_nothing(), row)

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._database.write() as connection:
            yield connection
            connection.execute(BUMP)


def _seen(column: Any, asker: str) -> Any:
    return true() if asker == EVERY_TENANT else column == asker


def _is(column: Any, value: float | None) -> Any:
    return column.is_(None) if value is None else column == value


def _row(key: AccessKey) -> dict[str, Any]:
    return asdict(key) | {"scope": json.dumps(key.scope), "limits": json.dumps(dict(key.limits))}


def _key(row: Any) -> AccessKey:
    values = dict(row)
    values |= {"scope": tuple(json.loads(values["scope"])), "limits": json.loads(values["limits"])}
    return AccessKey(**values)


def _tenant(row: Any) -> Tenant:
    values = dict(row)
    return Tenant(**values | {"limits": json.loads(values["limits"])})
