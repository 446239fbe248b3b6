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

from sartor.core.errors import AskError
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
        from sartor.pipeline.serve import Handles

        self._served = Handles(home.workshop).resolve(handle)

    @property
    def version(self) -> str:
        """Digest of the variant that answers."""
        return self._served.variant

    def answer(self, inputs: Sequence[Input]) -> list[Prediction]:
        """One prediction per input, in order. Blocks, in notebooks too; async callers have `predict`.

        Raises:
            AskError: an input lacks a column that the task reads.
        """
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        asking = self.predict(inputs)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(asking)
        with ThreadPoolExecutor(max_workers=1) as aside:  # a loop runs here already, and can't run another
            return aside.submit(asyncio.run, asking).result()

    async def predict(self, inputs: Sequence[Input]) -> list[Prediction]:
        """One prediction per input, in order."""
        return await self._served.predictor.predict([self._request(i) for i in inputs])

    def _request(self, given: Input) -> Request:
        how = self._served.task.input
        if isinstance(given, str):
            # One text for several columns: the caller has put them together.
            inputs = {how.columns[0]: given}
            return Request(text=how.render(inputs) if len(how.columns) == 1 else given, inputs=inputs)
        missing = [column for column in how.columns if column not in given]
        if missing:
            raise AskError(
                f"The input lacks '{missing[0]}'. The task reads {', '.join(how.columns)}; given: {', '.join(given)}.",
                param=missing[0],
                code="missing_column",
            )
        return Request(text=how.render(given), inputs=dict(given))


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
