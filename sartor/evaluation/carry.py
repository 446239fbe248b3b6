"""Answers of a model with other labels than the task has today, as answers to today's labels."""

from dataclasses import replace

import numpy as np

from sartor.core.predict import Floats
from sartor.core.value import Ints
from sartor.evaluation.answers import Answers


def carry(answers: Answers, true: Ints, moves: Floats) -> Answers:
    """The answers in today's labels, with the likeliest as the answer; decide them anew under the value function.

    Args:
        true: (rows,) class index of the truth among today's labels.
        moves: (old labels, new labels) from `core.relabel.transfer`. What is lost on the way is made up for by all the
            other labels alike; a row that loses everything has no valid answer.
    """
    if answers.probabilities is None:
        first = moves.argmax(axis=1)
        known = (answers.answer >= 0) & (moves[answers.answer].sum(axis=1) > 0)
        return replace(answers, true=true, answer=np.where(known, first[answers.answer], -1).astype(np.int32))
    moved = answers.probabilities @ moves
    total = moved.sum(axis=1, keepdims=True)
    lost = total[:, 0] <= 0
    shares = np.where(lost[:, None], 1.0 / moves.shape[1], moved / np.maximum(total, 1e-12)).astype(np.float32)
    best = np.where(lost, -1, shares.argmax(axis=1)).astype(np.int32)
    return replace(answers, true=true.astype(np.int32), answer=best, probabilities=shares)
