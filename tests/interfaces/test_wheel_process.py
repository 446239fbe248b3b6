"""The wheel in real processes: traffic and corrections become a candidate, a person approves it, and it answers."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serve_house import Serving, serving, until

from sartor.core.task import Task
from sartor.pipeline.run import run
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

pytest.importorskip("dbos", reason="needs the extra 'worker'")

KNOWN = {"card": "card plastic chip", "loan": "loan credit mortgage", "login": "login password account"}
NEW = {"card": "girocard contactless", "loan": "overdraft instalment", "login": "passkey authenticator"}
"""Words that only come with the traffic."""
FILL = "my the please today again still cannot help urgent why when again is was has"
TASK = {
    "name": "desk",
    "data": {"sources": [{"use": "jsonl", "path": "rows.jsonl", "licence": "owned"}]},
    "value": {"wrong": 5, "volume": 1000},
    "candidates": [{"recipe": "linear", "size": "small"}],
    "gate": {"min_rows": 50, "guards": {}},
    "wheel": {"after_labels": 100, "ship": "approve", "most_runs_per_day": 5},
}


def texts(words: dict[str, str], count: int, seed: int) -> list[tuple[str, str]]:
    draw, found = random.Random(seed), {}
    while len(found) < count:
        label = draw.choice(sorted(words))
        found[" ".join([*draw.sample(FILL.split(), 4), draw.choice(words[label].split())])] = label
    return list(found.items())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    lines = (json.dumps({"text": text, "label": label}) + "\n" for text, label in texts(KNOWN, 400, 1))
    (tmp_path / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    store = open_store(tmp_path / "home")
    shop = Workshop(store=store, key=tmp_path / "signing.key", cache=tmp_path / "cache", who="tester")
    assert run(shop, Task.model_validate(TASK), tmp_path).version == "desk@v1"
    store.close()
    return tmp_path / "home"


def test_corrections_become_a_better_variant_that_a_person_lets_live(home):
    with serving(home, "--with-worker") as server:
        asked = texts(NEW, 360, 2)
        with ThreadPoolExecutor(4) as pool:
            before = list(pool.map(lambda pair: correct(server, *pair), asked))
        assert sum(before) / len(before) < 0.7
        assert server.ask("POST", "/api/v1/wheel/turn", {}, port=server.admin)[0] == 200
        until(lambda: ended(server), seconds=60)
        (job,) = jobs(server)
        assert (job["state"], job["kind"]) == ("succeeded", "learn"), job
        assert job["result"]["state"] == "waiting", job["result"]["says"]
        (waiting,) = server.ask("GET", "/api/v1/approvals", port=server.admin)[1]
        assert answers(server, "desk@v1") < 0.7
        status, done = server.ask(
            "POST", "/api/v1/approvals/desk/approve", {"decision": waiting["decision"]}, port=server.admin
        )
        assert (status, done["released"]) == (200, True), done
        until(lambda: answers(server, "desk") > 0.9, seconds=20)
        assert server.stop()[0] == 0


def correct(server: Serving, text: str, label: str) -> bool:
    """Ask, and tell what would have been right; whether it was."""
    status, said = server.chat("desk", text)
    assert status == 200, said
    body = {"exchange_id": said["id"], "metric": "demonstration", "value": label, "source_id": f"agent {len(text) % 4}"}
    assert server.ask("POST", "/v1/feedback", body)[0] == 200
    return said["choices"][0]["message"]["content"] == label


def jobs(server: Serving) -> list[dict]:
    status, found = server.ask("GET", "/api/v1/jobs", port=server.admin)
    assert status == 200, found
    return found if isinstance(found, list) else found["jobs"]


def ended(server: Serving) -> bool:
    return bool(jobs(server)) and all(job["state"] not in ("queued", "running") for job in jobs(server))


def answers(server: Serving, model: str) -> float:
    """Share of right answers on new words that nobody has seen."""
    fresh = texts(NEW, 40, 3)
    right = 0
    for text, label in fresh:
        status, said = server.chat(model, text)
        right += status == 200 and said["choices"][0]["message"]["content"] == label
        time.sleep(0.001)
    return right / len(fresh)
