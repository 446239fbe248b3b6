"""Traffic becomes rows with their provenance; whose word counts, and what is left out, is told."""

import pytest
from harvest_house import Desk

from sartor.core.records import Dataset
from sartor.data.snapshot import read_rows
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.harvest import harvest, live_data, report_of
from sartor.pipeline.learning_data import learning_dataset
from sartor.pipeline.run import run
from sartor.pipeline.standing import current, standing_rows


@pytest.fixture
def home(shop, desk, rows_folder):
    run(shop, desk, rows_folder)
    return shop


def learn(task, **changes):
    return task.model_copy(update={"learn": task.learn.model_copy(update={"harvest": task.learn.harvest.model_copy(
        update=changes)})})  # fmt: skip


def rows_of(shop, made):
    return {row.id: row for row in read_rows(shop.store.folder(made) / "rows.parquet")}


def test_thin_slice(home, desk):
    traffic = Desk(home)
    labels = live_data(home, desk).labels
    for number in range(40):
        name = traffic.ask(number, f"something quite new, number {number} of {number * 7}", labels[0])
        traffic.say(name, "demonstration", labels[number % len(labels)], source_id="alice")
    traffic.done()
    made = harvest(home, desk)
    assert harvest(home, desk).digest == made.digest
    rows = rows_of(home, made)
    print(report_of(home, made))
    assert len(rows) == 40
    base = live_data(home, desk)
    found = learning_dataset(home, desk, base, made)
    assert isinstance(found, Dataset)
    assert learning_dataset(home, desk, base, made).digest == found.digest
    snapshot = open_dataset(home, found)
    print(found.counts, base.counts, current(home, "desk").facts)
    assert len(snapshot.splits["test"]) == len(standing_rows(home, current(home, "desk")))
