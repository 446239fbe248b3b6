"""What is watched of each input: numbers that are kept, block by block, so that content is read and asked about once.

An exchange whose content was not kept, or in which the task finds no input, is not among them.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.canonical import digest
from sartor.core.licence import Licence
from sartor.core.predict import Floats, Request
from sartor.core.records import Artifact, Dataset, Record, Variant
from sartor.core.rows import Row, Snapshot
from sartor.core.task import Task
from sartor.core.traffic import Exchange
from sartor.data.kind import kind_of
from sartor.evaluation.answers import Answers, collect
from sartor.evaluation.judging import Judging
from sartor.feedback.views import TextViews
from sartor.gateway.unpack import find_input
from sartor.pipeline.answer import likeliest
from sartor.pipeline.memo import Step, once
from sartor.pipeline.serve import fleet_of
from sartor.pipeline.terms import terms_of
from sartor.pipeline.traffic import content_of
from sartor.pipeline.workshop import Workshop
from sartor.serving.engine import ENGINES
from sartor.serving.fleet import Answered
from sartor.store.traffic.queries import Filters

MOST = 100_000
"""Exchanges that are looked at: the newest since the release."""
PAGE = 1000
MOST_BYTES = 128 * 1024
"""Of one input."""
OUT_OF_SCOPE, STRANGENESS = "out of scope", "strangeness"
STRONG = 10
"""Weight of the strangeness beside other views of the input."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that the live variant answered, or gave its guess to."""

    id: str
    at: float
    tenant: str
    label: str | None
    confidence: float | None


@dataclass(frozen=True, eq=False)
class Sighted:
    """Numbers of inputs."""

    ids: tuple[str, ...]
    values: Floats
    """(ids, views)."""
    columns: Mapping[str, tuple[str, ...]]
    """Slice column -> its value in each input."""


@dataclass(frozen=True, eq=False)
class Sight:
    """How a task's inputs are looked at."""

    task: Task
    variant: Variant
    snapshot: Snapshot
    views: TextViews
    judging: Judging

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns of values."""
        return (*self.views.names, STRANGENESS, OUT_OF_SCOPE)

    def of_rows(self, answers: Answers) -> Floats:
        """(rows, names) of the validation rows that were answered."""
        rows = {row.id: row.text for row in self.snapshot.splits["validation"]}
        assert answers.out_of_scope is not None
        texts = [rows[id_] for id_ in answers.ids.tolist()]
        return self._side_by_side(texts, answers.out_of_scope, self._sure(answers))

    def looked_at(self, texts: Sequence[str], answered: Sequence[Answered]) -> Floats:
        """(texts, names) of texts and what the variant says of them."""
        predictions = likeliest(self.variant.labels).decide(self.variant.digest, answered)
        rows = [Row(id=str(place), text=text) for place, text in enumerate(texts)]
        answers = collect(rows, self.variant.labels, predictions)
        return self._side_by_side(texts, np.array([one.out_of_scope for one in answered]), self._sure(answers))

    def _sure(self, answers: Answers) -> Floats:
        """(rows,) chance of the likeliest answer; 0 where nothing is known of it."""
        confidence = self.judging.judge(answers).confidence
        return np.zeros(len(answers)) if confidence is None else confidence

    def _known_only(self, column: str, requests: Sequence[Request]) -> tuple[str, ...]:
        """A column's values, of those that validation rows have; others are not kept, since they may be a person's."""
        rows = self.snapshot.splits["validation"]
        known = {row.inputs.get(column, row.extra.get(column, "")) for row in rows}
        given = [request.inputs.get(column, "") for request in requests]
        return tuple(value if value in known else "" for value in given)

    def _side_by_side(self, texts: Sequence[str], out_of_scope: Floats, confidence: Floats) -> Floats:
        """Rounded, since batches of other sizes differ in the last digits."""
        views = self.views.of(texts)
        strange = self.views.strangeness(views, out_of_scope, confidence)
        return np.round(np.column_stack([views, strange, out_of_scope]).astype(np.float64), 4)

    def of_traffic(self, shop: Workshop, seen: Sequence[Seen]) -> Sighted:
        """Of all requests, in their order; whole blocks are kept."""
        size = self.task.drift.window
        blocks = [seen[start : start + size] for start in range(0, len(seen), size)]
        parts = [self._kept(shop, block) if len(block) == size else self._made(shop, block) for block in blocks]
        if not parts:
            return Sighted((), np.zeros((0, len(self.names))), dict.fromkeys(self.task.drift.slices, ()))
        return Sighted(
            tuple(id_ for part in parts for id_ in part.ids),
            np.concatenate([part.values for part in parts]),
            {c: tuple(value for part in parts for value in part.columns[c]) for c in self.task.drift.slices},
        )

    def _kept(self, shop: Workshop, block: Sequence[Seen]) -> Sighted:
        def work(_: Path) -> Mapping[str, Record]:
            made = _to_parquet(self._made(shop, block))
            return {
                "seen": Artifact(
                    name=f"seen/{self.variant.digest}",
                    files={"seen.parquet": shop.store.vault.put_bytes(made)},
                    parents={"variant": self.variant.digest},
                    made_by="feedback.views",
                    licence=Licence.of("owned"),
                    facts={"requests": len(block)},
                )
            }

        step = Step(
            "look", self.task.name, "feedback.views",
            ("sartor.feedback.views", ENGINES.take(self.variant.engine).module),
            {"variant": self.variant.digest, "exchanges": digest([one.id for one in block])},
            {"input": self.task.input.model_dump(mode="json"), "slices": list(self.task.drift.slices)},
        )  # fmt: skip
        made = once(shop, step, work)["seen"]
        assert isinstance(made, Artifact)
        return _from_parquet(shop.store.vault.read(made.files["seen.parquet"]))

    def _made(self, shop: Workshop, block: Sequence[Seen]) -> Sighted:
        found = [(one.id, request) for one in block if (request := input_of(shop, self.task, one.id)) is not None]
        texts = [request.text for _, request in found]
        if not texts:
            return Sighted((), np.zeros((0, len(self.names))), dict.fromkeys(self.task.drift.slices, ()))
        answered = fleet_of(shop, None).probabilities([(self.variant.digest, text) for text in texts])
        values = self.looked_at(texts, answered)
        columns = {c: self._known_only(c, [request for _, request in found]) for c in self.task.drift.slices}
        return Sighted(tuple(id_ for id_, _ in found), values, columns)


def sight_of(task: Task, variant: Variant, dataset: Dataset, snapshot: Snapshot) -> Sight:
    """How a task's inputs are looked at: fitted on the variant's training rows."""
    views, judging = _views(task, dataset, snapshot), terms_of(task, snapshot).judging
    return Sight(task, variant, snapshot, views, judging)


def seen_of(shop: Workshop, task: Task, variant: Variant, since: float) -> list[Seen]:
    """Requests of the task since a time that the variant answered or gave its guess to, the oldest first."""
    index, after, found = shop.store.traffic.index, "", list[Seen]()
    while len(found) < MOST:
        page = index.exchanges(None, Filters(task=task.name, since=since), after=after, limit=PAGE)
        found += [one for row in page.rows if (one := _seen(row, variant.digest)) is not None]
        after = page.after
        if not after:
            break
    return found[::-1]


def input_of(shop: Workshop, task: Task, exchange: str) -> Request | None:
    """The input of an exchange; None where its content was not kept, or holds none."""
    kept = shop.store.traffic.read(None, exchange)
    if kept.content is None or kept.state != "kept":
        return None
    request = content_of(kept.content.asked, "")
    return find_input(request, task, id=exchange, max_bytes=MOST_BYTES) if isinstance(request, dict) else None


def _seen(row: Exchange, variant: str) -> Seen | None:
    if row.endpoint not in ("chat", "completions"):
        return None
    for hop in row.hops:
        if hop.served_by == variant and hop.kind == "local":
            return Seen(row.id, row.at, row.tenant, hop.label, hop.confidence)
    return Seen(row.id, row.at, row.tenant, row.label, row.confidence) if row.variant == variant else None


_KNOWN: dict[str, TextViews] = {}
"""By data set: what is fitted depends on nothing else."""
MOST_KNOWN = 8


def _views(task: Task, dataset: Dataset, snapshot: Snapshot) -> TextViews:
    if dataset.digest not in _KNOWN:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        rows, sort = snapshot.splits["train"], kind_of(task).stratum
        _KNOWN[dataset.digest] = TextViews.fit([row.text for row in rows], [sort(row) for row in rows])
    return _KNOWN[dataset.digest]


def _to_parquet(seen: Sighted) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, Any] = {"id": pa.array(seen.ids, pa.string())}
    columns |= {f"view.{i}": pa.array(seen.values[:, i], pa.float64()) for i in range(seen.values.shape[1])}
    columns |= {f"column.{name}": pa.array(values, pa.string()) for name, values in seen.columns.items()}
    out = io.BytesIO()
    parquet.write_table(pa.table(columns), out, compression="zstd")
    return out.getvalue()


def _from_parquet(data: bytes) -> Sighted:
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(data))
    views = [table[name].to_numpy() for name in table.column_names if name.startswith("view.")]
    columns = {
        name.removeprefix("column."): tuple(table[name].to_pylist())
        for name in table.column_names
        if name.startswith("column.")
    }
    return Sighted(tuple(table["id"].to_pylist()), np.column_stack(views), columns)
