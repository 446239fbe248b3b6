"""Where only the shares of labels have changed, what is live is reweighed by them, by a decision, and back again."""

import numpy as np
import pytest

from sartor.core.errors import NotFoundError, RefusedError
from sartor.core.records import Decision, Report
from sartor.pipeline.decide import replay
from sartor.pipeline.prior import drop_prior, state_prior
from sartor.pipeline.run import run
from sartor.pipeline.serve import Handles
from tests.pipeline.test_drift_watch import LABELS, send, texts_of


def test_what_is_live_is_reweighed_and_back_again(shop, desk, rows_folder):
    run(shop, desk, rows_folder)
    with pytest.raises(NotFoundError, match="No shares"):
        drop_prior(shop, "desk")
    rows = texts_of(shop, 1, 2400)
    often, texts = min(LABELS), [text for text, _ in rows[:50]]
    send(shop, rows[:200])
    with pytest.raises(RefusedError, match="have not changed"):
        state_prior(shop, "desk")
    send(shop, [row for row in rows[400:] if row[1] == often or len(row[0]) % 4 == 0][:700], begin=200)
    handles = Handles(shop)
    before = handles.resolve("desk")
    plain = np.stack([said.probabilities for said in before.predictor.answer(texts)])

    done = state_prior(shop, "desk", why="spring sale")
    report = shop.store.ledger.get(done["prior"])
    assert isinstance(report, Report)
    odds = np.array([report.facts["odds"][label] for label in before.labels])
    assert odds[before.labels.index(often)] > 1.3
    pointer = shop.store.ledger.resolve("desk@live")
    assert not handles.holds(pointer), "a server that runs must take it up"
    now = handles.resolve("desk")
    moved = np.stack([said.probabilities for said in now.predictor.answer(texts)])
    assert np.allclose(moved, plain * odds / (plain * odds).sum(axis=1, keepdims=True), atol=0)
    assert np.abs(np.log(moved / plain)).max() > 0.2
    assert now.variant == before.variant
    decision = shop.store.ledger.get(done["decision"])
    assert isinstance(decision, Decision)
    assert (decision.verb, decision.reasons) == ("prior", ("spring sale",))
    assert replay(shop, decision.digest).evidence == 1

    drop_prior(shop, "desk")
    again = np.stack([said.probabilities for said in handles.resolve("desk").predictor.answer(texts)])
    assert np.array_equal(again, plain)
    assert [move.digest for move in shop.store.ledger.moves("desk@prior")] == [done["prior"], None]


def test_shares_count_for_the_variant_that_they_were_worked_out_for(shop, desk, rows_folder):
    from sartor.pipeline.serve import prior_of

    run(shop, desk, rows_folder)
    live = shop.store.ledger.resolve("desk@live").digest
    report = Report(purpose="drift", subject="0" * 64, title="prior", task="desk", facts={"odds": {}})
    shop.store.ledger.put(report)
    shop.store.ledger.point("desk@prior", report.digest, expected=None, decision="")
    assert prior_of(shop.store.ledger, "desk", live) is None
    assert prior_of(shop.store.ledger, "desk", "0" * 64) == report
