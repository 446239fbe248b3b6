"""BANKING77 through the running gateway: a small model in front of GPT-4, whose recorded answers are replayed.

Two small models: one trained on the gold labels, one on nothing but GPT-4's 1,001 labels, spread over the unlabelled
training text (on which its threshold is chosen too). Every test message is sent as an application sends it, with the
giant's whole prompt, by the official client; what is measured stands in the answers and in the gateway's own ledger.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _banking
from benchmarks._served import process, write_rows
from benchmarks._shared import HOME, data_folder, paired, result, show, task, workshop
from sartor.core.predict import Floats
from sartor.core.records import Base, Variant
from sartor.core.route import Route, TokenPrice, Upstream
from sartor.core.traffic import NANO
from sartor.evaluation.statistics import wilson
from sartor.pipeline.answer import answer, read_answers
from sartor.pipeline.certify import decided
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.inspect import Hall
from sartor.pipeline.routes import declare_route
from sartor.pipeline.run import make_all, open_hall
from sartor.pipeline.serve import Handles
from sartor.pipeline.upstreams import declare_upstream
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import register
from sartor.serving.engine import Engine, open_engine
from sartor.store.traffic.queries import Filters

LOCAL = {"gold": 0.965, "student": 0.53}
"""Share that each is to answer itself, of rows that test nothing: a little more than the goal asks."""
PRICE = TokenPrice(input_million=30.0, output_million=60.0, currency="EUR", source="GPT-4's list price, 1 USD as 1 EUR")
SHOTS = 3
AT_ONCE = 16
INSTRUCTIONS = """\
You sort the messages that customers write to their bank. Name the one intent that a message has, and write nothing
else. The intents, with examples:
"""

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Local:
    """A small model with its threshold."""

    handle: str
    """`banking77-gold@v1`."""
    threshold: float

    @property
    def task(self) -> str:
        """Whose variant it is."""
        return self.handle.partition("@")[0]


def run() -> dict[str, Any]:
    """Make both models, put each in front of GPT-4, send every test message, and read the ledger."""
    shop = workshop()
    folder = data_folder() / "banking77"
    test, prompt = _rows(folder / "test.jsonl"), _prompt(_rows(folder / "train.jsonl"))
    models = {"gold": _gold(shop, prompt), "student": _student(shop, prompt)}
    replay = write_rows(HOME / "replay.jsonl", test)
    recorded = ("--text", "text", "--answer", "gpt4", "--model", "gpt-4", "--port", "0")
    began = time.time()
    with process("gateway", "replay", str(replay), *recorded) as giant, process("serve", "--port", "0") as gateway:
        declare_upstream(shop, Upstream(name="gpt-4", base_url=f"{giant}/v1", allow_private=True, price=PRICE))
        declare_route(shop, Route(name="alone", policy="gpt-4"))
        for name, model in models.items():
            policy = {"use": "cascade", "local": model.handle, "to": "gpt-4"}
            policy |= {"by": "threshold", "threshold": model.threshold}
            declare_route(shop, Route(name=name, task=model.task, policy=policy, unmatched="gpt-4"))
        _until_answered(f"{gateway}/v1", ["alone", *models])
        said = {name: asyncio.run(_ask(f"{gateway}/v1", name, prompt, test)) for name in ("alone", *models)}
    shop.store.traffic.index.catch_up()
    alone = np.array([a == row["label"] for a, row in zip(said["alone"], test, strict=True)])
    figures = {name: _figures(shop, name, began, said[name], test, alone) for name in said}
    _print(figures)
    goals = {
        "gold: at least 94.0 right": figures["gold"]["accuracy"] >= 0.94,
        "gold: at least 95 % local": figures["gold"]["local"] >= 0.95,
        "student: at least 50 % local": figures["student"]["local"] >= 0.5,
        "student: at most 2 points below GPT-4": figures["student"]["against"]["low"] > -0.02,
        "both: cheaper per 1,000 right answers": all(
            figures[name]["per_1000_right"] < figures["alone"]["per_1000_right"] for name in models
        ),
    }
    thresholds = {name: model.threshold for name, model in models.items()}
    return result("cascade", figures | {"thresholds": thresholds}, goals)


# The models


def _gold(shop: Workshop, prompt: Rows) -> Local:
    """Trained on the gold labels; the threshold from validation rows."""
    wanted = [r for r in _banking.RUNGS if {r.get("name"), r.get("base")} & {"blend:mpnet+tune", "mpnet"}]
    wanted.append({"recipe": "tune", "base": "minilm"})
    place, variant = _made(shop, _body("gold", prompt, candidates=wanted), "blend:mpnet+tune")
    kept = answer(shop, place.cache, variant, place.dataset, place.snapshot, "validation")
    confidence, _ = decided(place.task, place.snapshot, read_answers(shop, kept))
    return Local(register(shop.store.ledger, variant).name, _threshold(confidence, LOCAL["gold"]))


def _student(shop: Workshop, prompt: Rows) -> Local:
    """Trained on GPT-4's labels alone; the threshold from training text, whose labels nobody looks at."""
    folder = data_folder() / "banking77"
    seen = [{"text": r["text"], "label": r["gpt4"]} for r in _rows(folder / "gpt4_labelled_train.jsonl") if r["gpt4"]]
    known = {row["text"] for row in seen}
    texts = [text for row in _rows(folder / "train.jsonl") if (text := row["text"]) not in known]
    spread = [{"text": t, "label": label} for t, label in zip(texts, _propagated(shop, seen, texts), strict=True)]
    train = write_rows(HOME / "gpt4-labels.jsonl", seen + spread)
    rungs = [{"recipe": "linear"}, {"recipe": "head", "base": "mpnet"}]
    _, variant = _made(shop, _body("student", prompt, str(train), candidates=rungs), "head:mpnet")
    handle = register(shop.store.ledger, variant).name
    answers = Handles(shop).resolve(handle).predictor.answer(texts[:2000])
    return Local(handle, _threshold(np.array([a.confidence for a in answers]), LOCAL["student"]))


def _propagated(shop: Workshop, seen: Rows, texts: list[str]) -> list[str]:
    """Labels of texts that have none, spread from those that do over their ten nearest neighbours under mpnet.

    Zhou, Bousquet, Lal, Weston and Schölkopf 2003, "Learning with local and global consistency".
    """
    (base,) = shop.store.ledger.find(Base, name="mpnet", limit=1)
    engine = open_engine(base.engine, shop.store.folder(base), threads=shop.threads)
    assert isinstance(engine, Engine)
    everything = [row["text"].strip() for row in seen] + [text.strip() for text in texts]
    vectors = EmbeddingCache(shop).embed(base.digest, everything, engine.embed)
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -1.0)
    near = np.argpartition(-likeness, 10, axis=1)[:, :10]
    rows = np.arange(len(vectors))[:, None]
    weights = np.zeros_like(likeness)
    weights[rows, near] = np.exp((likeness[rows, near] - 1.0) / 0.1)
    weights = np.maximum(weights, weights.T)
    scale = np.sqrt(weights.sum(axis=1))
    weights /= scale[:, None] * scale[None, :]
    labels = sorted({row["label"] for row in seen})
    given = np.zeros((len(vectors), len(labels)), dtype=np.float32)
    given[np.arange(len(seen)), [labels.index(row["label"]) for row in seen]] = 1.0
    found = given.copy()
    for _ in range(20):
        found = 0.9 * (weights @ found) + 0.1 * given
    return [labels[i] for i in found[len(seen) :].argmax(axis=1)]


def _body(name: str, prompt: Rows, train: str = "", **changes: Any) -> dict[str, Any]:
    chat = [message | {"content": message["content"].replace("{", "{{").replace("}", "}}")} for message in prompt]
    spec = {"chat": "template", "prompt": [*chat, {"role": "user", "content": "{text}"}]}
    # Right or wrong is all that counts here; what a mistake costs is the other benchmark's matter.
    plain = {"name": f"banking77-{name}", "input": spec, "value": {"wrong": 1.0}}
    return _banking.body(train, **plain, **changes)


def _made(shop: Workshop, body: dict[str, Any], title: str) -> tuple[Hall, Variant]:
    contract = task(body)
    place = open_hall(shop, contract, HOME)
    return place, make_all(place, contract.candidates)[title]


def _threshold(confidence: Floats, share: float) -> float:
    return float(np.quantile(confidence, 1.0 - share))


# The traffic


def _rows(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _prompt(train: Rows) -> Rows:
    """The giant's prompt: what to do, and three examples of each intent."""
    examples: dict[str, list[str]] = {}
    for row in train:
        found = examples.setdefault(row["label"], [])
        if len(found) < SHOTS:
            found.append(row["text"])
    lines = [f"{label}: {' | '.join(texts)}" for label, texts in sorted(examples.items())]
    return [{"role": "system", "content": INSTRUCTIONS + "\n".join(lines)}]


def _until_answered(address: str, names: list[str]) -> None:
    """Wait until all names are there: their models have to be loaded."""
    import openai

    with openai.OpenAI(base_url=address, api_key="none") as client:
        while not set(names) <= {model.id for model in client.models.list()}:
            time.sleep(0.5)


async def _ask(address: str, model: str, prompt: Rows, test: Rows) -> list[str]:
    import openai

    gate = asyncio.Semaphore(AT_ONCE)
    async with openai.AsyncOpenAI(base_url=address, api_key="none", max_retries=2) as client:

        async def one(text: str) -> str:
            async with gate:
                asked: Any = [*prompt, {"role": "user", "content": text}]
                try:
                    done = await client.chat.completions.create(model=model, messages=asked, temperature=0)
                except openai.NotFoundError as error:
                    if error.code != "not_recorded":
                        raise
                    return ""  # GPT-4 gave no valid label on this text, so there is none to replay
                return done.choices[0].message.content or ""

        return list(await asyncio.gather(*(one(row["text"]) for row in test)))


# The figures


def _figures(shop: Workshop, name: str, since: float, said: list[str], test: Rows, alone: Any) -> dict[str, Any]:
    right = np.array([answered == row["label"] for answered, row in zip(said, test, strict=True)])
    low, high = wilson(float(right.sum()), len(right), 0.95)
    index, filters = shop.store.traffic.index, Filters(route=name, since=since)
    (total,) = index.totals(None, (), filters)
    asked = sum(row["count"] for row in index.totals(None, ("kind",), filters, hops=True) if row["kind"] == "upstream")
    cost = total["cost"] / NANO
    return {
        "accuracy": float(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "local": 1.0 - asked / total["count"],
        "requests": total["count"],
        "cost": cost,
        "per_1000_right": 1000.0 * cost / right.sum(),
        "against": paired(right.astype(float) - alone.astype(float)),
    }


def _print(figures: dict[str, Any]) -> None:
    titles = {"alone": "GPT-4 alone", "gold": "small model (gold labels)", "student": "small model (GPT-4's labels)"}
    rows = []
    for name, f in figures.items():
        interval = f"{100 * f['accuracy']:.1f} ({100 * f['accuracy_low']:.1f} to {100 * f['accuracy_high']:.1f})"
        gap = f["against"]
        paired_ = f"{100 * gap['value']:+.1f} ({100 * gap['low']:+.1f} to {100 * gap['high']:+.1f})"
        rows.append((titles[name], interval, paired_, 100.0 * f["local"], f["per_1000_right"]))
    columns = ["", "right %", "to GPT-4", "local %#", "EUR per 1,000 right#"]
    show(f"BANKING77 through the gateway, {figures['alone']['requests']:,} messages", columns, rows)
