"""The chain from Python: what `from sartor import …` gives.

from sartor import Home

home = Home()                                  # ./.sartor, or SARTOR_HOME
result = home.run("task.yaml")                 # the same as `sartor run task.yaml`
model = home.model("support-triage")           # or "support-triage@v7"
answers = model.answer(["My card was stolen"])
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.core.predict import Prediction, Request
from sartor.core.progress import Progress, silent
from sartor.interfaces.settings import Settings

if TYPE_CHECKING:
    from sartor.pipeline.run import RunResult

Input = str | Mapping[str, str]
"""A text, or the task's named input columns."""


class Model:
    """A variant that answers, under its task's value function."""

    def __init__(self, home: "Home", handle: str) -> None:
        from sartor.pipeline.serve import LedgerRoutes

        self._served = LedgerRoutes(home.workshop).resolve(handle)

    @property
    def version(self) -> str:
        """Digest of the variant that answers."""
        return self._served.variant

    def answer(self, inputs: Sequence[Input]) -> list[Prediction]:
        """One prediction per input, in order. Blocks; see `predict` for async callers."""
        import asyncio

        return asyncio.run(self.predict(inputs))

    async def predict(self, inputs: Sequence[Input]) -> list[Prediction]:
        """One prediction per input, in order."""
        return await self._served.predictor.predict([self._request(i) for i in inputs])

    def _request(self, given: Input) -> Request:
        how = self._served.task.input
        inputs = {how.columns[0]: given} if isinstance(given, str) else dict(given)
        return Request(text=how.render(inputs), inputs=inputs)


class Home:
    """A store and what can be done with it."""

    def __init__(self, folder: str | Path | None = None, *, progress: Progress = silent) -> None:
        settings = Settings.read(Path(folder) if folder else None)
        self.workshop = settings.workshop(progress)

    def run(self, task: str | Path) -> "RunResult":
        """Rows in, a gated and released model out; running again does only what changed.

        Raises:
            SartorError: what was tried, what is wrong, what to do.
        """
        from sartor.pipeline.run import run
        from sartor.pipeline.task_file import read_task

        path = Path(task)
        return run(self.workshop, read_task(path), path.parent)

    def model(self, handle: str) -> Model:
        """The variant behind `task`, `task@live` or `task@v7`.

        Raises:
            NotFoundError: no such model; the known ones are listed.
        """
        return Model(self, handle)
