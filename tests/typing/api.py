"""The public API as its users write it; never run, only read by the type checker (`test_typing_api.py`).

Each `type: ignore` is a mistake that the checker must find: one that it no longer finds is an error too.
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import assert_type

from sartor import Home, Model, Params, Prediction, Predictor, Request, SartorError, Task, Value, plugin


def batch(folder: Path) -> list[str | None]:
    home = Home(folder)
    result = home.run("task.yaml")
    assert_type(result.version, str)
    assert_type(result.report, Path)
    model = home.model("support-triage@v7")
    assert_type(model, Model)
    assert_type(model.version, str)
    answers = model.answer(["My card was stolen", {"title": "Card", "body": "It was stolen"}])
    assert_type(answers, list[Prediction])
    return [answer.output for answer in answers if answer.decision == "answer"]


async def served(model: Model) -> float | None:
    (answer,) = await model.predict(["My card was stolen"])
    assert_type(answer.cost, float)
    return answer.confidence


def contract(task: Task) -> Value:
    assert_type(task.labels, tuple[str, ...])
    return task.value


def what_failed(home: Home) -> str:
    try:
        home.model("nobody")
    except SartorError as error:
        assert_type(error.code, str)
        assert_type(error.exit_code, int)
        return error.message
    return ""


class Settings(Params):
    """Of a plug-in."""

    times: int = 1


@plugin
def double(params: Settings) -> int:
    """Marking a function leaves it what it is."""
    return 2 * params.times


class Echo:
    """A Predictor of one's own needs no base class."""

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        return [Prediction(output=request.text, served_by="echo") for request in requests]

    async def stream(self, request: Request) -> AsyncIterator[object]:  # not what a Predictor gives
        yield request.text


half: Predictor = Echo()  # type: ignore[assignment]
assert_type(double(Settings()), int)


def mistakes(home: Home, answer: Prediction) -> None:
    home.run(7)  # type: ignore[arg-type]
    home.model("t").answer("a text instead of a list of them")
    home.model("t").answer([1, 2])  # type: ignore[list-item]
    answer.output = "another"  # type: ignore[misc]
    double("three")  # type: ignore[arg-type]


from sartor import Hom  # type: ignore[attr-defined]  # noqa: E402, F401
