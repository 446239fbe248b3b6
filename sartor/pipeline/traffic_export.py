"""Captured traffic as files: exchanges with their content, and in columns the input that a task finds in each."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from sartor.core.canonical import digest
from sartor.core.errors import AskError, NotFoundError
from sartor.core.records import EXPORT, Run, now
from sartor.core.task import Task
from sartor.core.traffic import NANO, Exchange
from sartor.gateway.unpack import find_input
from sartor.pipeline.serve import contract_of
from sartor.pipeline.traffic import content_of, iso
from sartor.pipeline.workshop import Workshop
from sartor.store.traffic.queries import Filters

MOST_BYTES = 128 * 1024
"""Of one input."""


@dataclass
class Exported:
    """What was written, and what could not be, by why."""

    path: str
    rows: int = 0
    without_content: int = 0
    erased: int = 0


def export(shop: Workshop, tenant: str | None, target: Path, filters: Filters, spec: Task | None = None) -> Exported:
    """Write exchanges with their content to a file: `.jsonl` as the source `chat_logs` reads it, or `.parquet`.

    Exchanges whose content was not kept, or whose person was erased, are counted and left out. The input that a task
    finds in a request stands in its columns, so that models learn from what they will be given.

    Args:
        spec: finds the input; default the contract of each exchange's own task.

    Raises:
        AskError: the file is there already, its name ends otherwise, or its folder is not there.
    """
    if target.exists():
        raise AskError(f"{target} is there already. Name another file.", param="target", code="target_exists")
    if target.suffix not in (".jsonl", ".parquet"):
        raise AskError(f"{target}: name a file that ends in .jsonl or .parquet.", param="target", code="bad_target")
    if not target.parent.is_dir():
        raise AskError(
            f"There is no folder {target.parent}. Make it, or name another.", param="target", code="no_folder"
        )
    done = Exported(str(target))
    rows = _export_rows(shop, tenant, filters, done, spec)
    part = target.with_name(f"{target.name}.part")
    try:
        if target.suffix == ".jsonl":
            with part.open("wb") as out:
                out.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        else:
            _write_parquet(part, rows)
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    _book(shop, tenant, filters, done)
    return done


def _book(shop: Workshop, tenant: str | None, filters: Filters, done: Exported) -> None:
    """Keep what was written where, so that a recall can name the files that nobody but their owner can remove."""
    asked = {name: value for name, value in asdict(filters).items() if value}
    params = {"target": str(Path(done.path).resolve()), "rows": done.rows, "tenant": tenant or "", "filters": asked}
    shop.store.ledger.put(Run(verb=EXPORT, key=digest([EXPORT, params, now()]), params=params))


def _export_rows(
    shop: Workshop, tenant: str | None, filters: Filters, done: Exported, spec: Task | None
) -> Iterator[dict[str, Any]]:
    traffic = shop.store.traffic
    specs: dict[str, Task] = {}
    traffic.index.catch_up()
    after = ""
    while True:
        page = traffic.index.exchanges(tenant, filters, after=after, limit=500)
        for found in page.rows:
            kept = traffic.read(tenant, found.id)
            if kept.content is None or kept.state != "kept":
                done.erased += kept.state == "erased"
                done.without_content += kept.state != "erased"
                continue
            done.rows += 1
            told = {f.metric: f.value for f in traffic.index.feedback_of(tenant, found.id)}
            request = content_of(kept.content.asked, "")
            how = spec or _spec_of(shop, found.task, specs)
            inputs = _inputs(found, request, how)
            yield _export_row(found, request, content_of(kept.content.answered, ""), told) | {"inputs": inputs} | inputs
        after = page.after
        if not after:
            return


def _spec_of(shop: Workshop, task: str, known: dict[str, Task]) -> Task | None:
    """The contract under which a task answers now; None where the ledger has none."""
    if task and task not in known:
        with suppress(NotFoundError):
            known[task] = Task.model_validate(contract_of(shop, task).contract)
    return known.get(task)


def _inputs(found: Exchange, request: Any, how: Task | None) -> dict[str, str]:
    """The columns of the input, where the task finds them in the request."""
    if how is None or not isinstance(request, dict):
        return {}
    try:
        one = find_input(request, how, id=found.id, max_bytes=MOST_BYTES)
    except AskError:
        return {}
    return dict(one.inputs) if one else {}


def _export_row(found: Exchange, request: Any, response: Any, told: Mapping[str, Any]) -> dict[str, Any]:
    plain = {
        "id": found.id,
        "time": iso(found.at),
        "tenant": found.tenant,
        "route": found.route,
        "task": found.task,
        "version": found.version,
        "decision": found.decision,
        "answer": found.label,
        "confidence": found.confidence,
        "arm": found.arm,
        "money": found.cost / NANO,
        "status": found.status,
        "demonstration": told.get("demonstration"),
    }
    return plain | {"feedback": dict(told), "request": request, "response": response}


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    nested = ("inputs", "feedback", "request", "response")
    texts = ("id", "time", "tenant", "route", "task", "version", "decision", "answer", "arm", "demonstration")
    schema = pa.schema(
        [(name, pa.string()) for name in (*texts, *nested)]
        + [("confidence", pa.float64()), ("money", pa.float64()), ("status", pa.int64())]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        batch = []
        for row in rows:
            batch.append(row | {name: orjson.dumps(row[name]).decode() for name in nested})
            if len(batch) == 1000:
                out.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        out.write_table(pa.Table.from_pylist(batch, schema=schema))
