"""Standing suites of a task: the rows of its standing test by era and by label, and every row that was mended once.

A row is mended when a person corrected the answer that went out and a released variant has got it right since. From
then on it stays in the suite, whatever split it stands in, as long as the row itself is kept: the report before this
one says which rows those are. Passes no judgement.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from sartor.core.canonical import canonical, sha256
from sartor.core.records import Record, Report, Variant
from sartor.core.rows import SPLITS, Row, Snapshot
from sartor.evaluation.answers import NOTES, Answers
from sartor.evaluation.measure import Sample
from sartor.evaluation.suites import Standing, Suite, cut_suites, hold_suites
from sartor.pipeline.inspect import Hall, Subject, live_subject, variant_subject
from sartor.pipeline.memo import Step, once

PURPOSE: Final = "suite"


def standing_report(place: Hall, candidate: Variant, live: Variant | None) -> Report | None:
    """The candidate against what is live on every standing suite; None where nothing else is live."""
    if live is None or live.digest == candidate.digest:
        return None
    fixed = _fixed(place, live)
    test = place.snapshot.splits["test"]
    ids = [row.id for row in test]
    eras = {row.id: row.extra.get("era", "") for row in test}
    suites = cut_suites(ids, eras, {row.id: row.label or "" for row in test}, list(fixed))
    extra = [row for name, row in fixed.items() if name not in set(ids)]
    sides = [_answers(place, variant, extra, as_live=variant is live) for variant in (candidate, live)]
    return _recorded(place, candidate, live, Standing(suites, *sides))


def _fixed(place: Hall, live: Variant) -> dict[str, Row]:
    """The rows that were mended, by id, sorted."""
    rows = {row.id: row for split in SPLITS for row in place.snapshot.splits[split]}
    corrected = [row for row in rows.values() if was_corrected(row)]
    right = _right(place, live, corrected)
    now = {row.id for row, mended in zip(corrected, right, strict=True) if mended}
    return {name: rows[name] for name in sorted(now | _before(place)) if name in rows}


def was_corrected(row: Row) -> bool:
    """Whether a person said that another answer should have gone out than did."""
    answered = row.extra.get("answered", row.extra.get("was", ""))
    return row.extra.get("said_by") == "human" and bool(answered) and answered != row.label


def _before(place: Hall) -> set[str]:
    """The mended rows of the newest report on this task's suites, which has those of all before it."""
    ledger = place.shop.store.ledger
    for report in ledger.find(Report, task=place.task.name, purpose=PURPOSE, limit=1):
        kept = json.loads(place.shop.store.vault.read(report.files["suites.json"]))
        return {name for item in kept if item["kind"] == "fixed" for name in item["ids"]}
    return set()


def _right(place: Hall, live: Variant, rows: list[Row]) -> list[bool]:
    if not rows:
        return []
    subject = _beside(place, live, rows, as_live=True)
    return [bool(right) for right in Sample.of(subject.answers, place.terms).right == 1.0]


def _beside(place: Hall, variant: Variant, rows: list[Row], *, as_live: bool) -> Subject:
    """A variant's answers to rows that are no split of their own."""
    name = f"beside-{sha256(canonical([row.id for row in rows]))[:16]}"
    there = replace(place, snapshot=Snapshot({name: rows}, place.snapshot.labels, place.snapshot.hierarchy))
    return (live_subject if as_live else variant_subject)(there, variant, name)


def _answers(place: Hall, variant: Variant, extra: list[Row], *, as_live: bool) -> Answers:
    """Answers to the test rows and to the mended ones beside them."""
    asked = (live_subject if as_live else variant_subject)(place, variant, "test").answers
    return joined(asked, _beside(place, variant, extra, as_live=as_live).answers) if extra else joined(asked)


def joined(*parts: Answers) -> Answers:
    """Answers to several sets of rows as one, with nothing but what right and wrong are told by."""

    def both(name: str) -> Any:
        """The column of all parts; None where one of them lacks it."""
        columns = [getattr(part, name) for part in parts]
        return None if any(column is None for column in columns) else np.concatenate(columns)

    return Answers(
        ids=np.concatenate([part.ids for part in parts]),
        true=np.concatenate([part.true for part in parts]),
        answer=np.concatenate([part.answer for part in parts]),
        escalated=np.concatenate([part.escalated for part in parts]),
        serving_cost=np.concatenate([part.serving_cost for part in parts]),
        **{name: both(name) for name in ("probabilities", *NOTES)},
    )


def _recorded(place: Hall, candidate: Variant, live: Variant, standing: Standing) -> Report:
    shop, task = place.shop, place.task
    files = {
        "suites.json": shop.store.vault.put_bytes(canonical([_listed(suite) for suite in standing.suites])),
        "candidate.parquet": shop.store.vault.put_bytes(standing.candidate.to_parquet()),
        "live.parquet": shop.store.vault.put_bytes(standing.live.to_parquet()),
    }
    margin = task.learn.forgetting
    params = {"margin": margin, "value": task.value.model_dump(mode="json"), "confidence": task.gate.confidence}
    inputs = {**files, "subject": candidate.digest, "against": live.digest, "data": place.dataset.digest}
    step = Step("suites", task.name, "evaluation", ("sartor.evaluation.suites",), inputs, params)

    def work(_: Path) -> Mapping[str, Record]:
        held = hold_suites(standing, place.terms, margin)
        facts = {
            "live": live.digest,
            "margin": margin,
            "confidence": task.gate.confidence,
            "suites": len(held),
            "mended": next(len(suite.ids) for suite in standing.suites if suite.kind == "fixed"),
            "forgotten": [f"{item.kind}: {item.name}" for item in held if item.forgotten],
        }
        return {
            "report": Report(
                purpose=PURPOSE,
                subject=candidate.digest,
                title=candidate.title,
                task=task.name,
                data=place.dataset.digest,
                split="suites",
                rows=files["suites.json"],
                slices=tuple(item.model_dump(mode="json") for item in held),
                files=files,
                facts=facts,
            )
        }

    made = once(shop, step, work)["report"]
    assert isinstance(made, Report)
    return made


def _listed(suite: Suite) -> dict[str, object]:
    return {"kind": suite.kind, "name": suite.name, "ids": list(suite.ids)}
