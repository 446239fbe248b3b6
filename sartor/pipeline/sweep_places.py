"""Where the trials of a sweep are done: in this process, in others of this machine, or as tasks of a Ray cluster.

A trial in another process is a program that reads JSON and writes JSON (`sartor.interfaces.trial`): nothing of ours is
pickled, and what it took is measured whole. Knows nothing of trials.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from sartor.core.errors import SartorError, missing_extra
from sartor.core.sweeping import Sweep

PROGRAM = "sartor.interfaces.trial"
Body = Mapping[str, Any]
Do = Callable[[Body], dict[str, Any]]
"""Does one trial, JSON in and out, and waits for it."""
May = Callable[[], bool]
"""Whether one more may begin; asked just before it would."""
Ended = Callable[[Body, dict[str, Any]], None]
"""Told of each that ended: what was asked, what came of it."""


def in_order(bodies: Sequence[Body], do: Do, may: May, ended: Ended, workers: int) -> list[dict[str, Any] | None]:
    """What became of each, in order; None for one that was not begun. `may` and `ended` are called in this thread.

    Raises:
        Whatever doing one raises; those under way are waited for.
    """
    found: list[dict[str, Any] | None] = [None] * len(bodies)
    if workers == 1:
        for place, body in enumerate(bodies):
            if may():
                found[place] = do(body)
                ended(body, found[place] or {})
        return found
    with ThreadPoolExecutor(workers, "trial") as pool:
        under_way: dict[Future[dict[str, Any]], int] = {}
        waiting = list(range(len(bodies)))
        while waiting or under_way:
            while waiting and len(under_way) < workers:
                place = waiting.pop(0)
                if may():
                    under_way[pool.submit(do, bodies[place])] = place
            done, _ = wait(under_way, return_when=FIRST_COMPLETED) if under_way else (set(), None)
            for future in done:
                place = under_way.pop(future)
                found[place] = future.result()
                ended(bodies[place], future.result())
    return found


@contextmanager
def place_of(sweep: Sweep, here: Do, environment: Mapping[str, str], threads: int) -> Iterator[Do]:
    """What does a trial, as the sweep says where.

    Args:
        here: does it in this process, which a lone local worker does.
        environment: variables that the other processes need to find the store.
        threads: CPU threads of one trial.

    Raises:
        MissingExtraError: Ray is wanted, and not installed.
    """
    if sweep.on == "ray":
        with on_ray(sweep, environment, threads) as do:
            yield do
    elif sweep.workers == 1:
        yield here
    else:
        with _processes(environment) as do:
            yield do


@contextmanager
def _processes(environment: Mapping[str, str]) -> Iterator[Do]:
    """Trials in processes of this machine; what is under way ends with us."""
    running: set[subprocess.Popen[str]] = set()
    lock = threading.Lock()

    def do(body: Body) -> dict[str, Any]:
        program = _begun()
        with lock:
            running.add(program)
        try:
            return _answer(program, json.dumps({"environment": dict(environment), "trial": dict(body)}))
        finally:
            with lock:
                running.discard(program)

    try:
        yield do
    finally:
        for program in list(running):
            program.kill()


def in_process(given: str) -> str:
    """A trial in a process of its own, JSON in and out: on this machine, or wherever Ray calls this."""
    return json.dumps(_answer(_begun(), given))


def _begun() -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", PROGRAM], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _answer(program: "subprocess.Popen[str]", given: str) -> dict[str, Any]:
    out, err = program.communicate(given)
    if program.returncode:
        last = (err.strip().splitlines() or ["nothing"])[-1]
        raise SartorError(
            f"A trial's process ended with code {program.returncode}. It said: {last[:300]}. What was tried before is "
            "kept; run the same command again to go on.",
            code="trial_process",
        )
    found: dict[str, Any] = json.loads(out)
    return found


def ray_environment(address: str) -> dict[str, str]:
    """Variables that must stand before Ray is imported: it reports nothing, and its own cluster stays on loopback.

    Ray replaces a loopback address that it is given by one that others can reach, unless clusters are off; the name of
    the variable speaks of other systems, and it counts on all.
    """
    quiet = {"RAY_USAGE_STATS_ENABLED": "0"}
    return quiet if address else {**quiet, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def ray_settings(sweep: Sweep, threads: int) -> dict[str, Any]:
    """What `ray.init` is told: a cluster that is there, or one of our own that only this machine can reach."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if sweep.address:
        return {"address": sweep.address, **quiet}
    own = {"num_cpus": sweep.workers * threads, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    return {**own, **quiet}


def task_settings(sweep: Sweep, threads: int) -> dict[str, Any]:
    """What each task takes, by which Ray places it; a trial that a lost node took down is done again elsewhere."""
    gpus = {"num_gpus": sweep.gpus} if sweep.gpus else {}
    return {"num_cpus": threads, "max_retries": 2, **gpus}


@contextmanager
def on_ray(sweep: Sweep, environment: Mapping[str, str], threads: int) -> Iterator[Do]:
    """Trials as Ray's tasks. Nodes of another machine must reach the store: give it a database and a bucket.

    Raises:
        MissingExtraError: Ray is not installed.
        SartorError: the cluster is out of reach.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise missing_extra("ray", "a sweep with 'on: ray'") from error
    try:
        ray.init(**ray_settings(sweep, threads))
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"at '{sweep.address}'" if sweep.address else "on this machine"
        raise SartorError(f"No Ray cluster answered {where}: {error}. Check 'sweep.address'.", code="no_ray") from error
    at = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    if not sweep.address and not at.startswith("127."):
        ray.shutdown()
        raise SartorError(
            "Ray would listen on addresses that others can reach. Set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before it "
            "is imported, or name a cluster under 'sweep.address'.",
            code="ray_not_on_loopback",
        )
    task = ray.remote(**task_settings(sweep, threads))(in_process)

    def do(body: Body) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            ray.get(task.remote(json.dumps({"environment": dict(environment), "trial": dict(body)})))
        )
        return found

    try:
        yield do
    finally:
        ray.shutdown()
