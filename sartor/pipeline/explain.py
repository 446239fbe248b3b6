"""Walk from an answer that went out to everything that made it: models asked, variant, rows, report, decision."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from sartor.core.errors import AskError, NotFoundError
from sartor.core.records import Dataset, Decision, Report, Variant
from sartor.core.task import Task
from sartor.core.traffic import NANO, Exchange, HopRow
from sartor.gateway.unpack import find_input
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.serve import contract_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import as_version
from sartor.store.traffic.keeping import Kept

NEAREST = 3
MOST_BYTES = 128 * 1024


@dataclass(frozen=True)
class Explained:
    """An exchange and what stands behind it."""

    exchange: dict[str, Any]
    """The accounting row; money in the gateway's currency."""
    content: str
    """What of its content is here: kept, hashed, none, erased."""
    asked: str
    """The input that was found in the prompt; '' where it is not here."""
    hops: tuple[dict[str, Any], ...]
    """Every model that was asked, with its variant's papers where it is one."""
    route: dict[str, Any]
    """The decision under which the route answered so, at that time."""
    feedback: tuple[dict[str, Any], ...]

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def explain(shop: Workshop, ident: str, *, tenant: str | None = None) -> Explained:
    """Why an exchange got the answer that it got.

    Args:
        ident: the completion's id.
        tenant: whose exchange it must be; None: anybody's.

    Raises:
        NotFoundError: the tenant has no such exchange.
    """
    traffic = shop.store.traffic
    traffic.index.catch_up()
    found = traffic.index.exchange(tenant, ident)
    if found is None:
        raise NotFoundError(
            f"There is no exchange '{ident[:80]}'. Its id is the completion's; see: sartor traffic list",
            code="exchange_not_found",
            param="exchange",
        )
    kept = traffic.read(tenant, ident)
    asked = _input(shop, found, kept)
    told = [asdict(feedback) for feedback in traffic.index.feedback_of(tenant, ident)]
    return Explained(
        exchange=_plain(found),
        content=kept.state,
        asked=asked,
        hops=tuple(_hop(shop, found, hop, asked) for hop in found.hops),
        route=_moved(shop, f"{found.route}@route", found.at),
        feedback=tuple(told),
    )


def _plain(found: Exchange) -> dict[str, Any]:
    row = asdict(found)
    del row["hops"]
    return row | {"cost": found.cost / NANO, "at": _time(found.at)}


def _input(shop: Workshop, found: Exchange, kept: Kept) -> str:
    """The input in what was asked, where the content is here and the route has a task."""
    if kept.content is None or kept.state != "kept" or not found.task or found.endpoint != "chat":
        return ""
    try:
        task = Task.model_validate(contract_of(shop, found.task).contract)
        chat = orjson.loads(kept.content.asked)
        one = find_input(chat, task, id=found.id, max_bytes=MOST_BYTES)
    except (ValueError, AskError):
        return ""
    return one.text if one else ""


def _hop(shop: Workshop, found: Exchange, hop: HopRow, asked: str) -> dict[str, Any]:
    row = asdict(hop) | {"cost": hop.cost / NANO}
    variant = _variant(shop, hop.served_by)
    return row | {"variant": _papers(shop, found, variant, asked) if variant else None}


def _variant(shop: Workshop, digest: str) -> Variant | None:
    if len(digest) != 64:
        return None
    try:
        record = shop.store.ledger.get(digest)
    except NotFoundError:
        return None
    return record if isinstance(record, Variant) else None


def _papers(shop: Workshop, found: Exchange, variant: Variant, asked: str) -> dict[str, Any]:
    """A variant's version, data, report and the decision that made it live at that time."""
    ledger = shop.store.ledger
    versions = [version.name for pointer in ledger.named(variant.digest) if (version := as_version(pointer))]
    decided = _moved(shop, f"{variant.task}@live", found.at)
    reports = ledger.find(Report, subject=variant.digest, purpose="inspection", limit=20)
    tested = next((report for report in reports if report.split == "test"), None)
    dataset = ledger.get(variant.data)
    assert isinstance(dataset, Dataset)
    return {
        "digest": variant.digest,
        "versions": versions,
        "title": variant.title,
        "recipe": variant.recipe,
        "base": variant.base,
        "data": {"digest": dataset.digest, "rows": dataset.counts, "nearest": _nearest(shop, dataset, asked)},
        "report": tested and {"digest": tested.digest, "accuracy": _accuracy(tested)},
        "decision": decided if decided.get("stood_at") == variant.digest else {},
    }


def _accuracy(report: Report) -> dict[str, Any] | None:
    found = report.metrics.get("accuracy")
    return found.model_dump(mode="json") if found else None


def _nearest(shop: Workshop, dataset: Dataset, asked: str) -> list[dict[str, Any]]:
    """The training rows whose words are most like the input's, by cosine of TF-IDF."""
    if not asked:
        return []
    from sklearn.feature_extraction.text import TfidfVectorizer

    rows = open_dataset(shop, dataset).splits["train"]
    words = TfidfVectorizer(sublinear_tf=True)
    likeness = (words.fit_transform([row.text for row in rows]) @ words.transform([asked]).T).toarray().ravel()
    best = np.argsort(-likeness, kind="stable")[:NEAREST]
    return [
        {"id": rows[i].id, "text": rows[i].text, "label": rows[i].label, "likeness": round(float(likeness[i]), 3)}
        for i in best
        if likeness[i] > 0
    ]


def _moved(shop: Workshop, name: str, at: float) -> dict[str, Any]:
    """The decision by which a name stood where it did at a time; {} where it stood nowhere."""
    moves = [move for move in shop.store.ledger.moves(name) if _seconds(move.moved) <= at]
    if not moves:
        return {}
    last = moves[-1]
    told: dict[str, Any] = {"name": name, "stood_at": last.digest, "since": last.moved, "decision": last.decision}
    try:
        decision = shop.store.ledger.get(last.decision) if last.decision else None
    except (AskError, NotFoundError):  # words instead of a digest
        decision = None
    if isinstance(decision, Decision):
        told |= {"verb": decision.verb, "verdict": decision.verdict, "reasons": list(decision.reasons)}
        told |= {"who": decision.who, "signed_with": decision.key_id}
    return told


def _seconds(moved: str) -> float:
    return datetime.fromisoformat(moved).timestamp()


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
