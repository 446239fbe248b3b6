"""A running table of names follows a recall: nothing that was recalled answers, and the rest goes on."""

import time
from pathlib import Path

import pytest
from recall_house import filled

from sartor.core.access import Caller
from sartor.core.errors import NotFoundError, RefusedError
from sartor.core.route import Route
from sartor.pipeline.building import Aids
from sartor.pipeline.declared import targets
from sartor.pipeline.recall import recall, wait_for
from sartor.pipeline.routes import declare_route
from sartor.pipeline.routing import RoutingTable
from sartor.pipeline.serve import Handles
from sartor.pipeline.workshop import Workshop

ADMIN = Caller()


@pytest.fixture
def full(tmp_path: Path) -> Workshop:
    shop = filled(tmp_path)
    yield shop
    shop.store.close()


def test_a_running_table_serves_nothing_that_was_recalled(full: Workshop) -> None:
    aids = Aids(background=lambda _: False, shadowed=lambda *_: None, purse=None, clock=time.monotonic)
    table = RoutingTable(full, Handles(full), aids)
    table.settle()
    declare_route(full, Route(name="pinned", task="later", policy="later@v2"))
    table.settle()
    assert table.resolve("later@v2", ADMIN).name == "later@v2"
    assert table.resolve("pinned", ADMIN).version == "later@v2"
    done = recall(full, "source", "bad.csv")
    table.settle()
    assert table.resolve("later", ADMIN).version == "later@v1"
    assert table.resolve("pinned", ADMIN).version == "later@v1"
    assert table.resolve("clean", ADMIN).version == "clean@v1"
    for name in ("always", "always@v1", "later@v2"):
        with pytest.raises(RefusedError, match=f"sartor recall show {done['recall'][:12]}"):
            table.resolve(name, ADMIN)
    listed = {served.name for served in table.names(ADMIN)}
    assert {"later", "clean", "later@v1"} <= listed
    assert not {"always", "always@v1", "later@v2"} & listed
    assert "later@v2" not in targets(full)
    with pytest.raises(NotFoundError):
        declare_route(full, Route(name="again", task="later", policy="later@v2"))
    wait_for(full, done["recall"])
    table.settle()
    assert table.resolve("always", ADMIN).version == "always@v2"
    table.stop()
