"""Jobs for people and programs: ask for one, look, cancel, pause, resume, retry; each keeps to the caller's tenant.

The same verbs for the command line and the control plane. Knows no handlers (`pipeline.work`) and no workers.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any, get_args

from sartor.core.access import NO_TENANT, Caller
from sartor.core.errors import AskError, ForbiddenError, NotFoundError, unknown
from sartor.core.jobs import Event, Job, JobRequest, Queue, State
from sartor.pipeline.access import OWNER
from sartor.pipeline.work import KINDS, Kind, kind_named, plan, submit
from sartor.pipeline.workshop import Workshop
from sartor.store.credentials import EVERY_TENANT

LOOK_SECONDS = 0.5
"""Between two looks of somebody who watches."""


def body_of(job: Job) -> dict[str, Any]:
    """A job as JSON."""
    return asdict(job)


def list_jobs(
    shop: Workshop,
    caller: Caller = OWNER,
    *,
    state: str = "",
    task: str = "",
    kind: str = "",
    part_of: str = "",
    limit: int = 100,
    after: str = "",
) -> list[dict[str, Any]]:
    """Jobs, newest first.

    Raises:
        NotFoundError: there is no such state.
    """
    if state and state not in get_args(State):
        raise unknown("state of a job", state[:80], get_args(State), param="state", code="job_state_not_found")
    found = shop.store.jobs.find(
        state=state or None,  # type: ignore[arg-type]
        task=task or None,
        tenant=_tenant(caller),
        kind=kind or None,
        part_of=part_of or None,
        limit=limit,
        after=after,
    )
    return [body_of(job) for job in found]


def submit_job(
    shop: Workshop, request: JobRequest, caller: Caller = OWNER, *, queue: str = "", dry_run: bool = False
) -> dict[str, Any]:
    """Ask for a job; it is durable when this returns. With `dry_run`: what it would do, how long, how dear.

    Args:
        queue: '' is the one that its kind waits in.

    Raises:
        NotFoundError: there is no such kind or queue.
        ForbiddenError: what it does may be asked for on the server's command line alone.
    """
    kind = kind_named(request.kind)
    if caller != OWNER:
        _check_remote(kind, request)
    wanted = queue or kind.queue
    if wanted not in get_args(Queue):
        raise unknown("queue", wanted[:80], get_args(Queue), param="queue")
    tenant = NO_TENANT if caller.tenant == EVERY_TENANT else caller.tenant
    asked = replace(request, tenant=tenant, queue=wanted)  # type: ignore[arg-type]
    return plan(shop, asked) if dry_run else body_of(submit(shop, asked))


def _check_remote(kind: Kind, request: JobRequest) -> None:
    """Refuse what a key may not ask for as a bare job."""
    if kind.over_http is None:
        raise ForbiddenError(
            f"A job of kind '{request.kind}' is not asked for over HTTP as it is: it reads files where its worker "
            "runs, or has an address of its own. On the server: sartor jobs submit",
            code="command_line_only",
        )
    if beyond := sorted(set(request.args) - kind.over_http):
        raise ForbiddenError(
            f"Over HTTP a job of kind '{request.kind}' takes {', '.join(sorted(kind.over_http))}, not "
            f"'{beyond[0][:60]}'. Give that on the server's command line.",
            param=f"args.{beyond[0][:60]}",
            code="command_line_only",
        )


def show_job(shop: Workshop, id: str, caller: Caller = OWNER) -> dict[str, Any]:  # noqa: A002 - its name in the address
    """One job as it stands."""
    return body_of(job_named(shop, id, caller))


def cancel_job(shop: Workshop, id: str, caller: Caller = OWNER) -> dict[str, Any]:  # noqa: A002
    """Cancel a job: at once where it waits, at its next step or check where it runs. Twice is once."""
    return body_of(shop.store.jobs.ask(job_named(shop, id, caller).id, "cancel", who=shop.who))


def pause_job(shop: Workshop, id: str, caller: Caller = OWNER) -> dict[str, Any]:  # noqa: A002
    """Pause a job, as `cancel_job`; `resume_job` has it go on behind its last finished step."""
    return body_of(shop.store.jobs.ask(job_named(shop, id, caller).id, "pause", who=shop.who))


def resume_job(shop: Workshop, id: str, caller: Caller = OWNER) -> dict[str, Any]:  # noqa: A002
    """Let a paused job go on, or one begin that waits for its time."""
    return body_of(shop.store.jobs.resume(job_named(shop, id, caller).id, who=shop.who))


def retry_job(shop: Workshop, id: str, caller: Caller = OWNER) -> dict[str, Any]:  # noqa: A002
    """Have a job go on that failed, died or was cancelled."""
    return body_of(shop.store.jobs.retry(job_named(shop, id, caller).id, who=shop.who))


def list_events(
    shop: Workshop,
    id: str,  # noqa: A002
    caller: Caller = OWNER,
    *,
    after: int = 0,
    limit: int = 1000,
) -> list[dict[str, Any]]:
    """What a job said, oldest first, behind the event `after`."""
    return [asdict(event) for event in shop.store.jobs.events(job_named(shop, id, caller).id, after=after, limit=limit)]


def list_workers(shop: Workshop) -> list[dict[str, Any]]:
    """Who works on jobs, when each last said that it lives, and what each has."""
    return [asdict(hand) for hand in shop.store.leases.hands()]


def list_kinds() -> list[dict[str, Any]]:
    """What can be asked for."""
    return [{"kind": name, "about": kind.about, "queue": kind.queue} for name, kind in sorted(KINDS.items())]


def job_named(shop: Workshop, ident: str, caller: Caller = OWNER) -> Job:
    """A job of the caller's tenant.

    Raises:
        NotFoundError: it has none of this id; its newest are listed.
    """
    tenant = _tenant(caller)
    try:
        found = shop.store.jobs.get(ident)
        if tenant in (None, found.tenant):
            return found
    except NotFoundError:
        pass
    raise unknown("job", ident[:80], [job.id for job in shop.store.jobs.find(tenant=tenant, limit=20)])


Seen = Event | Job


def watch(
    shop: Workshop, ident: str, *, after: int = 0, pause: Callable[[float], object] = time.sleep
) -> Iterator[Seen]:
    """What a job says and how it stands, as it comes, until it has ended; then its last state.

    Args:
        pause: waits between two looks.
    """
    before: Job | None = None
    while True:
        job = shop.store.jobs.get(ident)
        for event in shop.store.jobs.events(ident, after=after):
            after = event.seq
            yield event
        if job != before or job.has_ended:
            yield job
        if job.has_ended:
            return
        before = job
        pause(LOOK_SECONDS)


def read_args(text: str) -> dict[str, Any]:
    """The arguments of a job, as they were typed.

    Raises:
        AskError: they are no JSON object.
    """
    import json

    try:
        found = json.loads(text) if text else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise AskError(
            'The arguments of a job are a JSON object, e.g. \'{"task": "triage"}\'.', param="args", code="bad_job"
        )
    return found


def _tenant(caller: Caller) -> str | None:
    return None if caller.tenant == EVERY_TENANT else caller.tenant
