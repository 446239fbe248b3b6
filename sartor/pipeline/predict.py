"""Answer a file of rows in batch, with the same variants and value function as the server."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, NotFoundError, unknown
from sartor.core.predict import Prediction, Request
from sartor.core.task import InputSpec, SourcePick
from sartor.data.reading import as_text, open_source
from sartor.pipeline.serve import Handles
from sartor.pipeline.workshop import Workshop

BATCH = 256
READERS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
"""Ending of a file -> source that reads it."""


@dataclass(frozen=True)
class Batch:
    """What was done."""

    rows: int
    escalated: int
    version: str
    """Handle of the variant that answered."""
    variant: str
    out: str

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def predict_file(shop: Workshop, model: str, rows: Path, out: Path) -> Batch:
    """Answer every row of a file and write the answers beside the row's own columns.

    Args:
        model: task, task@live or task@v7; '' for the only live task.
        out: .parquet, .csv or .jsonl.

    Raises:
        AskError: the file can't be read, lacks an input column, or `out` has another ending.
        NotFoundError: no such model, or no such folder to write into.
    """
    if out.suffix not in (".parquet", ".csv", ".jsonl"):
        raise AskError(f"'{out}' must end in .parquet, .csv or .jsonl: the ending says how to write.", param="out")
    if not out.parent.is_dir():
        raise NotFoundError(
            f"There is no folder '{out.parent}' to write '{out.name}' into. Make it, or name another place with --out.",
            param="out",
            code="no_folder",
        )
    handles = Handles(shop)
    served = handles.resolve(model or _only_task(handles.live()))
    records = _read(rows)
    requests = [_request(served.task.input, record, number) for number, record in enumerate(records, start=1)]
    answers: list[Prediction] = []
    for start in range(0, len(requests), BATCH):
        shop.progress("answering", start, len(requests))
        answers += asyncio.run(served.predictor.predict(requests[start : start + BATCH]))
    shop.progress("answering", len(requests), len(requests))
    _write(out, records, answers)
    escalated = sum(answer.decision == "escalate" for answer in answers)
    return Batch(len(answers), escalated, served.version, served.variant, str(out))


def _only_task(tasks: Sequence[str]) -> str:
    if len(tasks) != 1:
        raise (
            unknown("model", "", tasks, param="model")
            if tasks
            else AskError("No task is live yet. Make one: sartor run task.yaml", code="nothing_live")
        )
    return tasks[0]


def _read(path: Path) -> list[dict[str, Any]]:
    use = READERS.get(path.suffix)
    if use is None:
        raise AskError(
            f"'{path}' can't be read: it must end in {', '.join(READERS)}.", param="rows", code="unknown_format"
        )
    source, params = open_source(SourcePick.model_validate({"use": use, "path": str(path.resolve())}), path.parent)
    return [dict(record) for record in source(params)]


def _request(how: InputSpec, record: dict[str, Any], number: int) -> Request:
    inputs = {column: as_text(record.get(column)) for column in how.columns}
    missing = [column for column, text in inputs.items() if text is None and column not in record]
    if missing:
        raise AskError(
            f"Row {number} has no column '{missing[0]}', which the task reads. It has: {', '.join(map(str, record))}.",
            code="missing_column",
            param=missing[0],
        )
    texts = {column: text or "" for column, text in inputs.items()}
    return Request(text=how.render(texts), id=str(number), inputs=texts)


def _write(out: Path, records: Sequence[dict[str, Any]], answers: Sequence[Prediction]) -> None:
    import pyarrow as pa

    rows = [
        {
            **{name: as_text(value) for name, value in record.items()},
            "answer": answer.output,
            "decision": answer.decision,
            "confidence": answer.confidence,
            "expected_cost": answer.expected_cost,
            "out_of_scope": answer.out_of_scope,
            "variant": answer.served_by,
        }
        for record, answer in zip(records, answers, strict=True)
    ]
    if out.suffix == ".jsonl":
        import json

        out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return
    table = pa.Table.from_pylist(rows)
    if out.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, out)
    else:
        import pyarrow.csv as pc

        pc.write_csv(pa.Table.from_pylist([_harmless(row) for row in rows]), out)


def _harmless(row: dict[str, Any]) -> dict[str, Any]:
    """Text that a spreadsheet would run as a formula gets a quote in front."""
    return {k: f"'{v}" if isinstance(v, str) and v[:1] in "=+-@\t\r" and v else v for k, v in row.items()}
