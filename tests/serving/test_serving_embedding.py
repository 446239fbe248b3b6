"""A base's embeddings in the form of OpenAI's endpoint."""

import asyncio
import base64
import json

import numpy as np
import pytest

from sartor.core.errors import AskError
from sartor.core.predict import Request
from sartor.serving.embedding import MOST_TEXTS, EmbeddingPredictor, texts_of


async def embed(texts):
    """Lengths and vowels: enough to tell texts apart."""
    return np.array([[len(text), sum(c in "aeiou" for c in text)] for text in texts], dtype=np.float64)


def asked(**body):
    predictor = EmbeddingPredictor("tiny", embed, second_price=2.0)
    (answer,) = asyncio.run(predictor.predict([Request("", chat=body, endpoint="embeddings")]))
    return answer, json.loads(answer.reply)


def test_one_text_and_several_come_back_in_order():
    answer, said = asked(model="tiny", input=["a card", "lost"])
    assert [item["embedding"] for item in said["data"]] == [[6.0, 2.0], [4.0, 1.0]]
    assert [item["index"] for item in said["data"]] == [0, 1]
    assert said["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert answer.cost == answer.usage.cpu_seconds * 2.0 == answer.hops[0].cost
    assert asked(input="lost")[1]["data"][0]["embedding"] == [4.0, 1.0]


def test_base64_holds_the_same_numbers():
    _, said = asked(input="lost", encoding_format="base64")
    assert np.frombuffer(base64.b64decode(said["data"][0]["embedding"]), "<f4").tolist() == [4.0, 1.0]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"input": ["a"] * (MOST_TEXTS + 1)}, "input"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "dimensions": 8}, "dimensions"),
    ],
)
def test_what_does_not_fit_is_named(body, param):
    with pytest.raises(AskError) as told:
        asked(**body)
    assert told.value.param == param


def test_a_text_alone_is_a_list_of_one():
    assert texts_of({"input": "a"}) == ["a"]
