"""What people made of answers, as recipes of preference learn it: better beside worse, good and bad.

A training row that says what had been answered (`answered`, as every harvested row does) is a pair where that was not
right, and a good mark where it was. Answers that people only called wrong give no row; where the data set comes from a
harvest they are bad marks, those of the standing test's side left out. Trains nothing and keeps nothing: texts are read
where they stand, so that what is erased there is gone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sartor.core.canonical import sha256
from sartor.core.records import Artifact, Dataset
from sartor.core.rows import Row
from sartor.core.task import Task
from sartor.data.snapshot import read_json
from sartor.pipeline.workshop import Workshop
from sartor.training.job import Preferences

ANSWERED = "answered"
"""Column with what had been answered."""


def preferences_of(shop: Workshop, task: Task, dataset: Dataset, rows: Sequence[Row]) -> Preferences:
    """What is known about answers to the training rows of a data set, and to the traffic that it was harvested from."""
    pairs, marks = [], []
    for row in rows:
        worse, better = row.extra.get(ANSWERED, ""), row.label or ""
        if not worse or not better:
            continue
        marks.append((row.text, better, True))
        if worse != better:
            pairs.append((row.text, better, worse))
            marks.append((row.text, worse, False))
    return Preferences(pairs, [*marks, *_barred(shop, task, dataset)])


def _barred(shop: Workshop, task: Task, dataset: Dataset) -> Iterator[tuple[str, str, bool]]:
    """Answers that people called wrong without naming a right one, on the side that is learned from."""
    for digest in dataset.parents.values():
        found = shop.store.ledger.get(digest)
        if isinstance(found, Artifact) and found.name == f"{task.name}/harvest":
            folder = shop.store.folder(found)
            sides = read_json(folder / "sides.json")
            for entry in read_json(folder / "to_label.json")["to_label"]:
                if entry["why"] == "not this":
                    yield from _bad(shop, task, entry, sides)


def _bad(
    shop: Workshop, task: Task, entry: Mapping[str, Any], sides: Mapping[str, str]
) -> Iterator[tuple[str, str, bool]]:
    from sartor.pipeline.harvest_reading import read_content
    from sartor.pipeline.harvest_rows import group_of, side_of

    exchange = shop.store.traffic.index.exchange(None, str(entry["exchange"]))
    if exchange is None:
        return
    content = read_content(shop, task, exchange)
    if content.state != "kept":
        return
    group = group_of(exchange.subject, exchange.business, content.text)
    side = sides.get(sha256(group.encode())[:24]) or side_of(task.name, group, task.learn.harvest.test_share)
    if side == "train":
        yield from ((content.text, str(answer), False) for answer in entry["not"])
