"""What a subject answered to each row, kept as one Parquet file: every figure can be recomputed from it.

Knows no models and no money: what answers cost, and what would be answered under another value function, is told by
whoever judges them (`judging`) and needs no new predictions. Figures of the machine (seconds, measured unit cost) are
not kept here, so that the same answers are the same bytes everywhere.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from sartor.core.errors import SartorError, StoreError
from sartor.core.predict import Claim, Doubts, Floats, Prediction
from sartor.core.rows import Row
from sartor.core.value import Ints

Texts = npt.NDArray[np.str_]
Notes = npt.NDArray[np.object_]
"""Texts of very different lengths."""
NOTES = ("truth", "output", "said")
SLICE = "slice."
"""Prefix of the Parquet columns that hold what rows are sliced by."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers to the rows of one split, by columns of equal length."""

    ids: Texts
    """(rows,) ids of the rows, no two alike."""
    true: Ints
    """(rows,) class index of the truth; -1 where the truth is no label of the task. Where answers are written: 0, and
    -1 where nobody knows the truth."""
    answer: Ints
    """(rows,) class index of the answer; -1 where there is no valid one. Where answers are written: 0 or -1."""
    escalated: npt.NDArray[np.bool_]
    """(rows,) rows that someone else is asked about; `answer` is then only the best guess."""
    serving_cost: Floats
    """(rows,) money that answering cost, as far as it is the same on every machine (tokens at a price)."""
    probabilities: npt.NDArray[np.float32] | None = None
    """(rows, labels) calibrated."""
    out_of_scope: Floats | None = None
    """(rows,) higher means less like anything in training."""
    groups: Texts | None = None
    """(rows,) rows of one group are not independent of each other; a row without a group is one of its own."""
    truth: Notes | None = None
    """(rows,) right answers, where answers are written: canonical JSON, or the text."""
    output: Notes | None = None
    """(rows,) answers that were given, where answers are written; '' for none."""
    said: Notes | None = None
    """(rows,) JSON of what was believed, value by value (`told`); '' where the subject says nothing of it."""
    slices: Mapping[str, Texts] = field(default_factory=dict)
    """Column -> (rows,) values by which rows are looked at apart."""

    def __post_init__(self) -> None:
        rows = len(self.ids)
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "slices"} | dict(self.slices)
        for name, column in columns.items():
            if column is not None and len(column) != rows:
                raise _bad(f"column '{name}' has {len(column)} values for {rows} rows")
            if column is not None and column.dtype.kind == "f" and not np.isfinite(column).all():
                raise _bad(f"column '{name}' has values that are no finite numbers")
        if len(np.unique(self.ids)) != rows:
            raise _bad("two rows have the same id")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> "Answers":
        """These rows only (indices or a mask), in this order."""
        cut = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "slices"}
        taken: dict[str, Any] = {name: None if column is None else column[rows] for name, column in cut.items()}
        return Answers(**taken, slices={name: column[rows] for name, column in self.slices.items()})

    def to_parquet(self) -> bytes:
        """The file: equal answers give equal bytes under one version of pyarrow."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, Any] = {
            "id": pa.array(self.ids.tolist(), pa.string()),
            "true": pa.array(self.true, pa.int32()),
            "answer": pa.array(self.answer, pa.int32()),
            "escalated": pa.array(self.escalated, pa.bool_()),
            "serving_cost": pa.array(self.serving_cost, pa.float64()),
        }
        if self.out_of_scope is not None:
            columns["out_of_scope"] = pa.array(self.out_of_scope, pa.float64())
        for name in NOTES:
            if (notes := getattr(self, name)) is not None:
                columns[name] = pa.array(notes.tolist(), pa.string())
        if self.groups is not None:
            columns["group"] = pa.array(self.groups.tolist(), pa.string())
        for name in sorted(self.slices):
            columns[SLICE + name] = pa.array(self.slices[name].tolist(), pa.string())
        if self.probabilities is not None:
            flat = np.ascontiguousarray(self.probabilities, dtype=np.float32)
            columns["probabilities"] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
        sink = BytesIO()
        pq.write_table(pa.table(columns), sink, compression="zstd", version="2.6")
        return sink.getvalue()

    @classmethod
    def from_parquet(cls, data: bytes) -> "Answers":
        """Read `to_parquet` back.

        Raises:
            StoreError: the bytes are no answers file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(BytesIO(data))
            return cls(
                ids=_texts(table["id"].to_pylist()),
                true=table["true"].to_numpy(),
                answer=table["answer"].to_numpy(),
                escalated=table["escalated"].to_numpy(),
                serving_cost=table["serving_cost"].to_numpy(),
                probabilities=_probabilities(table),
                out_of_scope=table["out_of_scope"].to_numpy() if "out_of_scope" in table.column_names else None,
                groups=_texts(table["group"].to_pylist()) if "group" in table.column_names else None,
                **{name: notes(table[name].to_pylist()) for name in NOTES if name in table.column_names},
                slices={
                    name.removeprefix(SLICE): _texts(table[name].to_pylist())
                    for name in table.column_names
                    if name.startswith(SLICE)
                },
            )
        except (pa.ArrowException, KeyError, OSError) as error:
            raise StoreError(f"A file of answers can't be read: {error}", code="bad_answers") from error


def collect(
    rows: Sequence[Row], labels: Sequence[str], predictions: Sequence[Prediction], slices: Sequence[str] = ()
) -> Answers:
    """Put rows and what was predicted for them side by side.

    Args:
        labels: position is the class index; a predicted label that is none of them counts as no valid answer. None:
            answers are written, and kept as texts.
        slices: columns of the rows' inputs and extras whose values are kept, to be looked at apart.

    Raises:
        SartorError: the counts differ, a probability is no number, or two rows have the same id.
    """
    if len(rows) != len(predictions):
        raise _bad(f"there are {len(predictions)} predictions for {len(rows)} rows")
    grouped = any(row.group is not None for row in rows)
    return Answers(
        ids=_texts([row.id for row in rows]),
        **(_chosen(rows, labels, predictions) if labels else _written(rows, predictions)),
        escalated=np.array([p.decision == "escalate" for p in predictions], dtype=bool),
        serving_cost=np.array([p.cost for p in predictions], dtype=np.float64),
        out_of_scope=_column([p.out_of_scope for p in predictions]),
        groups=_texts([_group(row) for row in rows]) if grouped else None,
        slices={name: _texts([row.extra.get(name, row.inputs.get(name, "")) for row in rows]) for name in slices},
    )


def _chosen(rows: Sequence[Row], labels: Sequence[str], predictions: Sequence[Prediction]) -> dict[str, Any]:
    index = {label: i for i, label in enumerate(labels)}
    return {
        "true": np.array([index.get(row.label or "", -1) for row in rows], dtype=np.int32),
        "answer": np.array([index.get(p.output or "", -1) for p in predictions], dtype=np.int32),
        "probabilities": _stacked([p.probabilities for p in predictions], len(labels)),
    }


def _written(rows: Sequence[Row], predictions: Sequence[Prediction]) -> dict[str, Any]:
    return {
        "true": np.array([0 if row.label is not None else -1 for row in rows], dtype=np.int32),
        "answer": np.array([0 if p.output is not None else -1 for p in predictions], dtype=np.int32),
        "truth": notes([row.label for row in rows]),
        "output": notes([p.output for p in predictions]),
        "said": notes([told(p.claims, p.doubts) if p.confidence is not None else "" for p in predictions]),
    }


def told(claims: Sequence[Claim], doubts: Doubts = Doubts()) -> str:
    """What was believed, as one JSON text."""
    each = [[c.path, c.value, round(c.right, 6), round(c.absent, 6)] for c in claims]
    return json.dumps({"claims": each, "unseen": round(doubts.unseen, 6), "whole": doubts.whole}, ensure_ascii=False)


def heard(said: str) -> tuple[list[Claim], Doubts]:
    """`told` read back; no claims from an empty text."""
    if not said:
        return [], Doubts()
    body = json.loads(said)
    claims = [Claim(path, value, right, absent) for path, value, right, absent in body["claims"]]
    return claims, Doubts(body["unseen"], tuple(body["whole"]))


def notes(values: Sequence[str | None]) -> Notes:
    """Texts as a column; '' for None."""
    column = np.empty(len(values), dtype=object)
    column[:] = [value or "" for value in values]
    return column


def _group(row: Row) -> str:
    return f"g:{row.group}" if row.group is not None else f"r:{row.id}"


def _texts(values: Sequence[str | None]) -> Texts:
    return np.array([value or "" for value in values], dtype=np.str_)


def _column(values: Sequence[float | None]) -> Floats | None:
    """The values, or None where one of them is missing: half a column can't be ranked."""
    known = [value for value in values if value is not None]
    return np.array(known, dtype=np.float64) if known and len(known) == len(values) else None


def _stacked(values: Sequence[Floats | None], labels: int) -> npt.NDArray[np.float32] | None:
    known = [value for value in values if value is not None]
    if not known or len(known) != len(values):
        return None
    stacked = np.stack(known).astype(np.float32)
    if stacked.shape[1] != labels:
        raise _bad(f"predictions carry {stacked.shape[1]} probabilities for {labels} labels")
    return stacked


def _probabilities(table: Any) -> npt.NDArray[np.float32] | None:
    if "probabilities" not in table.column_names:
        return None
    column = table["probabilities"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(len(table), -1)


def _bad(what: str) -> SartorError:
    return SartorError(f"Answers can't be put together: {what}.", code="bad_answers")
