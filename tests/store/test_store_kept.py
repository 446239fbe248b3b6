"""A store as an earlier Sartor wrote it opens, migrates, verifies, replays and answers. It is never written anew:
every later version has to live with it. Made with `sartor run` on `examples/desk`, twice, under two value functions.
"""

import shutil
from pathlib import Path

import pytest

from sartor.core.records import Decision
from sartor.pipeline.decide import replay
from sartor.pipeline.serve import Handles
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store
from sartor.store.verify import verify

KEPT = sorted((Path(__file__).parents[1] / "fixtures").glob("store-*"))


def test_there_is_a_kept_store():
    assert KEPT


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_kept_store_still_serves(kept, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(kept, home)
    store = open_store(home)
    shop = Workshop(store=store, key=home / "signing.key", cache=tmp_path)
    assert verify(store) == []
    decisions = store.ledger.find(Decision, task="desk")
    assert len(decisions) == 2
    for decision in decisions:
        assert replay(shop, decision.digest).reached == decision.verdict == "ship"
    served = Handles(shop).resolve("desk")
    assert (served.version, served.task.value.wrong) == ("desk@v1", 5.0)
    (answer,) = served.predictor.answer(["My card did not arrive\nHello, my card did not arrive today"])
    assert answer.output == "cards"
    store.close()
