"""The file of taught rows: JSON lines, each on the disk before the next is asked for. Asks nobody.

A row has the task's columns, its answer under the task's label column, and who gave it: `said_by` (`giant`, or `own`
for a variant made here), `by`, `sure`, `scores`, a reason, `synthetic`. `asked` names what was asked of whom; by it a
run that was stopped goes on, and nothing is paid for twice. A row without an answer says why (`no_answer`).
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError

ASKED, NO_ANSWER = "asked", "no_answer"


class TaughtFile:
    """One such file, appended to."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a line that a crash cut off is taken away.

        Raises:
            AskError: it is a file of something else, which is not written to.
        """
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            self._read()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def asked(self) -> set[str]:
        """What was asked before."""
        return {str(row[ASKED]) for row in self.rows}

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep rows; when this returns they are on the disk."""
        added = [dict(row) for row in rows]
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in added)
            file.flush()
            os.fsync(file.fileno())
        self.rows += added

    def _read(self) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        self.rows = list(self._lines(whole))
        if len(whole) < len(data):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))

    def _lines(self, data: bytes) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(data.split(b"\n")[:-1], start=1):
            try:
                row = json.loads(line)
                row[ASKED]
            except (ValueError, TypeError, KeyError) as error:
                raise AskError(
                    f"'{self.path}' can't be gone on with: line {number} is no row that a teacher gave. Name another "
                    "file with --out.",
                    code="not_a_taught_file",
                    param="out",
                ) from error
            yield row
