"""Calibration is fitted on validation rows and read back by whoever answers."""

import numpy as np
import pytest

from sartor.core.calibration import Calibration
from sartor.training.calibration import calibration_error, facts, fit, loss


def overconfident(rows: int = 2000, labels: int = 5, seed: int = 0):
    """Logits three times too sharp for the truths that they were drawn for."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, labels))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([rng.choice(labels, p=p) for p in shares])
    return 3.0 * logits, targets


def test_temperature_is_found():
    logits, targets = overconfident()
    found = fit(logits, None, targets)
    assert found.temperature == pytest.approx(3.0, rel=0.1)


def test_fitting_lowers_loss_and_calibration_error():
    logits, targets = overconfident()
    says = facts(logits, fit(logits, None, targets), targets)
    assert says["loss_after"] < says["loss_before"]
    assert says["calibration_error_after"] < says["calibration_error_before"] / 3


def test_threshold_keeps_95_percent_of_validation():
    logits, targets = overconfident()
    novelty = np.random.default_rng(1).uniform(size=len(targets))
    found = fit(logits, novelty, targets)
    assert (found.out_of_scope(logits, novelty) <= found.threshold).mean() == pytest.approx(0.95, abs=0.002)


def test_score_is_the_mean_of_standardised_parts():
    logits, targets = overconfident()
    novelty = np.random.default_rng(1).uniform(size=len(targets))
    found = fit(logits, novelty, targets)
    scores = found.out_of_scope(logits, novelty)
    assert scores.mean() == pytest.approx(0.0, abs=1e-9)
    far = found.out_of_scope(logits, novelty + 1.0)
    assert np.allclose(far - scores, 0.5 / found.novelty[1])


def test_file_form_is_read_back_and_single_rows_agree_with_batches():
    logits, targets = overconfident(200)
    found = fit(logits, np.linspace(0, 1, 200), targets)
    again = Calibration.model_validate_json(found.model_dump_json())
    assert again == found
    assert np.array_equal(again.probabilities(logits[3]), found.probabilities(logits)[3])
    assert again.out_of_scope(logits[3], 0.5) == found.out_of_scope(logits[3:4], np.array([0.5]))[0]


def test_rows_of_no_label_are_left_out():
    logits, targets = overconfident(500)
    noisy = np.concatenate([logits, 50 * np.ones((5, 5))])
    assert fit(noisy, None, np.concatenate([targets, np.full(5, -1)])) == fit(logits, None, targets)


def test_no_labelled_rows_gives_the_plain_calibration():
    assert fit(np.zeros((2, 3)), None, np.array([-1, -1])) == Calibration()


def test_measures_on_a_case_done_by_hand():
    shares = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
    targets = np.array([0, 1, 1])
    assert loss(shares, targets) == pytest.approx(-(np.log(0.9) + np.log(0.1) + np.log(0.8)) / 3)
    # Bin of 0.9: one of two right, gap 0.4 each way on two rows; bin of 0.8: right, gap 0.2 on one.
    assert calibration_error(shares, targets) == pytest.approx((2 * 0.4 + 0.2) / 3)
