"""Limits that all workers share, in the store: one row for each holder and resource, changed under its lock."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from sartor.store.engine import Database
from sartor.store.schema import allowance
from sartor.store.shares import Account, Grant, Rest, Want, period_at, returned, share

_THIS = (allowance.c.holder == bindparam("h"), allowance.c.resource == bindparam("r"))
_ONE = select(allowance.c.period, allowance.c.used, allowance.c.at).where(*_THIS).with_for_update()
_SET = update(allowance).where(*_THIS).values(period=bindparam("p"), used=bindparam("u"), at=bindparam("t"))


class Allowances:
    """A `store.shares.Book` in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = import_module(f"sqlalchemy.dialects.{database.dialect}").insert
        self._make: Any = insert(allowance).on_conflict_do_nothing()

    def lease(self, wants: Sequence[Want], now: float) -> list[Grant]:
        """A grant for each want, in their order, in one transaction.

        Raises:
            StoreError: the database is out of reach, locked or full.
        """
        grants: dict[int, Grant] = {}
        # In one order, so that no two workers can wait for each other's rows.
        ordered = sorted(enumerate(wants), key=lambda pair: (pair[1].holder, pair[1].resource))
        with self._database.write() as connection:
            for place, want in ordered:
                account, grants[place] = share(self._lock(connection, want), want, now)
                _put(connection, want, account)
        return [grants[place] for place in range(len(wants))]

    def give_back(self, rests: Sequence[Rest]) -> None:
        """Take back what was not used, and book what was used beyond, in one transaction."""
        with self._database.write() as connection:
            for rest in sorted(rests, key=lambda rest: (rest.holder, rest.resource)):
                _put(connection, rest, returned(self._lock(connection, rest), rest))

    def used(self, holder: str, now: float) -> dict[str, int]:
        """Resource -> nano-units that are used or leased in the running day or month."""
        statement = select(allowance.c.resource, allowance.c.period, allowance.c.used).where(
            allowance.c.holder == holder, allowance.c.period != ""
        )
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return {row.resource: row.used for row in rows if row.period == period_at(row.resource, now)[0]}

    def _lock(self, connection: Connection, item: Want | Rest) -> Account:
        place = {"h": item.holder, "r": item.resource}
        row = connection.execute(_ONE, place).first()
        if row is None:
            new = {"holder": item.holder, "resource": item.resource, "period": "", "used": 0, "at": 0.0}
            connection.execute(self._make, new)
            row = connection.execute(_ONE, place).one()  # whoever was first
        return Account(*row)


def _put(connection: Connection, item: Want | Rest, account: Account) -> None:
    values = {"h": item.holder, "r": item.resource, "p": account.period, "u": account.used, "t": account.at}
    connection.execute(_SET, values)
