"""Naive Bayes on words, in the files of the engine `linear`: nothing new is needed to serve it.

Multinomial naive Bayes with Lidstone smoothing is a linear model on word counts (McCallum and Nigam 1998).
"""

import json
import re
from collections import Counter

import numpy as np
from safetensors.numpy import save_file

from sartor import Params as Settings
from sartor import plugin
from sartor.training.job import Draft, Job

WORD = re.compile(r"\b\w\w+\b")


class Params(Settings):
    """How words are counted."""

    size: str = "medium"
    """Without effect: there is one size."""
    smoothing: float = 0.5
    """Added to each count."""


@plugin
def naive_bayes(job: Job, params: Params) -> Draft:
    """Count words per label and write the logarithms as weights."""
    documents = [Counter(WORD.findall(text.lower())) for text in job.train_texts]
    vocabulary = {word: place for place, word in enumerate(sorted(set().union(*documents)))}
    counts = np.full((len(job.labels), len(vocabulary)), params.smoothing)
    for document, target in zip(documents, job.train_targets, strict=True):
        for word, times in document.items():
            counts[target, vocabulary[word]] += times
    part = {"analyzer": "word", "ngram": [1, 1], "sublinear": False, "vocabulary": vocabulary}
    (job.folder / "vectorizer.json").write_text(json.dumps({"kind": "tfidf", "parts": [part]}))
    arrays = {
        "idf": np.ones(len(vocabulary)),
        "weight": np.log(counts / counts.sum(axis=1, keepdims=True)),
        "bias": np.log(np.bincount(job.train_targets, minlength=len(job.labels)) + 1.0),
    }
    arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
    save_file(arrays, job.folder / "linear.safetensors")
    return Draft("linear", {"words": len(vocabulary)})
