"""Durable jobs: ask for one, look, watch, cancel, pause, resume, retry; and the worker that does them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, mode, program, say, table, workshop

app = typer.Typer(
    name="jobs", help="Durable jobs: ask, look, watch, cancel, pause, resume, retry.", no_args_is_help=True
)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.", show_default=False)]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")]


def add_to(top: typer.Typer) -> None:
    """Put these commands on the top level."""
    top.command()(worker)


@app.command()
def submit(
    kind: Annotated[
        str,
        typer.Argument(
            help="What it does; see: sartor jobs kinds. A task's file stands for 'run'.", show_default=False
        ),
    ],
    args: Annotated[
        str, typer.Option("--args", help='JSON object that the kind reads, e.g. \'{"task": "triage"}\'.')
    ] = "",
    task: Annotated[str, typer.Option("--task", help="Task that it is about.")] = "",
    queue: Annotated[str, typer.Option("--queue", help="cpu or gpu; default: the kind's own.")] = "",
    priority: Annotated[int, typer.Option(help="Greater first, within a tenant's turn.")] = 0,
    once: Annotated[str, typer.Option(help="While a job with this word has not ended, that one is given.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, how long, how dear.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Do it in this process, without a worker, and wait.")] = False,
) -> None:
    """Ask for a job. It is durable when this returns; a worker does it: sartor worker.

    Example: sartor jobs submit task.yaml

    Exit code 7 with --wait: the job did not succeed.
    """
    from dataclasses import replace

    from sartor.core.jobs import JobRequest
    from sartor.pipeline.jobs import read_args, submit_job

    if kind.endswith((".yaml", ".yml")):
        from sartor.pipeline.run_job import run_request

        request = run_request(Path(kind))
    else:
        request = JobRequest(kind, read_args(args), task=task)
    request = replace(request, priority=priority, once=once or request.once)
    with workshop(deed="" if dry_run else "jobs.submit_job", target=request.task or kind) as shop:
        if wait and not dry_run:
            from sartor.pipeline.jobs import body_of
            from sartor.pipeline.work import run_here

            found = body_of(run_here(shop, replace(request, queue=queue or request.queue)))  # type: ignore[arg-type]
        else:
            found = submit_job(shop, request, queue=queue, dry_run=dry_run)
    emit(found, lambda: _show_plan(found) if dry_run else _show(found))
    if wait and not dry_run and found["state"] != "succeeded":
        raise typer.Exit(7)


@app.command("list")
def list_(
    state: Annotated[str, typer.Option(help="queued, running, paused, succeeded, failed, cancelled or dead.")] = "",
    task: Annotated[str, typer.Option("--task", help="Only of this task.")] = "",
    kind: Annotated[str, typer.Option(help="Only of this kind.")] = "",
    part_of: Annotated[str, typer.Option(metavar="JOB", help="Only the parts of this job.")] = "",
    limit: Limit = 30,
    after: Annotated[str, typer.Option(metavar="JOB", help="Only those asked for before this one.")] = "",
) -> None:
    """List jobs, newest first."""
    from sartor.pipeline.jobs import list_jobs

    with workshop(read_only=True) as shop:
        found = list_jobs(shop, state=state, task=task, kind=kind, part_of=part_of, limit=limit, after=after)
    emit(found, lambda: _show_many(found))


@app.command()
def show(job: JobId) -> None:
    """Show one job: how it stands, what it is doing, what became of it."""
    from sartor.pipeline.jobs import show_job

    with workshop(read_only=True) as shop:
        found = show_job(shop, job)
    emit(found, lambda: _show(found))


@app.command()
def logs(
    job: JobId,
    after: Annotated[int, typer.Option(min=0, help="Only what it said after this event.")] = 0,
    limit: Limit = 1000,
) -> None:
    """Print what a job said, oldest first."""
    from sartor.pipeline.jobs import list_events

    with workshop(read_only=True) as shop:
        found = list_events(shop, job, after=after, limit=limit)

    def people() -> None:
        for event in found:
            say(_event(event))

    emit(found, people)


@app.command()
def watch(job: JobId) -> None:
    """Follow a job until it has ended: its progress, and what it says, as it comes.

    Exit code 7: it did not succeed.
    """
    import json

    from sartor.core.jobs import Event
    from sartor.pipeline.jobs import body_of, job_named
    from sartor.pipeline.jobs import watch as follow

    last: dict[str, Any] = {}
    with workshop(read_only=True) as shop:
        for seen in follow(shop, job_named(shop, job).id):
            body = vars(seen) if isinstance(seen, Event) else body_of(seen)
            if mode.json:
                print(json.dumps({"said" if isinstance(seen, Event) else "job": body}, default=str), flush=True)
            elif isinstance(seen, Event):
                say(_event(body))
            elif seen.total:
                say(f"  {seen.step}: {seen.done:,} of {seen.total:,}")
            last = last if isinstance(seen, Event) else body
    if not mode.json:
        _show(last)
    if last["state"] != "succeeded":
        raise typer.Exit(7)


@app.command()
def cancel(job: JobId) -> None:
    """Cancel a job: at once where it waits, at its next step or check where it runs. Twice is once."""
    _change("cancel_job", job)


@app.command()
def pause(job: JobId) -> None:
    """Pause a job; what it has finished is kept."""
    _change("pause_job", job)


@app.command()
def resume(job: JobId) -> None:
    """Let a paused job go on behind its last finished step, or one begin that waits for its time."""
    _change("resume_job", job)


@app.command()
def retry(job: JobId) -> None:
    """Have a job go on that failed, died or was cancelled."""
    _change("retry_job", job)


@app.command()
def workers() -> None:
    """List who works on jobs, when each last said that it lives, and what each has."""
    from sartor.pipeline.jobs import list_workers

    with workshop(read_only=True) as shop:
        found = list_workers(shop)
    columns = ["worker", "queues", "contract", "silent for s#", "jobs"]
    rows = ((w["name"], ", ".join(w["queues"]), w["version"], w["quiet"], ", ".join(w["jobs"])) for w in found)
    emit(found, lambda: table("", columns, rows) if found else say("No worker. Start one: sartor worker"))


@app.command()
def kinds() -> None:
    """List what can be asked for."""
    from sartor.pipeline.jobs import list_kinds

    found = list_kinds()
    emit(
        found,
        lambda: table("", ["kind", "queue", "what it does"], ((k["kind"], k["queue"], k["about"]) for k in found)),
    )


def worker(
    queue: Annotated[
        list[str] | None, typer.Option("--queue", help="cpu or gpu; may be given twice. Default: cpu.")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, max=64, help="Jobs at the same time, in each queue.")] = 1,
    name: Annotated[str, typer.Option(help="A fixed one takes its own jobs back at once after a crash.")] = "",
    beat_seconds: Annotated[float, typer.Option(min=0.05, max=60, help="Between two signs of life.")] = 2.0,
    lease_seconds: Annotated[
        float, typer.Option(min=0.2, max=3600, help="Of silence, after which its jobs are others'.")
    ] = 15.0,
    drain_seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="For running jobs to reach a step's end when told to stop.")
    ] = 30.0,
) -> None:
    """Do jobs until told to stop. Any number of workers may share a store; on several machines they share PostgreSQL.

    SIGTERM or Ctrl-C: no more jobs are taken, those under way are given back at the end of their step.
    """
    from sartor.interfaces.job_worker import work_forever
    from sartor.interfaces.settings import Settings
    from sartor.pipeline.worker import Settings as Way
    from sartor.pipeline.worker import queues_named

    way = Way(
        name=name,
        queues=queues_named(queue or ["cpu"]),
        slots=slots,
        beat_seconds=beat_seconds,
        lease_seconds=lease_seconds,
        drain_seconds=drain_seconds,
    )
    shop = Settings.read(mode.home).workshop()
    try:
        work_forever(shop, way, lambda name: say(f"Working as {name} on {', '.join(way.queues)}"))
    finally:
        shop.store.close()


def _change(verb: str, job: str) -> None:
    from sartor.pipeline import jobs

    with workshop(deed=f"jobs.{verb}", target=job) as shop:
        found = getattr(jobs, verb)(shop, job)
    emit(found, lambda: _show(found))


def _show(job: Mapping[str, Any]) -> None:
    asked = f", asked to {job['asked']}" if job["asked"] else ""
    say(f"{job['id']}: {job['kind']} {job['task']} is {job['state']}{asked}")
    if job["state"] == "running" and job["step"]:
        how_far = f", {job['done']:,} of {job['total']:,}" if job["total"] else ""
        say(f"  {job['step']}{how_far}, on {job['worker']}")
    if job["attempts"] > 1:
        say(f"  attempt {job['attempts']}, {job['failures']} of {job['most_attempts']} failures")
    if job["error"]:
        say(f"  {job['error']}")
    for key, value in job["result"].items():
        if isinstance(value, str | int | float) and value != "":
            say(f"  {key}: {value}")
    if job["state"] == "queued":
        say(f"  Follow it: {program()} jobs watch {job['id']}")


def _show_many(found: list[dict[str, Any]]) -> None:
    from sartor.pipeline.traffic import iso

    columns = ["job", "kind", "task", "state", "step", "done#", "of#", "tries#", "asked for", "error"]

    def row(job: dict[str, Any]) -> tuple[Any, ...]:
        state = f"{job['state']} ({job['asked']})" if job["asked"] else job["state"]
        far = (job["done"], job["total"]) if job["total"] else ("", "")
        return (
            *(job["id"], job["kind"], job["task"], state, job["step"], *far, job["attempts"]),
            *(iso(job["created"])[:16], job["error"][:80]),
        )

    table("", columns, map(row, found))


def _show_plan(found: Mapping[str, Any]) -> None:
    steps = found.get("steps", [])
    columns = ["step", "what", "", "s#", "known from"]
    rows = ((s["verb"], s["what"], "done" if s["cached"] else "", s["seconds"], s["basis"]) for s in steps)
    table("", columns, rows)
    cost = f"{found.get('cost', 0.0):.4f} {found.get('currency', '')}"
    say(f"About {found.get('seconds', 0.0):,.0f} s of computing, {cost}")


def _event(event: Mapping[str, Any]) -> str:
    at = time.strftime("%H:%M:%S", time.gmtime(event["at"]))
    mark = {"info": "", "warning": "warning: ", "error": "error: "}[event["level"]]
    return f"{at} {mark}{event['message']}"
