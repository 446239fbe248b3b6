"""One small store made by the real chain, copied for each test, and the real command run over it in this process."""

import csv
import io
import json
import os
import random
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sartor.interfaces.cli.main import main
from sartor.interfaces.cli.output import mode
from sartor.interfaces.demo import serving
from sartor.interfaces.settings import Settings
from sartor.pipeline.workshop import Workshop

ENDINGS = ("please", "today", "again", "since monday", "thanks")
TEXTS = {
    "card": ("my card has not arrived", "the card was stolen", "when does the new card come", "the card is blocked"),
    "transfer": ("the transfer did not go through", "where is the transfer", "the transfer went to somebody else"),
    "address": ("change my address", "i have moved to a new flat", "the address on the letter is wrong"),
}
TASK = """\
name: triage
data:
  sources:
    - {use: csv, path: rows.csv, licence: owned}
value: {wrong: 5, escalate: {to: person, price: 2}}
candidates:
  - {recipe: linear, size: small}
gate: {min_rows: 10, max_calibration_error: 0.5}
"""


def write_rows(path: Path, rows: int = 150, **columns: Callable[[int], str]) -> None:
    """Rows of three labels; `columns` adds more, each from the row's number."""
    chance = random.Random(1)
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["text", "label", *columns])
        for number in range(rows):
            label = list(TEXTS)[number % len(TEXTS)]
            text = f"{chance.choice(TEXTS[label])} {chance.choice(ENDINGS)} {number}"
            out.writerow([text, label, *(make(number) for make in columns.values())])


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code and what it printed."""

    command: str
    code: int
    out: str
    err: str


@dataclass
class House:
    """A folder with rows, a task file, a key and a store."""

    folder: Path
    undo: list[Callable[[], object]] = field(default_factory=list)
    """Repairs of what a test damaged on purpose, the last one first."""

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "SARTOR_HOME": str(self.home),
            "SARTOR_KEY": str(self.folder / "key"),
            "SARTOR_CACHE": str(self.folder / "cache"),
            "SARTOR_WHO": "tester",
            "SARTOR_THREADS": "1",
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "TERM": "dumb",
        }

    def sartor(self, *arguments: str, **environment: str) -> Said:
        """Run the command as its entry point does, in this process."""
        out, err = io.StringIO(), io.StringIO()
        code = 0
        with self.entered(environment), redirect_stdout(out), redirect_stderr(err):
            before, sys.argv = sys.argv, ["sartor", *arguments]
            try:
                main()
            except SystemExit as stop:
                code = int(stop.code or 0)
            finally:
                sys.argv = before
                mode.json = mode.quiet = mode.traceback = False
        return Said(" ".join(["sartor", *arguments]), code, out.getvalue(), err.getvalue())

    def chat(self, body: Any, called: str = "") -> Said:
        """One chat, asked of a real server over the store: its status and the message of its error."""
        return self.post("/v1/chat/completions", body, called)

    def post(self, path: str, body: Any, called: str = "") -> Said:
        """One request to a real server over the store."""
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        with self.shop() as shop, serving(shop) as url:
            address = f"{url}{path}"
            request = urllib.request.Request(address, data, {"content-type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    status, found = response.status, response.read().decode()
            except urllib.error.HTTPError as error:
                status, found = error.code, f"sartor: {json.load(error)['error']['message']}\n"
        return Said(f"POST {path} {called or data.decode()}", status, "", found)

    @contextmanager
    def entered(self, environment: Mapping[str, str] | None = None) -> Iterator[None]:
        """In the folder, with the environment, until the block ends."""
        before, where = dict(os.environ), Path.cwd()
        os.environ.update(self.environment | dict(environment or {}))
        os.chdir(self.folder)
        try:
            yield
        finally:
            os.chdir(where)
            os.environ.clear()
            os.environ.update(before)

    @contextmanager
    def shop(self, *, read_only: bool = True) -> Iterator[Workshop]:
        """The opened store."""
        with self.entered():
            opened = Settings.read().workshop(read_only=read_only)
            try:
                yield opened
            finally:
                opened.store.close()

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def task(self, *changes: tuple[str, str], more: str = "") -> None:
        """The task file with parts of its text replaced, and more lines after it."""
        text = TASK
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        self.write("task.yaml", text + more)

    def overwrite(self, path: Path, change: Callable[[bytes], bytes]) -> None:
        """Change a file's bytes; undone before the store is checked."""
        before, rights = path.read_bytes(), path.stat().st_mode
        path.chmod(0o600)
        path.write_bytes(change(before))

        def back() -> None:
            path.chmod(0o600)
            path.write_bytes(before)
            path.chmod(rights)

        self.undo.append(back)

    def kept(self) -> dict[str, Any]:
        """What the store holds."""
        with self.shop() as shop:
            from sartor.store.contents import rows

            with shop.store.ledger.database.snapshot() as connection:
                records = {row.digest: row.seal for row in rows(connection)}
            pointers = {p.name: p.digest for p in shop.store.ledger.pointers()}
            return {"records": records, "pointers": pointers, "files": dict.fromkeys(shop.store.vault.digests())}


def copy_of(house: House, folder: Path) -> House:
    """The same house elsewhere."""
    shutil.copytree(house.folder, folder, dirs_exist_ok=True)
    return House(folder)


def normal(text: str, house: House) -> str:
    """Without what differs from run to run and between versions of libraries: folders, digests, ports, pip's words."""
    text = re.sub(r"and it failed: .*?\. (?=Check|A file)", "and it failed: <pip's reason>. ", text)
    text = re.sub(r"as Parquet failed: .* If it is text", "as Parquet failed: <reason>. If it is text", text)
    text = text.replace(str(house.folder), "<tmp>")
    text = re.sub(r"/tmp/sartor-\w+", "<scratch>", text)
    text = re.sub(r"\b[0-9a-f]{12,64}(-\d+)?\b", "<digest>", text)
    text = re.sub(r"\breq_[0-9a-f]+", "<request>", text)
    text = re.sub(r"\.base-\w+", ".base-<name>", text)
    text = re.sub(r"(draft|laid|curate|make|fetch)-[\w]+", r"\1-<name>", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:<port>", text)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def compare_with_golden(file: Path, found: str) -> None:
    """`SARTOR_WRITE_GOLDEN=1` writes it anew; read the difference before you commit it."""
    if os.environ.get("SARTOR_WRITE_GOLDEN") == "1":
        file.parent.mkdir(exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert file.exists(), f"no {file.name} yet: SARTOR_WRITE_GOLDEN=1 writes it"
    assert found == file.read_text(encoding="utf-8")
