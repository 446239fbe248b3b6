"""DBOS behind a small port: steps of jobs that are remembered, so that a killed job goes on after its last one.

The truth about a job is its row in the ledger's database; here is only what its finished steps gave. A job is a DBOS
workflow of the same id, which a worker starts or, if another one began it, takes over. DBOS's own queues, recovery and
retries are not used: they know nothing of our leases. Everything of DBOS that the project touches stands in this file,
which is imported by workers only.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from dbos import DBOS, SetWorkflowID
from dbos._error import (
    DBOSUnexpectedStepError,
    DBOSWorkflowCancelledError,
    DBOSWorkflowConflictIDError,
)
from dbos._serialization import DBOSPortableJSONSerializer

from sartor.core.jobs import Stopped
from sartor.pipeline.attempt import Do, StepsChanged
from sartor.store.jobs import CONTRACT
from sartor.store.opening import Store
from sartor.store.step_database import step_database

Body = Callable[[Do], bool]
"""Does an attempt with remembered steps; whether the job is done for good."""

QUEUE = "sartor-"
"""Before the worker's name: where a workflow of another one is put so that this one goes on with it."""
TIDIED = 1000
"""Jobs whose steps are forgotten when a worker starts, at most."""

PATIENCE = 15.0
"""Seconds in which DBOS must have begun with a job that it was asked to go on with."""
log = logging.getLogger("sartor.jobs")


class _Left(BaseException):
    """Ends a workflow's execution without a word to DBOS: it stays as it is, for whoever takes it over."""


class Memory:
    """The remembered steps of a store's jobs; one in each process."""

    def __init__(self, store: Store, worker: str) -> None:
        """Open it.

        Args:
            worker: this life of a worker's name.
        """
        self._queue = f"{QUEUE}{worker}"
        self._bodies: dict[str, Callable[[], None]] = {}
        logging.getLogger("dbos").setLevel(logging.ERROR)
        self._database = step_database(store)
        DBOS(
            config={
                "name": "sartor",
                **self._database,  # type: ignore[typeddict-item]
                "serializer": DBOSPortableJSONSerializer(),  # never pickle: who can write the database runs no code
                "application_version": CONTRACT,
                "executor_id": worker,  # of this life alone, so that nothing is recovered but by us
                "enable_otlp": False,
                "log_level": "ERROR",
                "run_migrations": True,
                "notification_listener_polling_interval_sec": 1.0,
                "max_executor_threads": 256,
                "sys_db_pool_size": 5,
            }
        )

        def job(ident: str) -> None:
            body = self._bodies.pop(ident, None)
            if body is None:
                raise _Left  # an execution that nobody here asked for
            body()

        self._workflow = DBOS.workflow(name="sartor.job", max_recovery_attempts=None)(job)
        DBOS.listen_queues([self._queue])
        DBOS.launch()
        DBOS.register_queue(self._queue, polling_interval_sec=0.5)
        self._tidy()

    def close(self) -> None:
        """Forget the queue of this life, and close the database."""
        try:
            DBOS.delete_queue(self._queue)
        finally:
            DBOS.destroy(destroy_registry=True)
            if "system_database_engine" in self._database:
                self._database["system_database_engine"].dispose()

    def _tidy(self) -> None:
        """Forget the steps of jobs that succeeded.

        Queues of workers that were killed stay, a row each: who has only just begun can't be told from them, and a
        worker whose queue is taken away waits for ever.
        """
        done = DBOS.list_workflows(status="SUCCESS", limit=TIDIED, load_input=False, load_output=False)
        if done:
            DBOS.delete_workflows([one.workflow_id for one in done])

    def run(self, job: str, body: Body) -> bool:
        """Do an attempt at a job; what its steps gave in earlier ones is given again.

        Raises:
            StepsChanged: what is remembered does not fit; `forget` it.
            Whatever the body raises.
        """
        ended: Future[bool] = Future()
        self._bodies[job] = lambda: _walk(body, ended)
        status = DBOS.get_workflow_status(job)
        if status is not None and status.status in ("SUCCESS", "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"):
            self.forget(job)  # of a life of the store that a backup took back
            status = None
        if status is None:
            with SetWorkflowID(job):
                DBOS.start_workflow(self._workflow, job)
        else:
            DBOS.resume_workflow(job, queue_name=self._queue)
        try:
            return ended.result(timeout=None if status is None else PATIENCE)
        except TimeoutError:
            if ended.done() or self._bodies.get(job) is None:
                return ended.result()
        # It stands in our queue and nobody takes it out. Its steps are idempotent: they are looked at again.
        log.warning("DBOS does not go on with a job: its steps are looked at again", extra={"job": job})
        self.forget(job)
        with SetWorkflowID(job):
            DBOS.start_workflow(self._workflow, job)
        return ended.result()

    def forget(self, job: str) -> None:
        """Forget the steps of a job."""
        DBOS.delete_workflow(job)


def _walk(body: Body, ended: "Future[bool]") -> None:
    try:
        done = body(_remembered)
    except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
        ended.set_exception(error)
        raise _Left from None
    ended.set_result(done)
    if not done:
        raise _Left


def _remembered(name: str, work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    failed: list[Exception] = []

    def working() -> dict[str, Any]:
        try:
            return dict(work())
        except Exception as error:
            failed.append(error)
            raise _Left from error  # a failure is not remembered: the next attempt does the step again

    try:
        return DBOS.run_step({"name": name}, working)
    except _Left:
        raise failed[0] from failed[0].__cause__
    except DBOSUnexpectedStepError as error:
        raise StepsChanged(str(error)) from error
    except (DBOSWorkflowConflictIDError, DBOSWorkflowCancelledError) as error:
        raise Stopped("lost") from error
