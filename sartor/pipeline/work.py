"""Kinds of durable jobs: asking for one, foretelling one, and doing one in this process.

A handler is a function of pipeline that is imported when a job of its kind runs. Knows no queue and no DBOS:
`pipeline.worker` runs attempts with steps that are remembered, `run_here` in this process without.
"""

import importlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sartor.core.errors import AskError, unknown
from sartor.core.jobs import Job, JobRequest, Queue, Stopped
from sartor.pipeline.attempt import NOTE_SECONDS, Attempt, Handler, attempt, beat_once
from sartor.pipeline.workshop import Workshop
from sartor.store.leases import Leases

Planner = Callable[[Workshop, Mapping[str, Any]], Mapping[str, Any]]
"""What a job with these arguments would do: JSON with `steps`, `seconds` and `cost` where they can be foretold."""


@dataclass(frozen=True)
class Kind:
    """A kind of job: where what does it stands, imported when it runs."""

    handler: str
    """`module:function`, a `Handler`."""
    about: str
    plan: str = ""
    """`module:function`, a `Planner`; '' where nothing can be foretold."""
    queue: Queue = "cpu"
    """Where it waits unless the asker says otherwise."""
    over_http: frozenset[str] | None = None
    """Arguments that whoever holds a key may give it; None: it reads files where it runs, or has an address of its own
    with a permission of its own, so that it is not asked for as a bare job over HTTP."""


KINDS: Mapping[str, Kind] = {
    "run": Kind(
        "sartor.pipeline.run_job:run_job",
        "A task's file: rows in, a gated and released model out.",
        plan="sartor.pipeline.run_job:plan_job",
    ),
    "learn": Kind(
        "sartor.pipeline.learn_job:learn_job",
        "What traffic taught becomes a candidate that is held against what is live.",
        plan="sartor.pipeline.learn_job:plan_learn",
        over_http=frozenset({"task", "strategies"}),  # never a contract: it says who has to approve
    ),
    "finetune": Kind("sartor.pipeline.finetune:finetune", "A file sent through OpenAI's fine-tuning API, to a model."),
    "rebuild": Kind(
        "sartor.pipeline.rebuild:rebuild_job",
        "A task made again under a change (a recall, a campaign), held against what is live.",
    ),
    "campaign": Kind(
        "sartor.pipeline.campaign:campaign_job",
        "A change over many tasks at once: so many rebuilds under way, one summary.",
    ),
}
"""Name -> kind. Add a line for yours."""


def kind_named(name: str, kinds: Mapping[str, Kind] = KINDS) -> Kind:
    """A kind by its name.

    Raises:
        NotFoundError: there is none; the known ones are listed.
    """
    if name not in kinds:
        raise unknown("kind of job", name[:80], kinds, param="kind", code="job_kind_not_found")
    return kinds[name]


def submit(shop: Workshop, request: JobRequest, kinds: Mapping[str, Kind] = KINDS) -> Job:
    """Keep a job for the workers, in the name of who asks; its kind is checked first.

    Raises:
        NotFoundError: there is no such kind.
        StoreError: it could not be kept.
    """
    kind_named(request.kind, kinds)
    return shop.store.jobs.submit(request if request.who else replace(request, who=shop.who))


def plan(shop: Workshop, request: JobRequest, kinds: Mapping[str, Kind] = KINDS) -> dict[str, Any]:
    """A dry run: what the job would do, how long, how dear. Makes nothing.

    Raises:
        NotFoundError: there is no such kind.
        AskError: nothing can be foretold of this kind.
    """
    kind = kind_named(request.kind, kinds)
    if not kind.plan:
        raise AskError(f"What a job of kind '{request.kind}' would do can't be foretold.", code="no_plan")
    return dict(_function(kind.plan)(shop, request.args))


def handler_of(kind: str, kinds: Mapping[str, Kind] = KINDS) -> Handler:
    """What does jobs of a kind.

    Raises:
        NotFoundError: there is no such kind.
    """
    found: Handler = _function(kind_named(kind, kinds).handler)
    return found


def _function(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def run_here(shop: Workshop, request: JobRequest, kinds: Mapping[str, Kind] = KINDS) -> Job:
    """Do a job in this process and wait for its end; how it ended stands in the job, also an error.

    Where one with the same word `once` is under way elsewhere, that one is waited for.

    Raises:
        NotFoundError: there is no such kind.
        KeyboardInterrupt: of the user; the job is given back to the queue.
    """
    job = submit(shop, request, kinds)
    name = f"here-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    with _living(shop.store.leases, name, job.queue) as attempts:
        while not job.has_ended and job.state != "paused":
            mine = shop.store.leases.claim(name, [job.queue], kinds=kinds, only=job.id)
            if mine is not None:
                _try_here(shop, Attempt(shop.store.leases, mine, shop.progress), attempts, kinds)
            else:
                time.sleep(0.1)
            job = shop.store.jobs.get(job.id)
    return job


def _try_here(shop: Workshop, tries: Attempt, attempts: dict[str, Attempt], kinds: Mapping[str, Kind]) -> None:
    attempts[tries.job.id] = tries
    try:
        attempt(shop, tries, lambda: handler_of(tries.job.kind, kinds))
    except Stopped:
        pass  # somebody else has it now: it is waited for
    except KeyboardInterrupt:
        shop.store.leases.give_back(tries.job, "interrupted")
        raise
    finally:
        attempts.pop(tries.job.id, None)


@contextmanager
def _living(leases: Leases, name: str, queue: Queue) -> Iterator[dict[str, Attempt]]:
    """Beats in a thread for the attempts that are put into it."""
    since = leases.enter(name, [queue])
    attempts: dict[str, Attempt] = {}
    over = threading.Event()

    def beat() -> None:
        while not over.wait(NOTE_SECONDS):
            beat_once(leases, name, since, attempts)

    thread = threading.Thread(target=beat, name=name, daemon=True)
    thread.start()
    try:
        yield attempts
    finally:
        over.set()
        thread.join(timeout=30)
        leases.leave(name, since)
