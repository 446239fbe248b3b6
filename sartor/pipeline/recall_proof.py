"""What comes after a recall: routes go back to what was made again, and a signed proof that nothing live descends.

The proof looks from the other side than the recall did: from every name that answers up to everything that it came
from, each row of each data set on the way read whole. It trusts no list that the recall has made.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sartor.core.errors import SartorError
from sartor.core.jobs import Job
from sartor.core.records import Artifact, Base, Check, Decision, Evidence, Report, RouteRecord
from sartor.core.route import Route
from sartor.data.snapshot import as_dict, read_quarantine, read_snapshot
from sartor.pipeline.decide import signing_key
from sartor.pipeline.declared import ROUTE, all_pointers
from sartor.pipeline.origins import What
from sartor.pipeline.recall_kept import POLICY, PROOF, recall_named, report_of, what_of
from sartor.pipeline.routes import declared_routes, targets_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.quarantine import in_force, quarantined
from sartor.registry.signing import sign
from sartor.registry.variants import LIVE, PREVIOUS, is_retired
from sartor.store.ledger import Change, Pointer

ENDS = (LIVE, PREVIOUS, "@waiting", "@test")
"""Names that answer, can be made to by one word, or judge what will."""


@dataclass(frozen=True)
class Found:
    """One name that answers, and what was found on the way up from it."""

    name: str
    digest: str
    records: int
    rows: int
    says: str
    """Why it descends; '' where it does not."""


def prove(shop: Workshop, ident: str) -> dict[str, Any]:
    """Look at everything that answers, and sign what was found. Routes that can go back do so first.

    Raises:
        NotFoundError: there is no recall of this id.
    """
    decision = recall_named(shop, ident)
    routes_back(shop, decision)
    what = what_of(shop, decision)
    found = list(looked(shop, what, decision))
    bad = [item for item in found if item.says]
    checks = tuple(
        Check(
            name=item.name,
            outcome="fail" if item.says else "pass",
            says=item.says or f"clean: {item.records:,} records and {item.rows:,} rows above it",
        )
        for item in found
    )
    facts = {
        "recall": decision.digest,
        "names": {item.name: item.digest for item in found},
        "bad": [item.name for item in bad],
    }
    report = Report(purpose="recall", subject=decision.digest, title=f"proof: {what.says}", facts=facts)
    says = (
        f"{len(bad)} of {len(found)} names that answer descend from {what.says}: {', '.join(i.name for i in bad[:20])}"
        if bad
        else f"None of {len(found):,} names that answer descends from {what.says}"
    )
    word = Decision(
        verb="recall",
        task="",
        contract="",
        candidate=decision.digest,
        incumbent="",
        verdict="hold" if bad else "ship",
        reasons=(says,),
        checks=checks,
        evidence={"report": Evidence(digest=report.digest, seal=report.seal)},
        cites=tuple(sorted((decision.digest, report.digest))),
        policy=PROOF,
        who=shop.who,
    )
    signed = sign(word, signing_key(shop))
    shop.store.ledger.put_many([report, signed])
    rows, records = sum(item.rows for item in found), sum(item.records for item in found)
    return {
        "recall": decision.digest,
        "proof": signed.digest,
        "clean": not bad,
        "says": says,
        "names": len(found),
        "records_read": records,
        "rows_read": rows,
        "bad": [{"name": item.name, "digest": item.digest, "why": item.says} for item in bad],
    }


def looked(shop: Workshop, what: What, decision: Decision) -> Iterator[Found]:
    """Every name that answers, with what is above it."""
    back = quarantined(shop.store.ledger)
    seen = _Above(shop, what, decision.created)
    for pointer in _answering(shop):
        records, rows, says = seen.above(pointer.digest)
        if not says and pointer.digest in back:
            says = "it stands under quarantine"
        yield Found(pointer.name, pointer.digest, records, rows, says)


def _answering(shop: Workshop) -> list[Pointer]:
    """Pointers behind live names, and behind every target of every declared route."""
    pointers = {pointer.name: pointer for pointer in all_pointers(shop) if pointer.digest}
    names = {name for name in pointers if name.endswith(ENDS)}
    for route in declared_routes(shop):
        for target in targets_of(route):
            handle = target if "@" in target else target + LIVE
            task = handle.partition("@")[0]
            if handle in pointers and not is_retired(shop.store.ledger, task):
                names.add(handle)
    return [pointers[name] for name in sorted(names)]


class _Above:
    """Reads what is above a record, each record and each file once."""

    def __init__(self, shop: Workshop, what: What, since: str) -> None:
        self._shop = shop
        self._what = what
        self._since = since
        self._own: dict[str, tuple[int, str, set[str]]] = {}

    def above(self, digest: str) -> tuple[int, int, str]:
        """(records, rows, why it descends)."""
        rows, says = 0, ""
        seen: set[str] = set()
        waiting = [digest]
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            if at not in self._own:
                self._own[at] = self._read(at)
            count, why, parents = self._own[at]
            rows, says = rows + count, says or why
            waiting += parents
        return len(seen), rows, says

    def _read(self, digest: str) -> tuple[int, str, set[str]]:
        record = self._shop.store.ledger.get(digest)
        if not isinstance(record, Artifact):
            return 0, "", set()
        parents = set(record.edges().values())
        if self._what.kind in ("dataset", "variant") and digest == self._what.value:
            return 0, f"it comes from {self._what.says}", parents
        if isinstance(record, Base) and self._is_base(record):
            return 0, f"it comes from {self._what.says}", parents
        if self._what.kind == "licence" and self._what.value in record.licence.names:
            return 0, f"{record.name} carries {self._what.says}", parents
        rows = list(self._rows(record))
        hits = sum(self._holds(row) for row in rows)
        return len(rows), f"{hits:,} rows of {record.name} are of {self._what.says}" if hits else "", parents

    def _is_base(self, base: Base) -> bool:
        if self._what.kind != "base":
            return False
        home: Any = base.facts.get("home") or {}
        # A base that was brought in again under the same name after the recall, with other bytes, is still that base.
        return self._what.value == base.name or self._what.value == home.get("base")

    def _rows(self, record: Artifact) -> Iterator[Mapping[str, Any]]:
        if "labels.json" in record.files and "quarantine.parquet" in record.files:
            folder = self._shop.store.folder(record)
            for rows in read_snapshot(folder).splits.values():
                yield from (as_dict(row) for row in rows)
            yield from read_quarantine(folder)
            return
        for name, file in record.files.items():
            if name.endswith(".parquet"):
                yield from _plain(self._shop, file)

    def _holds(self, row: Mapping[str, Any]) -> bool:
        what, extra = self._what, dict(row.get("extra") or {})
        match what.kind:
            case "source":
                return row.get("source") == what.value
            case "row":
                return what.value in (row.get("id"), extra.get("exchange"))
            case "subject":
                return extra.get("subject") == what.value
            case _:
                return False


def _plain(shop: Workshop, file: str) -> list[dict[str, Any]]:
    from pyarrow import parquet

    if not shop.store.vault.has(file):
        return []
    rows: list[dict[str, Any]] = parquet.read_table(shop.store.vault.path(file)).to_pylist()
    return rows if rows and "source" in rows[0] else []


def routes_back(shop: Workshop, decision: Decision) -> list[str]:
    """Let routes that went to the giant ask their task again, where something clean of it is live; their names."""
    done: list[str] = []
    ledger = shop.store.ledger
    moves = report_of(shop, decision).facts["moves"]
    tasks = {move["task"] for move in moves["tasks"]}
    for moved in moves["routes"]:
        pointer = ledger.resolve(moved["route"] + ROUTE)
        if pointer is None or pointer.digest != moved["after"]:
            continue  # somebody has declared it anew since, or it is back already
        after = ledger.get(moved["after"])
        assert isinstance(after, RouteRecord)
        name = after.task or moved["route"]
        if name not in tasks or ledger.resolve(name + LIVE) is None:
            continue
        before = ledger.get(moved["before"]) if moved["before"] else None
        record = _as_before(shop, before) if isinstance(before, RouteRecord) else None
        if record is not None and record.digest == after.digest:
            continue
        _move_back(shop, decision, moved["route"], pointer, record)
        done.append(moved["route"])
    return done


def all_routes_back(shop: Workshop) -> list[str]:
    """Of every recall that stands: what people have approved since takes its routes back; their names."""
    return [name for decision in in_force(shop.store.ledger).values() for name in routes_back(shop, decision)]


def _as_before(shop: Workshop, before: RouteRecord) -> RouteRecord:
    """The route as it was, with live names in the place of versions that were taken back, and without trials."""
    from sartor.pipeline.recall_moves import replaced

    back = quarantined(shop.store.ledger)

    def now(target: str) -> str:
        pointer = shop.store.ledger.resolve(target) if "@" in target else None
        return target.partition("@")[0] + LIVE if pointer is not None and pointer.digest in back else target

    route = Route.model_validate(before.spec)
    plain = route.model_copy(update={"policy": replaced(route.policy, now), "canary": None, "shadow": None})
    return RouteRecord(name=before.name, task=before.task, spec=plain.model_dump(mode="json"))


def _move_back(shop: Workshop, decision: Decision, name: str, pointer: Pointer, record: RouteRecord | None) -> None:
    word = Decision(
        verb="recall",
        task=name,
        contract="",
        candidate=record.digest if record else "",
        incumbent=pointer.digest,
        verdict="ship",
        reasons=("what was recalled was made again without it",),
        cites=tuple(sorted((decision.digest, pointer.decision))),
        policy=POLICY,
        who=shop.who,
    )
    signed = sign(word, signing_key(shop))
    change = Change(name + ROUTE, record.digest if record else None, pointer.digest)
    shop.store.ledger.move_many([change], decision=signed.digest, items=[*([record] if record else []), signed])


def finish(shop: Workshop, recall: str, job: Job) -> dict[str, Any]:
    """After a task was made again: its routes go back, and whoever is last has the proof signed."""
    decision = recall_named(shop, recall)
    back = routes_back(shop, decision)
    others = shop.store.jobs.find(part_of=decision.digest, limit=100_000)
    if any(other.id != job.id and not other.has_ended for other in others):
        return {"routes_back": back, "proof": ""}
    try:
        return {"routes_back": back, "proof": prove(shop, recall)["proof"]}
    except SartorError as error:
        return {"routes_back": back, "proof": "", "error": error.message}
