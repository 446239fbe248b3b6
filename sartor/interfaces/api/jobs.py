"""Jobs over HTTP: the verbs of the command line, and what a job says as it comes, as server-sent events."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sartor.core.access import Caller
from sartor.core.jobs import Job, JobRequest
from sartor.interfaces.api.endpoint import Stream
from sartor.interfaces.api.jobs_forms import JobList, NewJob
from sartor.pipeline.workshop import Workshop


def list_jobs(shop: Workshop, caller: Caller, asked: JobList) -> list[dict[str, Any]]:
    """Jobs, newest first."""
    from sartor.pipeline.jobs import list_jobs as look

    return look(shop, caller, **dict(asked))


def submit_job(shop: Workshop, caller: Caller, asked: NewJob) -> dict[str, Any]:
    """Ask for a job; it is durable when this is answered. With `dry_run`: what it would do, how long, how dear."""
    from sartor.pipeline.jobs import submit_job as ask

    fields = dict(asked)
    dry_run, queue = fields.pop("dry_run"), fields.pop("queue")
    return ask(shop, JobRequest(**fields), caller, queue=queue, dry_run=dry_run)


def job_events(shop: Workshop, caller: Caller, id: str, after: int, limit: int, stream: bool) -> Any:  # noqa: A002
    """What a job said; with `stream`, or where events are accepted, as it comes until the job has ended."""
    from sartor.pipeline.jobs import job_named, list_events

    if not stream:
        return list_events(shop, id, caller, after=after, limit=limit)
    return Stream(_pieces(shop, job_named(shop, id, caller).id, after))


def _pieces(shop: Workshop, ident: str, after: int) -> Iterator[list[tuple[str, int | None, Any]]]:
    """At each look the events `said`, with their number, and the `job` where it stands differently."""
    before: Job | None = None
    while before is None or not before.has_ended:
        job = shop.store.jobs.get(ident)  # first, so that nothing that it said before its end is missed
        said = shop.store.jobs.events(ident, after=after)
        after = said[-1].seq if said else after
        new: list[tuple[str, int | None, Any]] = [("said", event.seq, asdict(event)) for event in said]
        stands = {name: value for name, value in asdict(job).items() if name != "args"}  # they never change
        yield new + ([("job", None, stands)] if job != before else [])
        before = job
