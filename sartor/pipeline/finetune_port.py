"""Files and fine-tuning jobs over the store, as the data plane asks for them: `gateway.parts.Tuner`.

Everything is its tenant's own. A task that is named belongs to the house (see `access`): keys of other tenants get a
draft task with its costs, so that nobody but the house changes what others are answered with.
"""

import secrets
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from sartor.core.access import NO_TENANT, Caller
from sartor.core.errors import AskError, ConflictError, NotFoundError, RefusedError, unknown
from sartor.core.jobs import Event, Job, JobRequest
from sartor.core.records import TaskRecord
from sartor.core.task import Task
from sartor.gateway import tuning_forms as forms
from sartor.pipeline.access import is_house
from sartor.pipeline.finetune_models import LICENCE, candidates_for, draft_task
from sartor.pipeline.finetune_rows import param_of
from sartor.pipeline.serve import contract_of
from sartor.pipeline.work import submit
from sartor.pipeline.workshop import Workshop
from sartor.registry.tuned import TUNED, is_tuned, owns, slug
from sartor.registry.variants import is_retired, task_names
from sartor.store.credentials import EVERY_TENANT
from sartor.store.disk import Readable
from sartor.store.ledger import Change
from sartor.store.uploads import Upload

KIND = "finetune"
MOST_JOBS = 1000
"""Of a page that is filtered by metadata: looked through for those that fit."""
FIRST_EVENTS = 50
"""Among which the estimate stands."""


class Bureau:
    """`gateway.parts.Tuner`. Safe to ask from any thread."""

    def __init__(self, shop: Workshop, may_ask: Callable[[Caller, str], bool]) -> None:
        """A bureau.

        Args:
            may_ask: whether a caller may ask a model of this name.
        """
        self._shop = shop
        self._may_ask = may_ask

    # Files

    def spool(self) -> BinaryIO:
        """A nameless file in the store's folder of unfinished work: gone with whoever has it open."""
        temp = self._shop.store.temp
        temp.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cast("BinaryIO", tempfile.TemporaryFile(dir=temp))

    def keep_file(self, caller: Caller, content: Readable, form: forms.NewFile) -> dict[str, Any]:
        """Keep a file: its bytes are on disk before its row names them."""
        counted = _Counted(content)
        digest = self._shop.store.vault.put_stream(counted)
        if counted.size == 0:
            raise AskError(f"The file '{form.name}' is empty.", code="empty_file", param="file")
        now = time.time()
        expires = None if form.expires_seconds is None else now + form.expires_seconds
        ident = f"file-{secrets.token_hex(12)}"
        item = Upload(ident, tenant_of(caller), form.purpose, form.name, counted.size, digest, now, expires)
        return forms.file_object(self._shop.store.uploads.add(item))

    def files(self, caller: Caller, page: forms.FilePage) -> dict[str, Any]:
        """A page of the files."""
        uploads = self._shop.store.uploads
        if page.after:
            uploads.get(page.after, caller.tenant)
        found = uploads.all(
            caller.tenant, purpose=page.purpose, after=page.after, limit=page.limit + 1, order=page.order
        )
        shown = [forms.file_object(item) for item in found[: page.limit]]
        return forms.listed(shown, more=len(found) > page.limit)

    def file(self, caller: Caller, ident: str) -> dict[str, Any]:
        """One file."""
        return forms.file_object(self._shop.store.uploads.get(ident, caller.tenant))

    def file_content(self, caller: Caller, ident: str) -> Path:
        """A local copy of a file's bytes, not to be changed."""
        return self._shop.store.vault.path(self._shop.store.uploads.get(ident, caller.tenant).content)

    def delete_file(self, caller: Caller, ident: str) -> dict[str, Any]:
        """Forget a file."""
        self._shop.store.uploads.remove(ident, caller.tenant)
        return {"id": ident, "object": "file", "deleted": True}

    # Jobs

    def create(self, caller: Caller, asked: forms.NewJob) -> dict[str, Any]:
        """Ask for a job, durably when this returns. The files themselves are read by the job."""
        tenant, metadata = tenant_of(caller), asked.metadata or {}
        files = {name: getattr(asked, name) or None for name in ("training_file", "validation_file")}
        uploads = {name: self._upload(caller, name, ident) for name, ident in files.items() if ident}
        training = uploads["training_file"]
        named = self._task(caller, metadata["task"]) if "task" in metadata else None
        candidates = candidates_for(asked.model, named, asked.numbers())
        suffix, licence = slug(asked.suffix or ""), metadata.get("licence", LICENCE)
        own = named is not None and is_house(caller)
        task = named if own and named else draft_task(
            tenant, suffix, training.name, training.content, currency=self._shop.currency, licence=licence, of=named
        )  # fmt: skip
        numbers = asked.numbers().model_dump()
        args = {
            "model": asked.model,
            **files,
            "suffix": suffix,
            "seed": task.seed if asked.seed is None else asked.seed,
            "hyperparameters": {name: value or forms.AUTO for name, value in numbers.items()},
            "numbers": asked.numbers().told(),
            "metadata": asked.metadata,
            "licence": licence,
            "contract": task.body(),
            "candidates": [candidate.model_dump(mode="json") for candidate in candidates],
            "draft": not own,
            "by_approver": caller.may("approve"),
        }
        who = f"key {caller.key}" if caller.key else self._shop.who
        return self._object(submit(self._shop, JobRequest(KIND, args, task=task.name, tenant=tenant, who=who)))

    def jobs(self, caller: Caller, page: forms.Page) -> dict[str, Any]:
        """A page of the jobs, newest first."""
        wanted, after = page.metadata, ""
        if page.after:
            after = self._job(caller, page.after).id
        limit = page.limit + 1 if wanted is None else MOST_JOBS
        tenant = None if caller.tenant == EVERY_TENANT else caller.tenant
        found = self._shop.store.jobs.find(kind=KIND, tenant=tenant, limit=limit, after=after)
        if wanted is not None:
            found = [job for job in found if _fits(job.args["metadata"], wanted)]
        shown = [self._object(job) for job in found[: page.limit]]
        return forms.listed(shown, more=len(found) > page.limit)

    def job(self, caller: Caller, ident: str) -> dict[str, Any]:
        """One job."""
        return self._object(self._job(caller, ident))

    def tell(self, caller: Caller, ident: str, what: Literal["cancel", "pause", "resume"]) -> dict[str, Any]:
        """Cancel or pause a job, or let it go on; asking twice changes nothing."""
        found, jobs = self._job(caller, ident), self._shop.store.jobs
        if what == "cancel" and found.has_ended and found.state != "cancelled":
            raise ConflictError(
                f"Job {ident} has {'succeeded' if found.state == 'succeeded' else 'failed'} already: there is nothing "
                "to cancel.",
                code="job_ended",
            )
        if found.has_ended and what != "cancel":
            raise ConflictError(f"Job {ident} has ended and can't be told to {what}.", code="job_ended")
        return self._object(jobs.resume(found.id) if what == "resume" else jobs.ask(found.id, what))

    def events(self, caller: Caller, ident: str, page: forms.Page) -> dict[str, Any]:
        """A page of what a job said, newest first."""
        job = self._job(caller, ident)
        return forms.paged([forms.event_object(job, _told(event)) for event in reversed(self._events(job))], page)

    def checkpoints(self, caller: Caller, ident: str, page: forms.Page) -> dict[str, Any]:
        """The final model: states on the way are kept for the job itself, and answer nobody."""
        job = self._job(caller, ident)
        if job.state != "succeeded":
            return forms.listed([], more=False)
        metrics = {"full_valid_mean_token_accuracy": job.result["accuracy"]}
        return forms.paged([forms.checkpoint_object(job, metrics, job.result["steps"])], page)

    def delete_model(self, caller: Caller, name: str) -> dict[str, Any]:
        """Retire the name of a fine-tuned model; what it stood at stays on record."""
        ledger = self._shop.store.ledger
        if not is_tuned(name):
            raise RefusedError(
                f"'{name[:80]}' is no fine-tuned model: only names that begin with '{TUNED}' are deleted here. A task "
                "is retired with 'sartor registry retire'.",
                code="not_fine_tuned",
            )
        stands = ledger.resolve(name) if owns(caller.tenant, name, EVERY_TENANT) else None
        if stands is None or not stands.digest:
            mine = [p.name for p in ledger.pointers(TUNED) if p.digest and owns(caller.tenant, p.name, EVERY_TENANT)]
            raise unknown("model", name[:200], mine, param="model", code="model_not_found")
        ledger.move_many([Change(name, None, stands.digest)], decision=stands.decision)
        return {"id": name, "object": "model", "deleted": True}

    # Parts

    def _upload(self, caller: Caller, param: str, ident: str) -> Upload:
        try:
            found = self._shop.store.uploads.get(ident, caller.tenant)
        except NotFoundError as error:
            raise NotFoundError(error.message, code="file_not_found", param=param) from error
        if found.purpose != forms.PURPOSE:
            raise AskError(
                f"The file {ident} has the purpose '{found.purpose}'; to learn from it, it must be '{forms.PURPOSE}'.",
                code="wrong_purpose",
                param=param,
            )
        return found

    def _task(self, caller: Caller, name: str) -> Task:
        """The task that is named, if the caller may know of it."""
        ledger = self._shop.store.ledger
        known = {*task_names(ledger), *(record.name for record in ledger.find(TaskRecord, limit=1000))}
        seen = sorted(
            task
            for task in known
            if not task.startswith("draft-") and (is_house(caller) or self._may_ask(caller, task))
        )
        if name not in seen:
            raise unknown("task", name[:80], seen, param="metadata", code="task_not_found")
        if is_retired(ledger, name):
            raise RefusedError(
                f"Task '{name}' is retired. Bring it back: sartor registry rollback {name}", code="retired"
            )
        return Task.model_validate(contract_of(self._shop, name).contract)

    def _job(self, caller: Caller, ident: str) -> Job:
        """The job, if it is the caller's."""
        jobs = self._shop.store.jobs
        tenant = None if caller.tenant == EVERY_TENANT else caller.tenant
        try:
            found = jobs.get(forms.own_id(ident)) if ident.startswith("ftjob-") else None
        except NotFoundError:
            found = None
        if found is None or found.kind != KIND or (tenant is not None and found.tenant != tenant):
            known = [forms.public_id(job.id) for job in jobs.find(kind=KIND, tenant=tenant, limit=20)]
            raise unknown("fine-tuning job", ident[:80], known, code="job_not_found")
        return found

    def _events(self, job: Job) -> list[Event]:
        found: list[Event] = []
        while page := self._shop.store.jobs.events(job.id, after=found[-1].seq if found else 0):
            found += page
        return found

    def _object(self, job: Job) -> dict[str, Any]:
        failed = None
        if job.state in ("failed", "dead"):
            failed = {"code": job.code or "job_failed", "message": job.error, "param": param_of(job.code)}
        return forms.job_object(job, failed=failed, finish=self._finish(job))

    def _finish(self, job: Job) -> float | None:
        if job.state != "running" or job.started is None:
            return None
        first = self._shop.store.jobs.events(job.id, limit=FIRST_EVENTS)
        seconds = [event.data["seconds"] for event in first if "seconds" in event.data]
        return job.started + seconds[-1] if seconds else None


class _Counted:
    """A stream whose bytes are counted."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self.size = 0

    def read(self, size: int, /) -> bytes:
        """At most so many of the bytes that come next."""
        found = self._source.read(size)
        self.size += len(found)
        return found


def _told(event: Event) -> Event:
    """An event without the machines and people of the house, which are no business of a tenant."""
    if event.level != "info" or set(event.data) - {"worker"}:
        return event
    message = event.message
    for what, behind in (("asked", " by "), ("resumed", " by "), ("to be tried", " by "), ("attempt", " on ")):
        message = message.partition(behind)[0] if message.startswith(what) else message
    return Event(event.seq, event.at, event.level, message)


def tenant_of(caller: Caller) -> str:
    """Whose the files and jobs of a caller are."""
    return NO_TENANT if caller.tenant == EVERY_TENANT else caller.tenant


def _fits(metadata: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    if not wanted:
        return not metadata
    return all((metadata or {}).get(name) == value for name, value in wanted.items())
