"""Judge one candidate on the test rows, sign what was decided, and reach the same verdict again from evidence."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sartor.core.errors import AskError, NotFoundError, RefusedError
from sartor.core.records import Check, Dataset, Decision, Evidence, Report, TaskRecord
from sartor.core.task import Task
from sartor.evaluation.answers import Answers
from sartor.evaluation.gates.case import Case, case_from
from sartor.evaluation.gates.release import NAME, VERSION, judge
from sartor.evaluation.suites import Standing, Suite
from sartor.evaluation.terms import Terms
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.inspect import Hall
from sartor.pipeline.terms import terms_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.signing import load_key, load_public_key, make_key, public_path, sign, verify

SUITES = "suites"
"""Role of the report on standing suites."""


def decide(place: Hall, evidence: Mapping[str, Report]) -> Decision:
    """Judge a candidate and record the signed decision.

    A decision on the same evidence under the same contract is not taken twice: the recorded one counts.

    Args:
        evidence: reports on the test rows by role: candidate, incumbent, floor; and `suites`, where some stand.
    """
    before = _taken_before(place, evidence)
    if before is not None:
        return before
    shop, rows = place.shop, place.dataset.files["test.parquet"]
    looks = shop.store.ledger.count(Decision, rows=rows) + 1
    verdict = judge(_case(shop, place.task, place.terms, evidence, looks))
    decision = Decision(
        task=place.task.name,
        contract=place.contract,
        candidate=evidence["candidate"].subject,
        incumbent=evidence["incumbent"].subject,
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        checks=verdict.checks,
        evidence={role: Evidence(digest=r.digest, seal=r.seal) for role, r in evidence.items()} | _given(place),
        cites=_cites(evidence),
        rows=rows,
        policy=NAME,
        policy_version=VERSION,
        who=shop.who,
        measured={"looks": looks, "rows_needed": verdict.rows_needed, "instead": verdict.instead},
    )
    signed = sign(decision, signing_key(shop))
    shop.store.ledger.put(signed)
    return signed


def signing_key(shop: Workshop) -> Ed25519PrivateKey:
    """The key that signs; made at its first use."""
    return load_key(shop.key) if shop.key.exists() else make_key(shop.key)


def _given(place: Hall) -> dict[str, Evidence]:
    """What was given beside the reports: the data set, whose recorded answers and hierarchy the terms rest on."""
    return {"data": Evidence(digest=place.dataset.digest, seal=place.dataset.seal)}


def _cites(evidence: Mapping[str, Report]) -> tuple[str, ...]:
    return tuple(sorted({report.digest for report in evidence.values()}))


def _taken_before(place: Hall, evidence: Mapping[str, Report]) -> Decision | None:
    found = place.shop.store.ledger.find(
        Decision, task=place.task.name, candidate=evidence["candidate"].subject, verb="release"
    )
    return next((d for d in found if d.contract == place.contract and d.cites == _cites(evidence)), None)


def _case(shop: Workshop, task: Task, terms: Terms, evidence: Mapping[str, Report], looks: int) -> Case:
    subjects = {role: report for role, report in evidence.items() if role != SUITES}
    answers = {role: _answers(shop, terms, report) for role, report in subjects.items()}
    standing = _standing(shop, evidence[SUITES]) if SUITES in evidence else None
    return replace(case_from(task, terms, subjects, answers, standing=standing), looks=looks)


def _standing(shop: Workshop, report: Report) -> Standing:
    """The suites of a report, with the answers that it was made from."""
    kept = json.loads(shop.store.vault.read(report.files["suites.json"]))
    sides = (shop.store.vault.read(report.files[f"{side}.parquet"]) for side in ("candidate", "live"))
    suites = tuple(Suite(item["kind"], item["name"], tuple(item["ids"])) for item in kept)
    return Standing(suites, *(Answers.from_parquet(side) for side in sides))


def _answers(shop: Workshop, terms: Terms, report: Report) -> Answers:
    kept = Answers.from_parquet(shop.store.vault.read(report.files["answers.parquet"]))
    return terms.judging.redecide(kept)


@dataclass(frozen=True)
class Replay:
    """What replaying a decision found."""

    decision: str
    key_id: str
    evidence: int
    """Records that stand as they were signed."""
    recorded: str
    reached: str
    checks: tuple[Check, ...]

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"checks": [check.model_dump(mode="json") for check in self.checks]}


def decision_named(shop: Workshop, digest: str) -> Decision:
    """The decision with this digest, or a unique beginning of it.

    Raises:
        NotFoundError: no such record.
        AskError: the digest is of something else.
    """
    try:
        found = shop.store.ledger.get(digest)
    except NotFoundError as error:
        raise NotFoundError(f"{error.message} List the decisions: sartor decide", code=error.code) from error
    if not isinstance(found, Decision):
        raise AskError(f"'{digest}' is a {found.kind}, not a decision. List them: sartor decide", code="not_a_decision")
    return found


def replay(shop: Workshop, digest: str) -> Replay:
    """Verify a decision's signature and evidence, and judge the evidence again.

    Raises:
        NotFoundError: no such decision.
        RefusedError: the signature or a piece of evidence is not what was signed.
        StoreError: a file of the evidence is damaged.
    """
    decision = decision_named(shop, digest)
    verify(decision, load_public_key(public_path(shop.key)))
    records = {role: _as_signed(shop, role, piece) for role, piece in decision.evidence.items()}
    if decision.verb != "release":
        reached, checks = _judged_again(shop, decision, records)
        return Replay(decision.digest, decision.key_id, len(records), decision.verdict, reached, checks)
    contract = shop.store.ledger.get(decision.contract)
    dataset = records["data"]
    assert isinstance(contract, TaskRecord)
    assert isinstance(dataset, Dataset)
    if contract.digest != decision.contract:
        raise RefusedError(
            "The contract is not the one that was signed: restore the store from a backup.", code="evidence_changed"
        )
    task = Task.model_validate(contract.contract)
    terms = terms_of(task, open_dataset(shop, dataset))
    reports = {role: record for role, record in records.items() if isinstance(record, Report)}
    verdict = judge(_case(shop, task, terms, reports, decision.measured["looks"]), decision.policy_version)
    return Replay(decision.digest, decision.key_id, len(records), decision.verdict, verdict.verdict, verdict.checks)


def _judged_again(
    shop: Workshop, decision: Decision, records: Mapping[str, Report | Dataset]
) -> tuple[str, tuple[Check, ...]]:
    """The verdict of the statistics on a canary again; what a person decided is only verified."""
    report = records.get("report")
    if not isinstance(report, Report) or report.purpose != "canary":
        return decision.verdict, decision.checks
    from sartor.pipeline.canary_evidence import rejudge

    again = rejudge(shop, report)
    return {"promote": "ship", "stop": "hold"}.get(again.verdict, again.verdict), again.checks


def _as_signed(shop: Workshop, role: str, piece: Evidence) -> Report | Dataset:
    record = shop.store.ledger.get(piece.digest)
    if record.digest != piece.digest or record.seal != piece.seal:
        raise RefusedError(
            f"The evidence '{role}' ({piece.digest[:12]}) is not what was signed: a byte of it was changed. "
            "Restore the store from a backup: sartor restore",
            code="evidence_changed",
        )
    assert isinstance(record, Report | Dataset)
    return record
