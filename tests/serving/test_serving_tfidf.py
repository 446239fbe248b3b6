"""The lean TF-IDF gives what scikit-learn gives, to float tolerance, for any text."""

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sartor.serving.tfidf import Vectorizer, VectorizerSpec

CORPUS = [
    "My card hasn't arrived yet, where is it?",
    "Überweisung nach Köln — wie lange dauert das?",
    "a bb ccc dddd eeeee a bb ccc",
    "ÉCLAIR éclair eclair naïve ﬁre ①",
    "tabs\tand\nlines   and    gaps\u00a0here",
    "日本語 の テキスト です",
]
KINDS: list[dict[str, Any]] = [
    {"analyzer": "word", "ngram": [1, 1]},
    {"analyzer": "word", "ngram": [1, 3], "sublinear": False},
    {"analyzer": "word", "ngram": [2, 2]},
    {"analyzer": "char_wb", "ngram": [2, 5]},
    {"analyzer": "char_wb", "ngram": [1, 3], "lowercase": False},
    {"analyzer": "char_wb", "ngram": [4, 6], "strip_accents": "unicode"},
    {"analyzer": "word", "ngram": [1, 2], "strip_accents": "ascii"},
]


def pair(kinds: list[dict[str, Any]]) -> tuple[list[Any], Vectorizer]:
    """scikit-learn's vectorizers and ours, on the same vocabulary."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    theirs = [
        TfidfVectorizer(
            analyzer=kind["analyzer"],
            ngram_range=tuple(kind["ngram"]),
            sublinear_tf=kind.get("sublinear", True),
            lowercase=kind.get("lowercase", True),
            strip_accents=kind.get("strip_accents"),
        ).fit(CORPUS)
        for kind in kinds
    ]
    parts = [
        kind | {"vocabulary": {term: int(i) for term, i in t.vocabulary_.items()}}
        for kind, t in zip(kinds, theirs, strict=True)
    ]
    spec = VectorizerSpec.model_validate({"kind": "tfidf", "parts": parts})
    return theirs, Vectorizer(spec, np.concatenate([t.idf_ for t in theirs]))


def dense(vectorizer: Vectorizer, text: str, size: int) -> Any:
    row = vectorizer(text)
    assert len(set(row.places.tolist())) == len(row.places)
    full = np.zeros(size)
    full[row.places] = row.values
    return full


ALL_KINDS = [pair([kind]) for kind in KINDS] + [pair(KINDS)]


@pytest.mark.parametrize("place", range(len(ALL_KINDS)))
def test_equals_scikit_learn_on_its_corpus_and_on_unseen_text(place: int) -> None:
    theirs, ours = ALL_KINDS[place]
    for text in [*CORPUS, "", " ", "x", "zz qq", "card card card arrived CARD", "İstanbul ẞ ǅ"]:
        wanted = np.hstack([t.transform([text]).toarray()[0] for t in theirs])
        np.testing.assert_allclose(dense(ours, text, len(wanted)), wanted, atol=2e-7)


@given(st.text(max_size=60) | st.lists(st.sampled_from(" ".join(CORPUS).split()), max_size=12).map(" ".join))
@settings(max_examples=120, deadline=None)
def test_equals_scikit_learn_on_any_text(text: str) -> None:
    theirs, ours = ALL_KINDS[-1]
    wanted = np.hstack([t.transform([text]).toarray()[0] for t in theirs])
    np.testing.assert_allclose(dense(ours, text, len(wanted)), wanted, atol=2e-7)


def test_remembering_words_changes_nothing() -> None:
    _, ours = pair(KINDS)
    first = [ours(text) for text in CORPUS]
    again = [ours(text) for text in reversed(CORPUS)][::-1]
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.places, two.places)
        np.testing.assert_array_equal(one.values, two.values)


def test_one_short_text_takes_well_under_a_millisecond(tiny_linear: Any) -> None:
    spec = VectorizerSpec.model_validate(json.loads((tiny_linear.folder / "vectorizer.json").read_text()))
    ours = Vectorizer(spec, np.ones(sum(len(part.vocabulary) for part in spec.parts)))
    text = "I ordered a new card two weeks ago and it still has not arrived, what can I do about it now?"
    best = 1.0
    for _ in range(20):
        begun = time.thread_time()
        for _ in range(20):
            ours(text)
        best = min(best, (time.thread_time() - begun) / 20)
    assert best < 0.0005


def test_a_spec_that_is_not_understood_is_refused() -> None:
    for change in ({"analyzer": "char"}, {"token_pattern": "x"}, {"ngram": [0, 2]}):
        part = {"analyzer": "word", "ngram": [1, 2], "vocabulary": {"a": 0}} | change
        with pytest.raises(ValidationError):
            VectorizerSpec.model_validate({"kind": "tfidf", "parts": [part]})
    spec = VectorizerSpec.model_validate(
        {"kind": "tfidf", "parts": [{"analyzer": "word", "ngram": [1, 1], "vocabulary": {"aa": 0, "bb": 1}}]}
    )
    with pytest.raises(ValueError, match=r"2 terms and linear\.safetensors 3"):
        Vectorizer(spec, np.ones(3))
