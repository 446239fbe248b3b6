"""A person whose questions were harvested and learned from is erased from everything that came of them."""

from harvest_house import DAY, START, Desk, asked, learn

from benchmarks._oracle import descendants
from sartor.core.records import Dataset
from sartor.pipeline.access import verify_audit
from sartor.pipeline.harvest import harvest, live_data
from sartor.pipeline.learning_data import learning_dataset
from sartor.pipeline.recall import recall, wait_for
from sartor.pipeline.recall_plan import plan
from sartor.pipeline.recall_proof import prove
from sartor.pipeline.traffic import show as show_exchange
from sartor.pipeline.traffic_export import export
from sartor.store.traffic.queries import Filters
from sartor.store.verify import verify


def test_what_traffic_taught_is_taken_back_with_the_person_who_asked(home, desk, tmp_path):
    traffic = Desk(home)
    task = learn(desk, test_share=0.0, source_share=1.0, subject_share=1.0)
    theirs = []
    for number in range(12):
        user = "mallory" if number % 3 == 0 else f"user-{number}"
        one = traffic.ask(number, asked(number, "card"), "card", user=user)
        traffic.say(one, "demonstration", "card", source_id="ann", at=START + DAY)
        theirs += [one] if user == "mallory" else []
    traffic.done()
    base = live_data(home, task)
    made = harvest(home, task)
    learned = learning_dataset(home, task, base, made)
    export(home, None, tmp_path / "out.jsonl", Filters())
    mark = home.store.traffic.mark("mallory")
    found = plan(home, "subject", "mallory")
    assert {made.digest, learned.digest} <= set(found.found.goods)
    assert found.begun.rows[made.digest] >= len(theirs) == 4
    oracle = descendants(home.store.root, lambda row: dict(row["extra"]).get("subject") == mark)
    assert set(found.found.records) == set(oracle)
    assert [run.params["target"] for run in found.caches.exports] == [str(tmp_path / "out.jsonl")]
    # A row is found by the exchange that it came from, too.
    assert plan(home, "row", theirs[0]).begun.rows[made.digest] == 1
    done = recall(home, "subject", "mallory", tenant="default")
    assert done["keys_destroyed"] == 1
    assert show_exchange(home, None, theirs[0])["content"] == "erased"
    assert done["jobs"] == []
    assert not descendants(home.store.root, lambda row: dict(row["extra"]).get("subject") == mark)
    again = learning_dataset(home, task, base, harvest(home, task))
    assert again.digest != learned.digest
    assert not set(theirs) & {row for split in ("train", "test") for row in ids(home, again, split)}
    wait_for(home, done["recall"])
    assert prove(home, done["recall"])["clean"]
    assert verify(home.store) == []
    assert verify_audit(home)["whole"]


def ids(shop, dataset: Dataset, split: str):
    from sartor.data.snapshot import read_snapshot

    return [row.id for row in read_snapshot(shop.store.folder(dataset)).splits[split]]
