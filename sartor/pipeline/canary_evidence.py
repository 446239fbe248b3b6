"""What a canary's verdict rested on: every exchange that counted, kept so that the verdict can be reached again."""

import io
from dataclasses import asdict
from typing import Any

import numpy as np

from sartor.core.records import Report
from sartor.core.route import Route
from sartor.evaluation.exposed import Outcomes
from sartor.evaluation.gates.canary import NAME, VERSION, Settings, Verdict, judge_canary
from sartor.pipeline.declared import Judged
from sartor.pipeline.workshop import Workshop

FILE = "outcomes.parquet"
TEXTS = ("arm", "stratum", "unit")


def evidence(shop: Workshop, route: Route, outcomes: Outcomes, settings: Settings, verdict: Verdict) -> Judged:
    """The verdict with the report of what was seen, stored."""
    rows = shop.store.vault.put_bytes(_to_parquet(outcomes))
    report = Report(
        purpose="canary",
        subject=str(route.canary.to if route.canary else ""),
        title=route.name,
        task=route.task,
        rows=rows,
        files={FILE: rows},
        facts={"settings": asdict(settings), "verdict": verdict.body()},
    )
    shop.store.ledger.put(report)
    return Judged(NAME, VERSION, verdict.checks, report)


def rejudge(shop: Workshop, report: Report) -> Verdict:
    """The verdict again, from the exchanges that were kept with it.

    Raises:
        StoreError: they are missing or damaged.
    """
    outcomes = _from_parquet(shop.store.vault.read(report.files[FILE]))
    settings = dict(report.facts["settings"])
    return judge_canary(outcomes, Settings(**settings | {"limits": tuple(settings["limits"])}))


def _to_parquet(outcomes: Outcomes) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {name: column for name, column in vars(outcomes).items() if name != "guards" and column is not None}
    out = io.BytesIO()
    parquet.write_table(pa.table(columns), out, compression="zstd")
    return out.getvalue()


def _from_parquet(data: bytes) -> Outcomes:
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(data))
    columns = {name: table[name].to_numpy() for name in table.column_names if name not in TEXTS}
    texts: dict[str, Any] = {name: np.array(table[name].to_pylist(), dtype=np.str_) for name in TEXTS}
    return Outcomes(**columns, **texts)
