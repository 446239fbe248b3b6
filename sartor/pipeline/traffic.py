"""The verbs of `sartor traffic`: look at what is captured, export it as rows, take outcomes in, erase people."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from sartor.core.canonical import digest
from sartor.core.errors import AskError, ConflictError, NotFoundError, SartorError, unknown
from sartor.core.records import TaskRecord
from sartor.core.task import FeedbackMetric, Task
from sartor.core.traffic import NANO, Exchange, Feedback
from sartor.data import personal
from sartor.data.tables import csv_rows, json_lines
from sartor.feedback.reading import Reads, check, cleaned, read
from sartor.pipeline.access import audited
from sartor.pipeline.answerable import reads_of
from sartor.pipeline.serve import contract_of
from sartor.pipeline.workshop import Workshop
from sartor.store.traffic import old
from sartor.store.traffic.queries import Filters, Page
from sartor.store.traffic.segment import segments
from sartor.store.traffic.sql import Answer, ask
from sartor.store.traffic.treatment import Redactor

FALSE, TRUE = ("false", "no", "0"), ("true", "yes", "1")
"""How a CSV file says booleans."""

_FILTERS = [item.name for item in fields(Filters) if item.name not in ("since", "until")]


LONG, LONGEST_KNOWN = 200, 20_000
"""Characters of texts that are worth remembering: the application's prompt is the same in every request."""


def _redact(text: str) -> str:
    return _known(text) if LONG < len(text) < LONGEST_KNOWN else personal.redact(text, personal.find(text))


@lru_cache(maxsize=256)
def _known(text: str) -> str:
    return personal.redact(text, personal.find(text))


redact = Redactor(_redact, personal.suspects)
"""A text in which each personal thing that has a form is replaced by its kind, as in `[EMAIL]`."""


def filters_of(where: Iterable[str], *, since: str = "", until: str = "", **named: str) -> Filters:
    """Filters from texts as people give them; '' is no filter.

    Args:
        where: NAME=VALUE, a name of `Filters`.

    Raises:
        AskError: a time or a number can't be read, or there is no such field.
    """
    given: dict[str, Any] = {name: text for name, text in named.items() if text}
    for part in where:
        name, _, value = part.partition("=")
        if name not in _FILTERS:
            raise unknown("field", name, _FILTERS, param="where")
        given[name] = value
    if "status" in given:
        given["status"] = _status(given["status"])
    given |= {name: moment(text, name) for name, text in (("since", since), ("until", until)) if text}
    return Filters(**given)


def _status(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise AskError(f"'{text[:40]}' is no HTTP status. Give e.g. 502.", param="status", code="bad_status") from error


def moment(text: str, name: str) -> float:
    """Seconds since 1970 of `2026-11-25`, `2026-11-25T10:00` (UTC unless it says otherwise), or `7d`, `3h` ago.

    Raises:
        AskError: it is none of these.
    """
    ago = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if ago:
        return time.time() - int(ago[1]) * {"m": 60, "h": 3600, "d": 86_400}[ago[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise AskError(
            f"'{text[:40]}' is no time. Give a day (2026-11-25), a time (2026-11-25T10:00), or how long ago (7d, 3h).",
            param=name,
            code="bad_time",
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def page_of(shop: Workshop, tenant: str | None, filters: Filters, *, after: str, limit: int) -> Page:
    """Exchanges, newest first."""
    index = shop.store.traffic.index
    index.catch_up()
    return index.exchanges(tenant, filters, after=after, limit=limit)


def exchange_body(found: Exchange) -> dict[str, Any]:
    """An exchange as JSON, money in whole units beside the exact one."""
    return asdict(found) | {"money": found.cost / NANO, "time": iso(found.at)}


def show(shop: Workshop, tenant: str | None, exchange: str) -> dict[str, Any]:
    """One exchange with hops, feedback and what is kept of its content.

    Raises:
        NotFoundError: the tenant has no such exchange.
    """
    traffic = shop.store.traffic
    traffic.index.catch_up()
    found = traffic.index.exchange(tenant, exchange)
    if found is None:
        raise NotFoundError(
            f"There is no exchange '{exchange[:128]}'. 'sartor traffic list' shows the newest.",
            code="exchange_not_found",
            param="exchange",
        )
    kept = traffic.read(tenant, exchange)
    return exchange_body(found) | {
        "content": kept.state,
        "request": content_of(kept.content.asked, kept.state) if kept.content else None,
        "response": content_of(kept.content.answered, kept.state) if kept.content else None,
        "feedback": [asdict(item) for item in traffic.index.feedback_of(tenant, exchange)],
    }


def content_of(data: bytes, state: str) -> Any:
    """JSON where it is that, else a text; a digest as hex."""
    if state == "hashed":
        return data.hex()
    try:
        return orjson.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")


def query(shop: Workshop, tenant: str | None, sql: str, *, limit: int) -> Answer:
    """One SELECT over `exchanges`, `hops` and `feedback`."""
    traffic = shop.store.traffic
    traffic.index.catch_up()
    return ask(traffic.index, traffic.folder, tenant, sql, limit=limit)


@dataclass(frozen=True)
class Imported:
    """What a file of outcomes brought."""

    rows: int
    new: int
    joined: int
    """How many of them have an exchange that is known."""


def import_feedback(shop: Workshop, tenant: str, path: Path) -> Imported:
    """Take outcomes from a CSV or JSON lines file, each as `POST /v1/feedback` takes it: all of them, or none.

    A row without an `id` gets one that its words give, so that the same file again brings nothing new.

    Raises:
        AskError: a row is wrong; its line is named.
        ConflictError: feedback of a row's id is there and says something else.
    """
    traffic = shop.store.traffic
    metrics = declared_metrics(shop)
    traffic.index.catch_up()
    found: dict[str, Feedback] = {}
    reads: dict[str, Reads] = {}
    rows = 0
    for number, row in _outcomes(path, metrics):
        rows += 1
        with _line(path, number):
            said = read(
                row,
                tenant=tenant,
                key="",
                at=time.time(),
                new_id=lambda row=row: f"fb-{digest(row)[:24]}",  # type: ignore[misc]
                mark=traffic.mark,
            )
            check(said.metric, said.value, metrics, ())
            said = cleaned(_in_form(shop, said, reads), redact)
            _unlike(said, found.get(said.id) or traffic.index.feedback(tenant, said.id))
        found[said.id] = said
    new = [said for said in found.values() if traffic.index.feedback(tenant, said.id) is None]
    log = traffic.log("import")
    try:
        for said in new:
            log.append_feedback(said, sync=False)
        log.flush()
    finally:
        log.close()
    traffic.index.catch_up()
    joined = sum(
        traffic.index.exchange(tenant, said.exchange) is not None
        if said.exchange
        else bool(traffic.index.by_business(tenant, said.business, limit=1))
        for said in found.values()
    )
    return Imported(rows, len(new), joined)


def _in_form(shop: Workshop, said: Feedback, reads: dict[str, Reads]) -> Feedback:
    """A correction in the one form of its exchange's task, where that is known and its answers are written."""
    found = shop.store.traffic.index.exchange(said.tenant, said.exchange) if said.exchange else None
    if said.metric != "demonstration" or found is None or not found.task:
        return said
    if found.task not in reads:
        reads[found.task] = reads_of(Task.model_validate(contract_of(shop, found.task).contract))
    return replace(said, value=reads[found.task](str(said.value)))


def _unlike(said: Feedback, before: Feedback | None) -> None:
    if before is not None and (before.metric, before.value, before.exchange, before.business) != (
        said.metric,
        said.value,
        said.exchange,
        said.business,
    ):
        raise ConflictError(
            f"Feedback '{said.id}' is there already and says something else. Give this one an id of its own.",
            param="id",
            code="feedback_conflict",
        )


def _outcomes(path: Path, metrics: Mapping[str, FeedbackMetric]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row); the cells of a CSV file are texts, so they are read as their metric's type says."""
    if path.suffix != ".csv":
        yield from json_lines(path)
        return
    for number, row in enumerate(csv_rows(path), start=2):
        filled: dict[str, Any] = {name: cell for name, cell in row.items() if cell != ""}
        metric = str(filled.get("metric", filled.get("metric_name", "")))
        kind = "boolean" if metric == "correct" else metrics[metric].type if metric in metrics else "text"
        if "value" in filled:
            filled["value"] = _cell(str(filled["value"]), kind)
        yield number, filled


def _cell(text: str, kind: str) -> Any:
    low = text.strip().lower()
    if kind == "boolean" and low in FALSE + TRUE:
        return low in TRUE
    if kind == "number":
        with suppress(ValueError):
            return float(low)
    return text


@contextmanager
def _line(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except SartorError as error:
        error.message = f"{path}, line {number}: {error.message}"
        error.args = (error.message,)
        raise


def declared_metrics(shop: Workshop) -> dict[str, FeedbackMetric]:
    """What the tasks of the store declare, by name; of each task its newest contract counts."""
    found: dict[str, FeedbackMetric] = {}
    seen: set[str] = set()
    for record in shop.store.ledger.find(TaskRecord, limit=10_000):
        if record.name in seen:
            continue
        seen.add(record.name)
        for name, spec in record.contract.get("feedback", {}).items():
            found.setdefault(name, FeedbackMetric.model_validate(spec))
    return found


def erase(shop: Workshop, tenant: str, subject: str) -> int:
    """Erase a person; returns how many keys were destroyed. Who asked is written down, not whom they named."""
    with audited(shop, "traffic.erase", f"{tenant}: {shop.store.traffic.mark(subject)}"):
        return shop.store.traffic.erase(tenant, subject)


def status(shop: Workshop) -> dict[str, Any]:
    """What there is: counts, files, bytes, damage."""
    traffic = shop.store.traffic
    added = traffic.index.catch_up()
    (totals,) = traffic.index.totals(None)
    young = segments(traffic.folder / "log")
    aged = old.files(traffic.folder / "old")
    return {
        "exchanges": totals["count"],
        "money": totals["cost"] / NANO,
        "feedback": traffic.index.feedback_count(),
        "segments": len(young),
        "old_files": len(aged),
        "bytes": sum(path.stat().st_size for path in (*young, *aged)),
        "newly_indexed": added,
        "damaged_bytes": traffic.index.damage(),
    }


def iso(at: float) -> str:
    """A time in seconds since 1970 as ISO 8601, UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
