"""A server with a worker as processes of their own, keys of two tenants, and files of chats for the official client."""

import io
import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from serve_house import Serving, serving

from sartor.core.access import Role
from sartor.core.task import Task
from sartor.pipeline.access import OWNER, create_key
from sartor.pipeline.run import run
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

WORDS = {
    "card": ("card", "stolen", "lost", "block"),
    "fees": ("fee", "charge", "cost", "price"),
    "login": ("password", "sign", "locked", "account"),
}
FILL = ("please", "my", "the", "help", "about", "today", "again", "with", "now", "why", "is", "bank")
TASK = {
    "name": "desk",
    "data": {
        "sources": [{"use": "jsonl", "path": "rows.jsonl", "licence": "owned"}],
        "split": {"column": "split"},
    },
    "value": {"wrong": 5},
    "candidates": [{"recipe": "linear", "size": "small"}],
    "gate": {"min_rows": 50, "guards": {}, "max_calibration_error": 1.0, "slice_margin": 1.0},
}
ENDED = ("succeeded", "failed", "cancelled")


def said(chance: random.Random, label: str) -> str:
    words = chance.sample(FILL, 4) + chance.sample(WORDS[label], 2)
    chance.shuffle(words)
    return " ".join(words)


def chats(count: int, seed: int = 1) -> bytes:
    """Lines of a training file."""
    chance = random.Random(seed)
    out = []
    for _ in range(count):
        label = chance.choice(list(WORDS))
        roles = (("system", "Name the topic."), ("user", said(chance, label)), ("assistant", label))
        out.append(json.dumps({"messages": [{"role": role, "content": content} for role, content in roles]}))
    return ("\n".join(out) + "\n").encode()


def make_desk(shop: Workshop, folder: Path) -> None:
    """Release a task whose live variant learned from rows of which half are wrong."""
    chance = random.Random(7)
    with (folder / "rows.jsonl").open("w") as out:
        for number in range(400):
            label = chance.choice(list(WORDS))
            split = ("train", "test", "train", "validation")[number % 4]
            told = chance.choice(list(WORDS)) if split == "train" and chance.random() < 0.8 else label
            out.write(json.dumps({"text": said(chance, label), "label": told, "split": split}) + "\n")
    found = run(shop, Task.model_validate(TASK), folder)
    assert found.version == "desk@v1", found.decision.reasons


@dataclass
class House:
    """What runs, and a client for each key."""

    home: Path
    serving: Serving
    keys: Mapping[str, str]

    def client(self, who: str = "house", **how: Any) -> openai.OpenAI:
        return client(self.serving, self.keys[who], **how)


def client(found: Serving, key: str = "none", **how: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{found.port}/v1", api_key=key, max_retries=0, **how)


def opened(home: Path) -> Workshop:
    return Workshop(store=open_store(home), key=home.parent / "signing.key", cache=home.parent / "cache", who="tester")


@contextmanager
def house(folder: Path) -> Iterator[House]:
    home = folder / "home"
    shop = opened(home)
    make_desk(shop, folder)
    wanted: dict[str, tuple[str, Role]] = {
        "house": ("default", "approver"),
        "acme": ("acme", "operator"),
        "other": ("other", "operator"),
        "application": ("acme", "application"),
        "viewer": ("acme", "viewer"),
        "everybody": ("*", "admin"),
    }
    keys = {name: create_key(shop, OWNER, role=role, tenant=tenant)["key"] for name, (tenant, role) in wanted.items()}
    shop.store.close()
    with serving(home, "--with-worker", SARTOR_UPLOAD_MB="1") as found:
        yield House(home, found, keys)


def send(who: openai.OpenAI, content: bytes, name: str = "topics.jsonl", **how: Any) -> openai.types.FileObject:
    return who.files.create(file=(name, io.BytesIO(content)), purpose="fine-tune", **how)


def ended(who: openai.OpenAI, ident: str, seconds: float = 60.0) -> Any:
    """The job once it has ended, and the states that it was seen in."""
    give_up = time.monotonic() + seconds
    seen: list[str] = []
    while True:
        job = who.fine_tuning.jobs.retrieve(ident)
        if job.status not in seen[-1:]:
            seen.append(job.status)
        if job.status in ENDED:
            return job, seen
        assert time.monotonic() < give_up, job
        time.sleep(0.05)


def ask(who: openai.OpenAI, model: str, text: str = "my card was stolen") -> str:
    done = who.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])
    return str(done.choices[0].message.content)
