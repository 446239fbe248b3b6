"""One disturbed run of a small task: its processes, what is done to them, and what must be left in the end.

Processes are forked from a server that has imported the heavy packages, so that a kill hits work and not imports; they
are processes of their own all the same, with their own connections, locks and memory.
"""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from sartor.core.errors import SartorError
from sartor.core.jobs import Job
from sartor.core.records import Decision, Run, Variant
from sartor.interfaces.settings import calm_libraries
from sartor.store.opening import Store, open_store

LEASE = 3.0
BEAT = 0.5
PATIENCE = 180.0
"""Seconds after which a run that has not come to its end counts as stuck."""
PRELOAD = (
    "sartor.interfaces.cli.main",
    "sartor.pipeline.run_job",
    "sartor.pipeline.durable",
    "sartor.training.recipes.tune",
    "sartor.training.recipes.linear",
    "sartor.serving.engines.encoder",
    "sklearn.svm",
    "sklearn.feature_extraction.text",
    "transformers.models.bert.modeling_bert",
    "psycopg",
)
TASK = "kill"


@dataclass
class Place:
    """A store of its own for one disturbed run."""

    work: Path
    """Folder of the task's file and rows, shared by all."""
    home: Path
    url: str | None = None
    """Of the ledger; None: SQLite in `home`."""
    crew: "dict[str, Any]" = field(default_factory=dict)
    """Name -> process."""

    def settings(self) -> dict[str, str]:
        """One thread, one key, one store, and a checkpoint after each step."""
        found = {
            "SARTOR_HOME": str(self.home),
            "SARTOR_KEY": str(self.work / "signing.key"),
            "SARTOR_THREADS": "1",
            "SARTOR_WHO": "kill",
            "SARTOR_CHECKPOINT_SECONDS": "0",
        }
        return found | ({"SARTOR_LEDGER_URL": self.url} if self.url else {})

    def open(self, *, read_only: bool = True) -> Store:
        """The store, from outside."""
        return open_store(self.home, ledger_url=self.url, read_only=read_only)

    def begin(self, name: str, what: Callable[..., None], *arguments: Any) -> None:
        """Start a process under a name."""
        log = self.home.parent / f"{self.home.name}-{name}.log"
        self.crew[name] = crew().Process(target=_child, args=(self.settings(), self.work, log, what, arguments))
        self.crew[name].start()

    def kill(self, name: str) -> bool:
        """SIGKILL; whether it was alive."""
        alive = bool(self.crew[name].is_alive())
        self.crew[name].kill()
        self.crew[name].join()
        return alive

    def tell(self, name: str, sign: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.crew[name].pid, sign)

    def end(self) -> None:
        """Kill whatever is left."""
        for name in self.crew:
            self.kill(name)

    def remove(self) -> None:
        """Remove the store."""
        self.end()
        shutil.rmtree(self.home, ignore_errors=True)


@lru_cache
def crew() -> Any:
    """The server from which processes are forked; started by the first."""
    calm_libraries(1)  # the children take these over, and libraries read them when they are imported
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(list(PRELOAD))
    return found


def _child(
    settings: dict[str, str], work: Path, log: Path, what: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    os.environ.update(settings)
    os.chdir(work)
    with log.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    what(*arguments)


def sartor(*arguments: str) -> None:
    """`sartor` with these arguments, in this process."""
    from sartor.interfaces.cli.main import main

    sys.argv = ["sartor", *arguments]
    main()


def worker(name: str) -> None:
    """A worker under a name, until it is killed."""
    import logging

    from sartor.interfaces.settings import Settings
    from sartor.pipeline import worker as working

    logging.basicConfig(level=logging.INFO)
    how = working.Settings(name=name, beat_seconds=BEAT, lease_seconds=LEASE)
    working.Worker(Settings.read().workshop(), how).run()


# What a store holds


def digests(store: Store) -> dict[str, Any]:
    """By content: pointers, decisions, and what each finished step made."""
    pointers = {p.name: p.digest for p in store.ledger.pointers()}
    runs = [run for run in store.ledger.find(Run, limit=1000) if run.status == "done"]
    steps = sorted((run.key, tuple(sorted(run.outputs.items()))) for run in runs)
    decisions = sorted(decision.digest for decision in store.ledger.find(Decision, limit=1000))
    return {"pointers": pointers, "decisions": decisions, "steps": steps}


def marks(store: Store) -> int:
    """Boundaries that a run has passed: finished steps, taken into stock, released."""
    names = {pointer.name for pointer in store.ledger.pointers()}
    stocked = any(name.startswith(f"{TASK}@v") for name in names)
    return store.ledger.count(Run, status="done") + stocked + (f"{TASK}@live" in names)


@dataclass(frozen=True)
class Left:
    """What is left in the end."""

    found: dict[str, Any]
    releases: int
    """Times that what is live was moved."""
    faults: tuple[str, ...]
    """Of records and files, hashed again."""
    resumed: bool
    """A training went on from a checkpoint."""
    lost: int
    """Checkpoints for which there was no room."""
    leftovers: int
    """Checkpoints that still lie there."""

    @property
    def once(self) -> bool:
        """Nothing twice: steps, versions, releases."""
        keys = [key for key, _ in self.found["steps"]]
        digests = [d for name, d in self.found["pointers"].items() if "@v" in name]
        return len(keys) == len(set(keys)) and len(digests) == len(set(digests)) and self.releases == 1

    @property
    def whole(self) -> bool:
        """Nothing lost, nothing lying about."""
        return not self.faults and not self.leftovers


def left(place: Place) -> Left:
    """Look at a store after its run."""
    from sartor.registry.verify import verify

    store = place.open()
    try:
        made = store.ledger.find(Variant, limit=100)
        live = store.ledger.resolve(f"{TASK}@live")
        faults = [fault for variant in made for fault in verify(store, variant.digest).faults]
        return Left(
            found=digests(store),
            releases=len(store.ledger.moves(f"{TASK}@live")),
            faults=(*faults, *([] if live else ["nothing is live"])),
            resumed=any(variant.measured.get("resumed_after_steps") for variant in made),
            lost=sum(variant.measured.get("checkpoints_lost", 0) for variant in made),
            leftovers=len(list(store.checkpoints.glob("*/*"))),
        )
    finally:
        store.close()


# Waiting


def insist(
    doing: Callable[[], Any], until: Callable[[Any], bool], pause: float = 0.01, *, patience: float = PATIENCE
) -> Any:
    """Do it again until its result is as wanted; a store that is not there yet, or away, is waited for.

    Raises:
        TimeoutError: it never was.
    """
    over = time.monotonic() + patience
    while time.monotonic() < over:
        with contextlib.suppress(SartorError):
            found = doing()
            if until(found):
                return found
        time.sleep(pause)
    raise TimeoutError


@contextlib.contextmanager
def watched(place: Place) -> Iterator[Store]:
    """The store as soon as it is there."""
    store = insist(place.open, lambda _: True)
    try:
        yield store
    finally:
        store.close()


# Runs


def undisturbed(place: Place) -> tuple[Left, int, float]:
    """What an undisturbed run leaves, the boundaries that it passes, and its seconds."""
    began = time.monotonic()
    place.begin("run", sartor, "run", "task.yaml")
    place.crew["run"].join()
    seconds = time.monotonic() - began
    with watched(place) as store:
        passed = marks(store)
    return left(place), passed, seconds


def run_again(place: Place) -> None:
    """Run the command until it ends well; a gate not passed is well, too.

    Raises:
        RuntimeError: it failed; its words stand in the log.
    """
    place.begin("again", sartor, "run", "task.yaml")
    place.crew["again"].join(PATIENCE)
    if place.crew["again"].exitcode not in (0, 7):
        raise RuntimeError(f"the run after it failed with {place.crew['again'].exitcode}: see {place.home}-again.log")


def submit(place: Place) -> str:
    """Ask for the run as a durable job; its id."""
    from sartor.pipeline.run_job import run_request

    store = insist(lambda: place.open(read_only=False), lambda _: True)
    try:
        from dataclasses import replace

        request = replace(run_request(place.work / "task.yaml"), who="kill", most_attempts=20)
        job: Job = insist(lambda: store.jobs.submit(request), lambda _: True)
        return job.id
    finally:
        store.close()


def ended(store: Store, job: str) -> Job:
    """The job when it has ended.

    Raises:
        RuntimeError: it did not end well.
    """
    found: Job = insist(lambda: store.jobs.get(job), lambda j: j.has_ended, 0.05)
    if found.state != "succeeded":
        raise RuntimeError(f"the job ended as {found.state}: {found.error}")
    return found


Disk = Literal["full", "not permitted"]


@contextlib.contextmanager
def little_room(folder: Path, kilobytes: int) -> Iterator[bool]:
    """A file system of a few kilobytes in a folder; whether that is permitted here."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    permitted = subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode == 0
    try:
        yield permitted
    finally:
        if permitted:
            subprocess.run(["umount", str(folder)], check=True)


def said(path: Path) -> str:
    """The end of a log, for whoever reads why a case failed."""
    return path.read_text(errors="replace")[-2000:] if path.is_file() else ""


def write_tiny(folder: Path) -> None:
    """A real encoder of two layers and 32 dimensions with a word tokenizer, untrained: what is trained is quick."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    rows = [json.loads(line) for line in (folder.parent / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    words = sorted({word for row in rows for word in row["text"].split()})
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        pad_token_id=0,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
