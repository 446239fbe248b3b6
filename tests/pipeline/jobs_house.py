"""Handlers for tests of jobs, and a worker process that knows them: python jobs_house.py FOLDER URL NAME QUEUES SLOTS.

FOLDER has the store, a log with a line for each step begun, and files that let a step that waits go on.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, ConflictError, StoreError
from sartor.core.jobs import Context, Later
from sartor.core.records import TaskRecord
from sartor.pipeline import attempt
from sartor.pipeline.work import Kind
from sartor.pipeline.worker import Settings, Worker
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

BEAT, LEASE = 0.2, 1.2
KINDS = {
    name: Kind(f"jobs_house:{name}", about)
    for name, about in {
        "steps": "Steps that are logged; one may wait.",
        "wrong": "Fails for good.",
        "shaky": "Fails twice, then not.",
        "parent": "Waits for parts.",
        "long": "One long step that tells how far it is.",
        "changed": "Takes other steps the second time.",
    }.items()
}


def shop_in(folder: Path, url: str) -> Workshop:
    store = open_store(folder / "store", ledger_url=url or None)
    return Workshop(store, folder / "key", folder / "cache", who="tests")


def note(folder: Path, line: str) -> None:
    with (folder / "log").open("a") as log:
        log.write(f"{line} {os.getpid()}\n")


def lines(folder: Path) -> list[list[str]]:
    log = folder / "log"
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def steps(shop: Workshop, context: Context) -> Mapping[str, Any]:
    """args: folder, steps, wait_in (number of the step that waits for the file `go`), tag."""
    args = context.job.args
    folder, tag = Path(args["folder"]), args.get("tag", "x")
    total = 0
    for n in range(args["steps"]):

        def work(n: int = n) -> dict[str, Any]:
            note(folder, f"{tag}-{n}")
            while n == args.get("wait_in", -1) and not (folder / "go").exists():
                time.sleep(0.02)
            made = shop.store.ledger.put(TaskRecord(name=f"{tag}-{n}", contract={"by": os.getpid()}))
            note(folder, f"{tag}-{n}-written")
            return {"n": n, "made": made}

        total += context.step(f"step {n}", work)["n"]
        context.say(f"did {n}")
    return {"total": total, "by": os.getpid()}


def wrong(shop: Workshop, context: Context) -> Mapping[str, Any]:
    raise AskError("There is no task 'gone'.", code="task_not_found")


def shaky(shop: Workshop, context: Context) -> Mapping[str, Any]:
    folder = Path(context.job.args["folder"])

    def unsteady() -> dict[str, Any]:
        note(folder, "shaky")
        if len([line for line in lines(folder) if line[0] == "shaky"]) < 3:
            raise StoreError("The disk is full.", code="store_full")
        return {"fine": True}

    context.step("steady", lambda: note(folder, "steady") or {})
    return context.step("unsteady", unsteady)


def parent(shop: Workshop, context: Context) -> Mapping[str, Any]:
    from sartor.core.jobs import JobRequest

    args = context.job.args

    def ask() -> dict[str, Any]:
        part = {"folder": args["folder"], "steps": 1}
        wanted = [JobRequest("steps", part | {"tag": f"p{n}"}, waits_for=context.job.id) for n in range(3)]
        return {"parts": [job.id for job in shop.store.jobs.submit_many(wanted)]}

    context.step("ask for parts", ask)
    counts = shop.store.jobs.counts(part_of=context.job.id)
    if counts.get("succeeded", 0) < 3:
        raise Later(0.2, f"waits for parts: {counts}")
    return {"done": counts}


def long(shop: Workshop, context: Context) -> Mapping[str, Any]:
    folder = Path(context.job.args["folder"])

    def work() -> dict[str, Any]:
        note(folder, "long")
        for n in range(400):
            shop.progress("epochs", n, 400)
            if (folder / "go").exists():
                break
            time.sleep(0.02)
        return {"n": n}

    return context.step("train", work)


def changed(shop: Workshop, context: Context) -> Mapping[str, Any]:
    folder = Path(context.job.args["folder"])
    first = not lines(folder)
    note(folder, "begun")
    context.step("old" if first else "new", dict)
    if first:
        raise StoreError("Not yet.", code="not_yet")
    return {"steps": "new"}


def main() -> None:
    folder, url, name, queues, slots = Path(sys.argv[1]), *sys.argv[2:6]
    attempt.BACKOFF = (0.1, 1.0)
    shop = shop_in(folder, url)
    way = Settings(name, tuple(queues.split(",")), int(slots), BEAT, LEASE, drain_seconds=5.0)  # type: ignore[arg-type]
    worker = Worker(shop, way, KINDS)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    try:
        worker.run(lambda: print("ready", flush=True))
    except ConflictError as error:
        sys.exit(error.message)
    shop.store.close()
    print("ended", flush=True)


if __name__ == "__main__":
    main()
