"""Judges of answers that are written: no label to ask for, and another text's answer as the decoy."""

import asyncio
import json

import pytest

from sartor.core.claims import parse
from sartor.core.errors import AskError
from sartor.core.predict import Prediction
from sartor.feedback.judging import Bench, Case, open_judge

RIGHT = {"a pen": '{"item":"pen"}', "a cup": '{"item":"cup"}'}


class Model:
    """Says of an answer whether it is the one to the text, or to all that they are right."""

    def __init__(self, *, nods=False):
        self.nods, self.seen = nods, []

    async def predict(self, requests):
        return [Prediction(self.reply(r), "giant", confidence=0.9, cost=0.01) for r in requests]

    def reply(self, request):
        if request.chat is None:
            return RIGHT[request.text]
        said = request.chat["messages"][1]["content"]
        fence = said.split("\n")[0]
        text, answer = (part.strip("\n") for part in said.split(fence)[1:3])
        self.seen.append(said)
        return "right" if self.nods or RIGHT[text] == answer.removeprefix("The answer:\n") else "wrong"


def opinions(use, settings, answers, model=None, texts=tuple(RIGHT)):
    bench = Bench("goods", "", lambda _: model, written=True, same=lambda one, other: parse(one) == parse(other))
    cases = [
        Case(f"id-{at}", text, said, (), extra={"truth": RIGHT[text]})
        for at, (text, said) in enumerate(zip(texts, answers, strict=True))
    ]
    return [one.right for one in asyncio.run(open_judge(use, settings, bench).judge(cases))]


def test_a_column_and_another_variant_judge_documents():
    loose, wrong = json.dumps({"item": "pen"}, indent=1), '{"item":"jug"}'
    assert opinions("rule", {"column": "truth"}, [loose, wrong]) == [True, False]
    assert opinions("variant", {"of": "giant"}, [loose, wrong], Model()) == [True, False]


def test_a_large_model_is_asked_for_a_verdict_and_never_for_a_label():
    verdict = {"model": "giant", "ask": "verdict"}
    with pytest.raises(AskError, match="ask: verdict"):
        opinions("llm", {"model": "giant"}, ["{}", "{}"], Model())
    model = Model()
    assert opinions("llm", verdict, [RIGHT["a pen"], '{"item":"jug"}'], model) == [True, False]
    assert len(model.seen) == 3, "who says right is asked about another answer too"
    assert opinions("llm", verdict, [RIGHT["a pen"], RIGHT["a cup"]], Model(nods=True)) == [None, None]
