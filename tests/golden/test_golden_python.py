"""The chain from Python: the same store, the same answers and the same words as on the command line."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from golden_house import House

from sartor import Home, Prediction, SartorError

TEXTS = ["please, my card was stolen", "where is the transfer", "i have moved to a new flat"]
TWO_COLUMNS = """\
name: mail
input: {columns: [title, body], template: "{title} {body}"}
data:
  sources: [{use: csv, path: mail.csv, licence: owned}]
value: {wrong: 5, escalate: {to: person, price: 2}}
candidates: [{recipe: linear, size: small}]
gate: {min_rows: 10, max_calibration_error: 0.5}
"""


@pytest.fixture
def home(house: House) -> Iterator[Home]:
    with house.entered():
        yield Home()


def outputs(answers: list[Prediction]) -> list[str | None]:
    return [answer.output for answer in answers]


def test_running_is_the_same_as_on_the_command_line(house: House, home: Home) -> None:
    result = home.run("task.yaml")
    (decision,) = json.loads(house.sartor("decide", "--json").out)
    assert result.decision.digest == decision["digest"]
    assert (result.version, result.decision.verdict) == ("triage@v1", "ship")


def test_a_model_answers_again_and_again_and_inside_a_running_loop(home: Home) -> None:
    model = home.model("triage")
    assert outputs(model.answer(TEXTS)) == ["card", "transfer", "address"]
    assert outputs(model.answer(TEXTS[:1])) == ["card"]
    assert model.answer([]) == []

    async def notebook() -> list[str | None]:
        return outputs(model.answer(TEXTS)) + outputs(await model.predict(TEXTS))

    assert asyncio.run(notebook()) == ["card", "transfer", "address"] * 2
    assert model.version == model.answer(TEXTS)[0].served_by


def test_a_fixed_version_and_a_folder_by_name(house: House) -> None:
    with house.entered({"SARTOR_HOME": "elsewhere"}):
        model = Home(house.home).model("triage@v1")
    assert outputs(model.answer([{"text": TEXTS[0]}])) == ["card"]


def test_errors_are_the_command_lines(house: House, home: Home) -> None:
    said = house.sartor("predict", "rows.csv", "-m", "triag").err
    with pytest.raises(SartorError) as caught:
        home.model("triag")
    assert said == f"sartor: {caught.value.message}\n"
    with pytest.raises(SartorError, match="There is no task file"):
        home.run("none.yaml")


def test_several_columns_by_name_or_put_together_by_the_caller(house: House, home: Home) -> None:
    lines = (house.folder / "rows.csv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.rsplit(",", 1) for line in lines]
    mail = [f"{text.split(' ')[0]},{' '.join(text.split(' ')[1:])},{label}" for text, label in rows]
    house.write("mail.csv", "\n".join(["title,body,label", *mail]) + "\n")
    house.write("mail.yaml", TWO_COLUMNS)
    assert home.run("mail.yaml").version == "mail@v1"

    model = home.model("mail")
    apart, whole = model.answer([{"title": "my", "body": "card was stolen"}, "my card was stolen"])
    assert apart.output == whole.output == "card"
    assert apart.confidence == whole.confidence
    with pytest.raises(SartorError, match=r"lacks 'title'\. The task reads title, body; given: titel, body"):
        model.answer([{"titel": "my", "body": "card was stolen"}])
