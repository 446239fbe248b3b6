"""OpenAI's fine-tuning through its official client, on a real server with a worker: BANKING77 from file to answers.

The same rows go the house's own way (`sartor run`) in the same store first; the tuned models are then asked all rows
of the official test one by one. Beside that, a file of 400 MB is sent, and the server's memory is watched.

`python -m benchmarks finetune [MODEL …]`, e.g. `linear head:minilm`; default `linear`.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._shared import HOME, ROOT, data_folder, paired, result, show, task, workshop

OWN = HOME.parent / "bench-finetune"
LARGE = 400 << 20
"""Bytes of the large file."""
ASKERS = 4
NAME = "banking77"


def run() -> dict[str, Any]:
    """Tune, ask, compare."""
    models = sys.argv[1:] or ["linear"]
    shutil.rmtree(OWN, ignore_errors=True)
    OWN.mkdir(parents=True)
    folder = data_folder() / NAME
    train, test = ([json.loads(line) for line in (folder / f"{split}.jsonl").open()] for split in ("train", "test"))
    version = _own_way(folder, models[0])
    lines, figures = [], {}
    with _server() as (address, pid):
        import openai

        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        own = _asked(client, version, test)
        for model in models:
            for how, metadata in (("draft", {}), ("task", {"task": NAME})):
                told = _tuned(client, model, train, test, metadata)
                compared = paired(told.pop("right") - own)
                figures[f"{model}, {how}"] = told | {"over_own_way": compared}
                lines.append((f"{model}, {how}", told["accuracy"], told["seconds"], compared["value"], told["verdict"]))
        large = _large(client, pid)
    figures["large file"] = large
    figures["own way"] = {"model": models[0], "accuracy": float(own.mean())}
    show("BANKING77 through the fine-tuning API", ("model", "accuracy#", "seconds#", "over own way#", "gate"), lines)
    show("A file of 400 MB", ("MB/s#", "memory grew by MB#"), [(large["mb_per_second"], large["grew_mb"])])
    first = figures[f"{models[0]}, task"]
    goals = {
        "every_job_succeeded_and_answers": all(f["answered"] == len(test) for n, f in figures.items() if ", " in n),
        "as_good_as_the_own_way": abs(first["over_own_way"]["value"]) <= 0.01,
        "a_file_is_not_held_in_memory": large["grew_mb"] < 64,
    }
    return result("finetune", figures, goals)


def _own_way(folder: Path, model: str) -> str:
    """What `sartor run` makes of the same rows, released so that there is a task to name; its version."""
    from sartor.pipeline.finetune_models import MODELS
    from sartor.pipeline.run import run as chain

    source = {"use": "jsonl", "licence": "CC-BY-4.0"}
    body = {
        "name": NAME,
        "data": {
            "sources": [
                source | {"path": str(folder / "train.jsonl")},
                source | {"path": str(folder / "test.jsonl"), "split": "test"},
            ],
            "on_leak": "drop_train",
        },
        "candidates": [MODELS[model].model_dump(mode="json")],
        "gate": {"guards": {}},
    }
    shop = workshop(OWN)
    found = chain(shop, task(body), folder)
    shop.store.close()
    if not found.version:
        raise SystemExit(f"The house's own way is not released: {found.decision.reasons}")
    return found.version


def _tuned(client: Any, model: str, train: list[Any], test: list[Any], metadata: dict[str, str]) -> dict[str, Any]:
    rows = b"".join(
        json.dumps(
            {"messages": [{"role": "user", "content": r["text"]}, {"role": "assistant", "content": r["label"]}]}
        ).encode()
        + b"\n"
        for r in train
    )
    started = time.monotonic()
    file = client.files.create(file=("banking77.jsonl", io.BytesIO(rows)), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=model, training_file=file.id, metadata=metadata | {"licence": "CC-BY-4.0"}, suffix=NAME
    )
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
    seconds = time.monotonic() - started
    if job.status != "succeeded":
        raise SystemExit(f"{model}: {job.error}")

    right = _asked(client, job.fine_tuned_model, test)
    events = client.fine_tuning.jobs.list_events(job.id).data
    verdict = next(event.data["verdict"] for event in events if event.data and "verdict" in event.data)
    told = {"accuracy": float(right.mean()), "answered": len(right), "seconds": round(seconds, 1), "verdict": verdict}
    return told | {"model": job.fine_tuned_model, "trained_tokens": job.trained_tokens, "right": right}


def _asked(client: Any, model: str, test: list[Any]) -> Any:
    """(rows,) whether each was answered right, one request a row."""

    def ask(row: Any) -> float:
        asked = [{"role": "user", "content": row["text"]}]
        done = client.chat.completions.create(model=model, messages=asked)
        return float(done.choices[0].message.content == row["label"])

    with ThreadPoolExecutor(ASKERS) as pool:
        return np.array(list(pool.map(ask, test)))


def _large(client: Any, pid: int) -> dict[str, float]:
    """Send a large file; how fast that was, and by how much the server's greatest memory grew."""
    path = OWN / "large.jsonl"
    line = (
        b'{"messages": [{"role": "user", "content": "' + b"x" * 900 + b'"}, {"role": "assistant", "content": "y"}]}\n'
    )
    with path.open("wb") as out:
        for _ in range(LARGE // len(line)):
            out.write(line)
    before, started = _peak(pid), time.monotonic()
    with path.open("rb") as rows:
        file = client.files.create(file=rows, purpose="fine-tune", timeout=600)
    seconds = time.monotonic() - started
    assert file.bytes == path.stat().st_size
    path.unlink()
    return {
        "mb_per_second": round(file.bytes / (1 << 20) / seconds, 1),
        "seconds": round(seconds, 2),
        "grew_mb": round((_peak(pid) - before) / 1024, 1),
    }


def _peak(pid: int) -> int:
    """Greatest resident memory so far, in KiB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


@contextmanager
def _server() -> Iterator[tuple[str, int]]:
    """A server with a worker on the benchmark's store."""
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "serve", "--port", "0", "--with-worker"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "SARTOR_HOME": str(OWN), "OMP_WAIT_POLICY": "passive"}
    running = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        yield running.stdout.readline().split()[-1].removesuffix("/v1"), running.pid
    finally:
        running.terminate()
        running.wait(timeout=60)
