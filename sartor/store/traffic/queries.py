"""Questions to the traffic index. Each takes the tenant whose traffic is meant; None, which sees all, is for admins.

Knows nothing of how the index is filled, nor of content.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, func, select, tuple_

from sartor.core.errors import AskError, unknown
from sartor.core.traffic import Exchange, Feedback, HopRow, withdrawn
from sartor.store.engine import Database
from sartor.store.traffic.tables import erased, feedback, hop, link, sort
from sartor.store.traffic.tables import whole as exchange

_EXCHANGE = [exchange.c.seq, *(exchange.c[f.name] for f in fields(Exchange) if f.name != "hops")]
_HOP = [hop.c[f.name] for f in fields(HopRow)]
_FEEDBACK = [feedback.c[f.name] for f in fields(Feedback)]

GROUPS = (
    "tenant", "key", "route", "model", "endpoint", "task", "version", "variant", "decision", "status", "error",
    "label", "arm", "day",
)  # fmt: skip
"""By what totals can be told apart; those over hops also by `served_by` and `kind`."""


@dataclass(frozen=True)
class Filters:
    """Which exchanges are meant; None: any."""

    route: str | None = None
    task: str | None = None
    model: str | None = None
    version: str | None = None
    variant: str | None = None
    arm: str | None = None
    decision: str | None = None
    label: str | None = None
    key: str | None = None
    endpoint: str | None = None
    status: int | None = None
    error: str | None = None
    subject: str | None = None
    """A digest, as in the exchange."""
    business: str | None = None
    shadow_of: str | None = None
    since: float | None = None
    """Seconds since 1970, inclusive."""
    until: float | None = None
    """Exclusive."""


@dataclass(frozen=True)
class Page:
    """Some exchanges, newest first."""

    rows: list[Exchange]
    after: str
    """Gives the next page; '' where this is the last one."""


@dataclass(slots=True)
class Outcome:
    """What came of one exchange."""

    id: str
    at: float
    task: str
    version: str
    variant: str
    arm: str
    propensity: float | None
    decision: str
    label: str | None
    confidence: float | None
    status: int
    cost: int
    """Nano-units."""
    seconds: float
    first_seconds: float
    shadow_of: str
    subject: str
    feedback: dict[tuple[str, str], Any] = field(default_factory=dict)
    """(metric, source) -> its last value."""
    told: dict[tuple[str, str], float] = field(default_factory=dict)
    """(metric, source) -> when that was told first, in seconds since 1970."""
    stumbled: bool = False
    """Whether something that was asked on the way failed."""


_OUTCOME = [exchange.c[f.name] for f in fields(Outcome) if f.name not in ("feedback", "told", "stumbled")]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the content of an exchange lies."""

    file: str
    place: int
    form: int
    tenant: str
    subject: str


class Queries:
    """What can be asked."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def exchange(self, tenant: str | None, id: str) -> Exchange | None:  # noqa: A002 - what it is called everywhere
        """One exchange with its hops; None where the tenant has none of this id."""
        statement = select(*_EXCHANGE).where(exchange.c.id == id, *_of(tenant))
        with self.database.read() as connection:
            rows = _whole(connection, connection.execute(statement).all())
        return rows[0] if rows else None

    def exchanges(self, tenant: str | None, filters: Filters = Filters(), *, after: str = "", limit: int = 100) -> Page:
        """Exchanges with their hops, newest first.

        Args:
            after: what the page before gave; '' for the first.

        Raises:
            AskError: `after` is not what a page gave.
        """
        statement = select(*_EXCHANGE).where(*_of(tenant), *_meant(filters))
        if after:
            statement = statement.where(tuple_(exchange.c.at, exchange.c.id) < tuple_(*_cursor(after)))
        statement = statement.order_by(exchange.c.at.desc(), exchange.c.id.desc()).limit(limit + 1)
        with self.database.read() as connection:
            rows = _whole(connection, connection.execute(statement).all())
        more = len(rows) > limit
        rows = rows[:limit]
        return Page(rows, f"{rows[-1].at!r} {rows[-1].id}" if more else "")

    def feedback(self, tenant: str | None, id: str) -> Feedback | None:  # noqa: A002
        """The feedback of this id; None where the tenant has none."""
        statement = select(*_FEEDBACK).where(feedback.c.id == id)
        if tenant is not None:
            statement = statement.where(feedback.c.tenant == tenant)
        with self.database.read() as connection:
            row = connection.execute(statement).first()
        return _feedback(row) if row else None

    def feedback_of(self, tenant: str | None, id: str) -> list[Feedback]:  # noqa: A002
        """All feedback in force that an exchange has, by its id or its business key, oldest first."""
        wanted = select(exchange.c.id).where(exchange.c.id == id, *_of(tenant))
        with self.database.read() as connection:
            found = {(f.tenant, f.id): f for _, f in _joined(connection, wanted)}
        return _in_force(sorted(found.values(), key=lambda f: (f.at, f.id)))

    def by_business(self, tenant: str | None, business: str, *, limit: int = 100) -> list[str]:
        """Ids of the exchanges that have a business key (its digest), given with the request or later."""
        statement = (
            select(exchange.c.id)
            .join(link, (link.c.exchange == exchange.c.id) & (link.c.tenant == exchange.c.tenant))
            .where(link.c.business == business, *_of(tenant))
            .order_by(exchange.c.at.desc())
            .limit(limit)
        )
        with self.database.read() as connection:
            return list(connection.execute(statement).scalars())

    def outcomes(
        self,
        tenant: str | None,
        route: str,
        *,
        since: float | None = None,
        until: float | None = None,
        arms: Sequence[str] = (),
        shadow: bool = False,
    ) -> list[Outcome]:
        """What came of each exchange of a route, oldest first; the last value of each metric and source counts.

        Args:
            arms: only exchanges on these sides of a comparison; empty: all.
            shadow: those that only watched, instead of those that answered.
        """
        wanted = [*_of(tenant), *_meant(Filters(route=route, since=since, until=until))]
        # Of these alone; what else was asked meanwhile need not be looked at.
        wanted.append(exchange.c.sort.in_(select(sort.c.number).where(sort.c.route == route)))
        wanted.append(exchange.c.endpoint == "shadow" if shadow else exchange.c.endpoint != "shadow")
        if arms:
            wanted.append(exchange.c.arm.in_(arms))
        statement = select(*_OUTCOME).where(*wanted).order_by(exchange.c.at, exchange.c.id)
        with self.database.read() as connection:
            found = {row.id: Outcome(*row) for row in connection.execute(statement)}
            told = list(_joined(connection, select(exchange.c.id).where(*wanted)))
            gone = withdrawn(item for _, item in told)
            for id_ in connection.execute(_stumbled(wanted)).scalars():
                found[id_].stumbled = True
        for id_, item in sorted(told, key=lambda pair: (pair[1].at, pair[1].id)):
            if id_ in found and item.id not in gone:
                found[id_].feedback[item.metric, item.source] = item.value
                found[id_].told.setdefault((item.metric, item.source), item.at)
        return list(found.values())

    def totals(
        self, tenant: str | None, by: Sequence[str] = (), filters: Filters = Filters(), *, hops: bool = False
    ) -> list[dict[str, Any]]:
        """Counts and sums in groups, in order: `count`, `cost` (nano-units), tokens, `seconds`.

        Args:
            by: of `GROUPS`.
            hops: sum over hops instead of exchanges, then also by `served_by` and `kind`, and with `cpu_seconds`.

        Raises:
            NotFoundError: there is no such group.
        """
        known = {name: exchange.c[name] for name in GROUPS}
        table: FromClause = exchange
        if hops:
            known |= {"served_by": hop.c.served_by, "kind": hop.c.kind}
            table = hop
        for name in by:
            if name not in known:
                raise unknown("group", name, known, param="by")
        groups = [known[name].label(name) for name in by]
        sums = ["cost", "input_tokens", "output_tokens", "seconds", *(["cpu_seconds"] if hops else [])]
        statement = select(
            *groups, func.count().label("count"), *(func.coalesce(func.sum(table.c[s]), 0).label(s) for s in sums)
        ).where(*_of(tenant), *_meant(filters))
        if hops:
            statement = statement.join_from(exchange, hop, hop.c.exchange == exchange.c.seq)
        if groups:
            statement = statement.group_by(*(known[name] for name in by)).order_by(*(known[name] for name in by))
        with self.database.read() as connection:
            rows = [dict(row) for row in connection.execute(statement).mappings()]
        return [row | {name: int(row[name]) for name in sums if "seconds" not in name} for row in rows]

    def place(self, tenant: str | None, id: str) -> Place | None:  # noqa: A002
        """Where the content of an exchange lies; None where the tenant has no such exchange."""
        columns = [exchange.c[f.name] for f in fields(Place)]
        with self.database.read() as connection:
            row = connection.execute(select(*columns).where(exchange.c.id == id, *_of(tenant))).first()
        return Place(*row) if row else None

    def erased_at(self, tenant: str, subject: str) -> float | None:
        """When a subject was erased; None where it never was."""
        statement = select(erased.c.at).where(erased.c.tenant == tenant, erased.c.subject == subject)
        with self.database.read() as connection:
            found: float | None = connection.execute(statement).scalar()
        return found

    def young(self, tenant: str | None) -> Iterator[Exchange]:
        """Exchanges that are still in segments, with their hops, in no order."""
        statement = select(*_EXCHANGE).where(exchange.c.file.endswith(".log"), *_of(tenant)).order_by(exchange.c.id)
        after = ""
        while True:
            with self.database.read() as connection:
                rows = _whole(connection, connection.execute(statement.where(exchange.c.id > after).limit(1000)).all())
            yield from rows
            if len(rows) < 1000:
                return
            after = rows[-1].id

    def all_feedback(self, tenant: str | None) -> list[Feedback]:
        """All feedback in force, oldest first: not what was taken back."""
        statement = select(*_FEEDBACK).order_by(feedback.c.at, feedback.c.id)
        if tenant is not None:
            statement = statement.where(feedback.c.tenant == tenant)
        with self.database.read() as connection:
            return _in_force([_feedback(row) for row in connection.execute(statement)])

    def feedback_count(self) -> int:
        """How many feedbacks there are, of all tenants."""
        with self.database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(feedback)).scalar_one())

    def labelled_since(self, tenant: str | None, task: str, since: float) -> int:
        """How many exchanges and rows of a task people have spoken about since then, what was taken back aside."""
        recent = select(*_FEEDBACK).where(feedback.c.at > since)
        with self.database.read() as connection:
            told = _in_force([_feedback(row) for row in connection.execute(recent)])
            spoken = [
                one
                for one in told
                if one.source == "human" and one.metric in ("correct", "demonstration") and tenant in (None, one.tenant)
            ]
            rows = {one.exchange for one in spoken if one.tags.get("task") == task and one.exchange.startswith("row:")}
            named = {(one.tenant, one.exchange) for one in spoken} | _linked(connection, spoken)
            known = _of_task(connection, task, {ident for _, ident in named})
        return len(rows) + len(named & known)

    def expired(self, now: float) -> list[str]:
        """Files of the log that hold content past its days."""
        statement = select(exchange.c.file).where(exchange.c.expires > 0, exchange.c.expires <= now).distinct()
        with self.database.read() as connection:
            return list(connection.execute(statement).scalars())


def _linked(connection: Connection, spoken: Sequence[Feedback]) -> set[tuple[str, str]]:
    """(tenant, exchange) of those that are known by a business key."""
    keys = sorted({(one.tenant, one.business) for one in spoken if one.business})
    found = set[tuple[str, str]]()
    for at in range(0, len(keys), 500):
        wanted = tuple_(link.c.tenant, link.c.business).in_(keys[at : at + 500])
        found |= {(row.tenant, row.exchange) for row in connection.execute(select(link).where(wanted))}
    return found


def _of_task(connection: Connection, task: str, idents: set[str]) -> set[tuple[str, str]]:
    """(tenant, exchange) of those that the task answered."""
    ordered, found = sorted(idents), set[tuple[str, str]]()
    for at in range(0, len(ordered), 500):
        wanted = exchange.c.id.in_(ordered[at : at + 500])
        rows = connection.execute(select(exchange.c.tenant, exchange.c.id).where(exchange.c.task == task, wanted))
        found |= {(row.tenant, row.id) for row in rows}
    return found


def _of(tenant: str | None) -> list[ColumnElement[bool]]:
    return [] if tenant is None else [exchange.c.tenant == tenant]


def _meant(filters: Filters) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for item in fields(filters):
        value = getattr(filters, item.name)
        if value is None:
            continue
        if item.name == "since":
            found.append(exchange.c.at >= value)
        elif item.name == "until":
            found.append(exchange.c.at < value)
        else:
            found.append(exchange.c[item.name] == value)
    return found


def _cursor(after: str) -> tuple[float, str]:
    at, _, id_ = after.partition(" ")
    try:
        return float(at), id_
    except ValueError as error:
        raise AskError(
            f"'{after[:60]}' is no place in the list. Give what the page before gave.", param="after", code="bad_cursor"
        ) from error


def _whole(connection: Connection, rows: Sequence[Row[Any]]) -> list[Exchange]:
    """Exchanges with their hops."""
    found = {row.seq: Exchange(*list(row)[1:]) for row in rows}
    numbers = list(found)
    for start in range(0, len(numbers), 500):
        statement = (
            select(hop.c.exchange, *_HOP)
            .where(hop.c.exchange.in_(numbers[start : start + 500]))
            .order_by(hop.c.exchange, hop.c.number)
        )
        for step in connection.execute(statement):
            found[step[0]].hops.append(HopRow(*step[1:]))
    return list(found.values())


def _stumbled(wanted: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Ids of the exchanges that are meant, once for each hop of theirs that failed."""
    failed = hop.c.why.startswith("failed")
    return select(exchange.c.id).join(hop, hop.c.exchange == exchange.c.seq).where(*wanted, failed)


def _joined(connection: Connection, wanted: Select[Any]) -> Iterator[tuple[str, Feedback]]:
    """(exchange, feedback) for all exchanges whose ids are selected: named by id, or by a business key of theirs."""
    ids = wanted.subquery()
    mine = exchange.join(ids, exchange.c.id == ids.c.id)
    named = select(exchange.c.id, *_FEEDBACK).select_from(
        mine.join(feedback, (feedback.c.exchange == exchange.c.id) & (feedback.c.tenant == exchange.c.tenant))
    )
    linked = select(exchange.c.id, *_FEEDBACK).select_from(
        mine.join(link, (link.c.exchange == exchange.c.id) & (link.c.tenant == exchange.c.tenant)).join(
            feedback, (feedback.c.tenant == link.c.tenant) & (feedback.c.business == link.c.business)
        )
    )
    for statement in (named, linked):
        for id_, *values in connection.execute(statement):
            yield id_, _feedback(values)


def _in_force(said: list[Feedback]) -> list[Feedback]:
    gone = withdrawn(said)
    return [item for item in said if item.id not in gone] if gone else said


def _feedback(values: Any) -> Feedback:
    found = Feedback(*values)
    found.value, found.tags = orjson.loads(found.value), orjson.loads(str(found.tags))
    return found
