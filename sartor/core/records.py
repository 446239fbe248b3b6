"""The papers of the house: frozen, versioned records that are never edited.

Each has two marks, never confused. `digest` is the sha256 of what the record *is*, without times and costs: two
undisturbed runs of the same recipe give the same digest. `seal` is the sha256 of every byte of it: what a
signature must cover. The recipe key, which finds what is already made, stands in `Run.key`.
"""

from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from sartor.core.canonical import digest as digest_of
from sartor.core.licence import Licence


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Record(BaseModel):
    """What all records share. Only records inherit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: ClassVar[str] = "Record"
    volatile: ClassVar[frozenset[str]] = frozenset({"created"})
    """Fields that are no part of what the record is."""
    index: ClassVar[tuple[str, ...]] = ()
    """Fields by which the ledger finds it; their values are strings."""

    schema_version: int = 1
    created: str = Field(default_factory=now)

    @cached_property
    def digest(self) -> str:
        """Content digest: names the record."""
        return digest_of({"kind": self.kind, **self.model_dump(mode="json", exclude=set(self.volatile))})

    @cached_property
    def seal(self) -> str:
        """sha256 of the whole record, times and costs included."""
        return digest_of({"kind": self.kind, **self.model_dump(mode="json")})

    def edges(self) -> dict[str, str]:
        """Role -> digest of the records that this one came from."""
        return {}


class TaskRecord(Record):
    """A task contract as it stood when it was used."""

    kind: ClassVar[str] = "Task"
    index: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    contract: dict[str, Any]
    """`Task.body()`."""


class Artifact(Record):
    """Something made or fetched: files in the vault and facts about them."""

    kind: ClassVar[str] = "Artifact"
    volatile: ClassVar[frozenset[str]] = frozenset({"created", "measured"})
    index: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    """For people."""
    files: dict[str, str] = Field(default_factory=dict)
    """Path inside the artifact -> sha256 of the bytes in the vault."""
    parents: dict[str, str] = Field(default_factory=dict)
    """Role (base, data, first, second) -> digest."""
    made_by: str = ""
    """Plug-in that made it, as room.shelf/name."""
    licence: Licence
    facts: dict[str, Any] = Field(default_factory=dict)
    """What the artifact is, beyond its files; part of the digest."""
    measured: dict[str, Any] = Field(default_factory=dict)
    """Seconds, bytes per second, money: never part of the digest."""

    def edges(self) -> dict[str, str]:
        """Its parents by role."""
        return dict(self.parents)


class Base(Artifact):
    """A base model, or a hosted or recorded one that has no files here."""

    kind: ClassVar[str] = "Base"
    index: ClassVar[tuple[str, ...]] = ("name", "tier", "engine")

    tier: Literal["small", "medium", "large", "hosted"]
    engine: str
    """Serving engine that can run it: static, encoder, recorded, hosted, lm."""


class Dataset(Artifact):
    """An immutable snapshot of curated rows: one Parquet file a split, quarantine, labels, datasheet."""

    kind: ClassVar[str] = "Dataset"
    index: ClassVar[tuple[str, ...]] = ("name", "task")

    task: str
    labels: tuple[str, ...]
    counts: dict[str, int]
    """Rows per split, and `quarantine`."""


class Variant(Artifact):
    """A model made to measure for one task."""

    kind: ClassVar[str] = "Variant"
    index: ClassVar[tuple[str, ...]] = ("task", "recipe", "base", "title", "data")

    task: str
    recipe: str
    base: str = ""
    """Name of the base, '' where the recipe needs none."""
    title: str = ""
    """Name of the candidate in the task file."""
    data: str = ""
    """Digest of the data set."""
    engine: str
    labels: tuple[str, ...]
    params: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0


EXPORT = "export"
"""Verb of the runs that book what left the store: traffic as a file, a variant as a folder."""


class Run(Record):
    """One step that was done: what went in, what came out, what it took. An event, so its times are part of it."""

    kind: ClassVar[str] = "Run"
    volatile: ClassVar[frozenset[str]] = frozenset()
    index: ClassVar[tuple[str, ...]] = ("key", "verb", "task", "plugin", "status")

    verb: str
    plugin: str = ""
    task: str = ""
    key: str
    """Recipe key: finds what is already made."""
    params: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, str] = Field(default_factory=dict)
    outputs: dict[str, str] = Field(default_factory=dict)
    """Role -> digest of a record."""
    code: str = ""
    """Digest of the source that did it."""
    environment: dict[str, str] = Field(default_factory=dict)
    seed: int = 0
    status: Literal["done", "failed"] = "done"
    error: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    cost: float = 0.0

    def edges(self) -> dict[str, str]:
        """Inputs and outputs by role."""
        return {f"in:{role}": d for role, d in self.inputs.items()} | {
            f"out:{role}": d for role, d in self.outputs.items()
        }


class Metric(BaseModel):
    """A figure with what it is worth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    """None where it could not be computed; `note` then says why. A gate fails closed on it."""
    low: float | None = None
    high: float | None = None
    """Bounds of the interval at the task's confidence."""
    n: int = 0
    unit: str = ""
    note: str = ""


class Report(Record):
    """What was found about a subject on a data set."""

    kind: ClassVar[str] = "Report"
    volatile: ClassVar[frozenset[str]] = frozenset({"created", "measured"})
    index: ClassVar[tuple[str, ...]] = ("subject", "task", "data", "rows", "purpose")

    purpose: Literal[
        "inspection", "hub", "comparison", "guarantee", "canary", "shadow", "forecast",
        "suite", "strategy", "judge", "drift", "labels", "recall", "campaign", "parity", "sweep",
    ] = "inspection"  # fmt: skip
    subject: str
    """Digest of the variant or base, or the name of an incumbent."""
    title: str = ""
    task: str = ""
    data: str = ""
    """Digest of the data set."""
    split: str = ""
    rows: str = ""
    """Vault digest of the split's rows, whatever data set they stand in."""
    metrics: dict[str, Metric] = Field(default_factory=dict)
    slices: tuple[dict[str, Any], ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    """`answers.parquet` -> vault digest, and others."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """What else was found: licence, errors, reliability, confusions."""
    measured: dict[str, Any] = Field(default_factory=dict)
    """Latency, unit cost, CPU seconds: machine-bound, never part of the digest, always under the seal."""

    def edges(self) -> dict[str, str]:
        """Subject and data set, where they are records."""
        return {role: d for role, d in (("subject", self.subject), ("data", self.data)) if len(d) == 64}


class Evidence(BaseModel):
    """A record that a decision rests on: by what it is and by its every byte."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    seal: str


class Check(BaseModel):
    """One line of a decision's reasoning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    outcome: Literal["pass", "fail", "unknown"]
    says: str
    """In plain words, with the figures."""


class Decision(Record):
    """A verdict that can be replayed: who decided what, on which evidence, under which policy."""

    kind: ClassVar[str] = "Decision"
    volatile: ClassVar[frozenset[str]] = frozenset(
        {"created", "checks", "reasons", "evidence", "signature", "key_id", "measured"}
    )
    index: ClassVar[tuple[str, ...]] = ("task", "candidate", "verdict", "verb", "rows")

    verb: Literal[
        "release", "rollback", "retire", "restore", "route", "shadow", "canary", "approval", "recall", "prior"
    ] = "release"
    """`route` declares what a route does; `shadow` and `canary` move a variant on its way to live; an `approval` is
    one person's word on a decision that waits for it; `recall` takes back what descends from something; `prior` states
    today's shares of labels, by which the live variant's probabilities are reweighed."""
    task: str
    """The task, or the route, that it is about."""
    contract: str
    """Digest of the TaskRecord."""
    candidate: str
    """Digest of the variant."""
    incumbent: str
    """Digest or name of what it was held against."""
    verdict: Literal["ship", "hold", "need_data"]
    reasons: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    evidence: dict[str, Evidence] = Field(default_factory=dict)
    cites: tuple[str, ...] = ()
    """Sorted digests of the evidence: part of what the decision is."""
    rows: str = ""
    """Vault digest of the test rows: counts how often they have decided something."""
    policy: str = ""
    policy_version: int = 1
    who: str = ""
    measured: dict[str, Any] = Field(default_factory=dict)
    signature: str = ""
    """Ed25519 over the canonical record without this field, base64."""
    key_id: str = ""

    def edges(self) -> dict[str, str]:
        """Candidate, contract and evidence."""
        linked = {role: d for role, d in (("candidate", self.candidate), ("contract", self.contract)) if d}
        return linked | {f"evidence:{role}": e.digest for role, e in self.evidence.items()}


class UpstreamRecord(Record):
    """An upstream as it was declared. `NAME@upstream` points to the one that counts."""

    kind: ClassVar[str] = "Upstream"
    index: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    spec: dict[str, Any]
    """`core.route.Upstream` as JSON; names where its secret is found, never the secret."""


class RouteRecord(Record):
    """A route as it was declared. `NAME@route` points to the one that counts."""

    kind: ClassVar[str] = "Route"
    index: ClassVar[tuple[str, ...]] = ("name", "task")

    name: str
    task: str = ""
    spec: dict[str, Any]
    """`core.route.Route` as JSON."""


KINDS: dict[str, type[Record]] = {
    cls.kind: cls
    for cls in (TaskRecord, Artifact, Base, Dataset, Variant, Run, Report, Decision, UpstreamRecord, RouteRecord)
}
"""Kind as stored -> class."""
