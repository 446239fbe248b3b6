"""Learning as a durable job, and what a run would do before it is started."""

from collections.abc import Mapping, Sequence
from typing import Any

from sartor.core.errors import AskError
from sartor.core.jobs import Context, JobRequest
from sartor.core.records import Dataset
from sartor.core.section import Pick
from sartor.data.snapshot import read_rows
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.harvest import harvest
from sartor.pipeline.here import Here
from sartor.pipeline.learn import beginning, learn
from sartor.pipeline.make import made_for
from sartor.pipeline.standing import current
from sartor.pipeline.task_file import parse_task
from sartor.pipeline.workshop import Workshop


def learn_request(name: str, *, file: str = "", strategies: Sequence[Pick] | None = None, who: str = "") -> JobRequest:
    """The job that learns for a task.

    Args:
        file: text of a task file, where another contract than the live one is meant.
    """
    args: dict[str, Any] = {"task": name}
    args |= {"file": file} if file else {}
    args |= {"strategies": [pick.model_dump(mode="json") for pick in strategies]} if strategies is not None else {}
    return JobRequest(kind="learn", args=args, task=name, once=f"learn {name}", who=who)


def learn_job(shop: Workshop, context: Context) -> Mapping[str, Any]:
    """The handler of kind `learn`."""
    args = context.job.args
    name = args.get("task")
    if not isinstance(name, str) or not name:
        raise AskError("A job of kind 'learn' needs 'task', the task's name.", param="args", code="bad_job")
    task = parse_task(args["file"]) if args.get("file") else None
    picks = [Pick.model_validate(item) for item in args["strategies"]] if "strategies" in args else None
    return learn(shop, task, name, context=context, strategies=picks).body()


def plan_learn(shop: Workshop, args: Mapping[str, Any]) -> dict[str, Any]:
    """What learning would do now: rows, seconds and money, as far as past runs tell.

    Makes the harvest alone: the standing test stays as it is, and rows that the data set will leave out are counted.

    Raises:
        NotFoundError: no such task is live.
    """
    name = str(args.get("task", ""))
    live, task = beginning(shop, parse_task(args["file"]) if args.get("file") else None, name, Here())
    base = shop.store.ledger.get(live.data)
    assert isinstance(base, Dataset)
    taught = harvest(shop, task)
    known = {row.id for split in ("train", "validation") for row in open_dataset(shop, base).splits[split]}
    rows = read_rows(shop.store.folder(taught) / "rows.parquet")
    new = sum(row.extra["side"] == "train" and row.id not in known for row in rows)
    test = current(shop, name)
    took = made_for(shop, live)
    seconds = took.seconds / max(base.counts["train"], 1) * (base.counts["train"] + new) * len(task.candidates)
    return {
        "task": name,
        "harvest": dict(taught.facts),
        "train_rows": base.counts["train"] + new,
        "new_rows": new,
        "test_rows": test.facts["rows"] if test else base.counts["test"],
        "strategies": [pick.use for pick in task.learn.strategies],
        "steps": ["harvest", "choose a strategy", *(f"make {c.title}" for c in task.candidates), "inspect", "decide"],
        "seconds": seconds,
        "cost": seconds * shop.second_price,
        "currency": task.value.currency,
        "ship": task.wheel.ship,
        "how_known": "what making the live variant took, by the row",
    }
