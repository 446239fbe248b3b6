"""How fast models are trained here: examples a CPU second at equal quality, beside transformers and peft.

SmolLM2 learns SVAMP with a LoRA adapter, MiniLM learns BANKING77 whole and with an adapter; each for one pass over
the same rows with the same optimiser, rates and losses, seed by seed in ABBA order, one thread. The peers get random
padded batches, as their manuals have it, in float32 or bfloat16, whichever is faster for them over a few steps. CPU
seconds are those of the steps alone; equal quality is the loss on (or share right of) rows that nobody trained on.
(Our encoder begins with a fitted head, which is not in the seconds and is in the quality.) Then what the lean loop's
parts bring, and how near it comes to the machine's own rate of matrix products.

`python -m benchmarks train_speed [--rows 96] [--seeds 0,1,2] [--only minilm]`; it wants a quiet machine.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks._shared import result, show
from benchmarks._svamp import INSTRUCTIONS, smollm2, svamp
from benchmarks._train_peers import Classifier, Course, causal, causal_loss, epoch

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
RANK = 8
BATCH = 8
LM_RATE = 1e-3
EXAMPLES = (
    f"{INSTRUCTIONS} Use only the numbers that bear on what is asked, write each with one decimal, put spaces around "
    "signs and brackets around each operation, and do not work it out. Tom has 3 apples and buys 4 more. How many has "
    "he now? ( 3.0 + 4.0 ) There are 12 eggs in 3 boxes. How many are in each? ( 12.0 / 3.0 )"
)
"""Longer instructions, as tasks mostly have them."""
GOAL, LOSS, SHARE = 2.0, 0.03, 0.005
"""Times as fast; difference of the loss, and of the share right, that still counts as equal."""


class Ran(NamedTuple):
    """One training."""

    examples_per_second: float
    quality: float
    """Loss on held-out rows (SmolLM2), or share right (MiniLM)."""


def run() -> dict[str, Any]:
    """Train, in turns; compare."""
    import torch

    from sartor.training.encoder import has_bfloat16

    given = _given()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"load": os.getloadavg()[0], "gemm_gflops": _gemm()}
    lines: list[tuple[Any, ...]] = []
    goals: dict[str, bool] = {}
    contests = {name: one for name, one in _contests(given.rows).items() if given.only in name}
    for name, (ours, theirs, few) in contests.items():
        tried = {precision: few(precision == "bfloat16") for precision in ("bfloat16", "float32")}
        better = max(tried, key=lambda precision: tried[precision])
        each = _in_turns(ours, partial(theirs, better == "bfloat16"), seeds)
        fast = [float(np.median([one.examples_per_second for one in part])) for part in each]
        quality = [[one.quality for one in part] for part in each]
        equal = abs(np.mean(quality[0]) - np.mean(quality[1])) if name.startswith("smollm2") else max(
            0.0, float(np.mean(quality[1]) - np.mean(quality[0]))
        )  # fmt: skip
        figures[name] = {
            "ours": fast[0],
            "peer": fast[1],
            "peer_precision": better,
            "peer_few_steps": tried,
            "times": fast[0] / fast[1],
            "times_by_seed": [a.examples_per_second / b.examples_per_second for a, b in zip(*each, strict=True)],
            "quality_ours": quality[0],
            "quality_peer": quality[1],
            "load_after": os.getloadavg()[0],
        }
        goals[f"{name}: twice as fast"] = fast[0] / fast[1] >= GOAL
        goals[f"{name}: as good"] = float(equal) <= (LOSS if name.startswith("smollm2") else SHARE)
        qualities = f"{np.mean(quality[0]):.3f} / {np.mean(quality[1]):.3f}"
        lines.append((name, *fast, *tried.values(), fast[0] / fast[1], qualities))
    columns = ("training", "ours, ex/CPU s#", "peer#", "bf16, few steps#", "fp32#", "times#", "quality ours / peer")
    show("Examples a CPU second", columns, lines)
    parts = _parts(figures["gemm_gflops"]["bfloat16" if has_bfloat16() else "float32"])
    figures["parts"] = parts
    show(
        "What the parts bring (SmolLM2, LoRA)",
        ("loop", "ex/CPU s#", "adapters × ex/CPU s#", "share of GEMM rate#"),
        [(n, f["examples"], f["adapter_examples"], f["share_of_gemm"]) for n, f in parts.items()],
    )
    return result("train_speed", figures, goals)


def _given() -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks train_speed")
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="", help="contests with this in their name")
    return parser.parse_args()


Contest = tuple[Callable[[int], Ran], Callable[[bool, int], Ran], Callable[[bool], float]]
"""Ours by seed; the peer by precision (bfloat16 or not) and seed; the peer's speed over a few steps by precision."""


def _contests(rows: int) -> dict[str, Contest]:
    base, encoder = smollm2(), _minilm()
    found = {
        f"smollm2 {name}": _contest(
            partial(_lm_ours, base, rows, told), partial(_lm_peer, base, rows, told), Course(LM_RATE, BATCH, 0), 3
        )
        for name, told in (("lora", INSTRUCTIONS), ("lora, instructions with examples", EXAMPLES))
    }
    return found | {
        f"minilm {name}": _contest(
            partial(_encoder_ours, encoder, adapter, rate),
            partial(_encoder_peer, encoder, adapter),
            Course(rate, 32, 0),
            10,
        )
        for name, adapter, rate in (("tune", None, 3e-4), ("adapter", RANK, 2e-3))
    }


def _contest(ours: Callable[[int], Ran], theirs: Callable[[Course], Ran], course: Course, steps: int) -> Contest:
    """Of ours and theirs; so many steps tell which precision is the peer's better one."""
    return (
        ours,
        lambda bfloat16, seed: theirs(replace(course, seed=seed, bfloat16=bfloat16)),
        lambda bfloat16: theirs(replace(course, bfloat16=bfloat16, steps=steps)).examples_per_second,
    )


def _in_turns(
    ours: Callable[[int], Ran], theirs: Callable[[int], Ran], seeds: Sequence[int]
) -> tuple[list[Ran], list[Ran]]:
    """Both for each seed, in ABBA order."""
    found: tuple[list[Ran], list[Ran]] = ([], [])
    for turn, seed in enumerate(seeds):
        both = ((0, ours), (1, theirs))
        for side, train in both if turn % 2 == 0 else reversed(both):
            found[side].append(train(seed))
    return found


def _lm_rows(base: Path, count: int, instructions: str = INSTRUCTIONS) -> tuple[Any, Any]:
    """Training and held-out rows of SVAMP."""
    from sartor.training.causal import tokenizer_of
    from sartor.training.causal_rows import Reader

    reader, data = Reader(tokenizer_of(base), instructions), svamp()
    parts = (data.train[:count], data.validation)
    return tuple(reader.read([p.text for p in part], [p.label for p in part]) for part in parts)  # type: ignore[return-value]


def _lm_ours(base: Path, count: int, instructions: str, seed: int) -> Ran:
    from sartor.training import causal_loop
    from sartor.training.causal import dtype
    from sartor.training.causal_lean import load
    from sartor.training.causal_learners import Adapters, Kept
    from sartor.training.encoder import repeatable

    given, held = _lm_rows(base, count, instructions)
    lean = load(base, dtype())
    with repeatable(seed, 1):
        learner = Adapters(lean, Kept(lean, 0), rank=RANK, targets=TARGETS, count=1)
        watch = _Watch()
        plan = causal_loop.Plan(1, count, (LM_RATE,), BATCH)
        causal_loop.train(learner, given, [], _job(base, seed, progress=watch), plan)
        return Ran(watch.rate(len(given.rows)), float(learner.judge(held.rows).losses.mean()))


def _lm_peer(base: Path, count: int, instructions: str, course: Course) -> Ran:
    from sartor.training.causal_plain import Plain

    given, held = _lm_rows(base, count, instructions)
    model = causal(base, RANK, TARGETS, course)
    seconds, steps = epoch(model, causal_loss(model, given.rows), count, course)
    judged = 0.0 if course.steps else float(Plain(model, base, adapter=True).judge(held.rows).losses.mean())
    return Ran(min(steps * course.batch, count) / seconds, judged)


class _Watch:
    """Progress that takes the time of the steps after the first, without what stands before and behind them."""

    def __init__(self) -> None:
        self._first = self._last = 0.0
        self._steps = 0

    def __call__(self, what: str, done: int, total: int) -> None:  # noqa: ARG002 - as progress is called
        now = time.process_time()
        if done == 1:
            self._first = now
        self._last, self._steps = now, total

    def rate(self, examples: int) -> float:
        """Examples a CPU second."""
        return examples * (self._steps - 1) / self._steps / (self._last - self._first)


def _job(base: Path, seed: int, **more: Any) -> Any:
    from sartor.training.job import Job

    given: dict[str, Any] = {"labels": (), "train_texts": (), "train_targets": np.zeros(0, np.int64)}
    given |= {"validation_texts": (), "validation_targets": np.zeros(0, np.int64)}
    return Job(folder=Path(), base=base, seed=seed, **(given | more))


BANKING_ROWS, BANKING_HELD = 960, 1000


def _banking() -> tuple[list[str], Any, list[str], Any, list[str]]:
    """Training texts and targets, held-out ones, labels: all from the training file."""
    import json

    from benchmarks._shared import data_folder

    lines = (data_folder() / "banking77" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    labels = sorted({row["label"] for row in rows})
    order = np.random.default_rng(0).permutation(len(rows))
    taken = [rows[place] for place in order[: BANKING_ROWS + BANKING_HELD]]
    texts, targets = [row["text"] for row in taken], np.array([labels.index(row["label"]) for row in taken])
    return texts[:BANKING_ROWS], targets[:BANKING_ROWS], texts[BANKING_ROWS:], targets[BANKING_ROWS:], labels


def _encoder_ours(base: Path, adapter: int | None, rate: float, seed: int) -> Ran:
    from sartor.training.encoder import adapted, load, repeatable
    from sartor.training.loop import Plan, train

    texts, targets, held, truth, labels = _banking()
    with repeatable(seed, 1):
        encoder = load(base)
        if adapter:
            encoder = adapted(encoder, adapter, 2 * adapter)
        else:
            encoder.model.get_input_embeddings().requires_grad_(False)
        watch = _Watch()
        job = _job(base, seed, labels=tuple(labels), train_texts=texts, train_targets=targets, progress=watch)
        made = train(encoder, job, Plan(1, len(texts), rate, 2e-3, contrast=0.0))
        logits = encoder.embed(encoder.tokens(held)) @ made.head.weight.T + made.head.bias
    return Ran(watch.rate(len(texts)), float((logits.argmax(axis=1) == truth).mean()))


def _encoder_peer(base: Path, adapter: int | None, course: Course) -> Ran:
    texts, targets, held, truth, labels = _banking()
    peer = Classifier(base, len(labels), adapter=adapter, course=course)
    loss = peer.loss_of(texts, targets, smoothing=0.1)
    seconds, steps = epoch(peer.model, loss, len(texts), course, head_rate=2e-3)
    quality = 0.0 if course.steps else peer.accuracy(held, truth)
    return Ran(min(steps * course.batch, len(texts)) / seconds, quality)


def _parts(gemm: float) -> dict[str, dict[str, float]]:
    """The lean loop with and without its parts: a few steps of each, without an epoch's end."""
    from sartor.training.causal import dtype
    from sartor.training.causal_lean import load
    from sartor.training.causal_learners import Adapters, Kept
    from sartor.training.causal_loop import _step

    base = smollm2()
    given, _ = _lm_rows(base, 64)
    rows = given.rows
    lean = load(base, dtype())
    found: dict[str, dict[str, float]] = {}
    for name, bottom, count, keep, share in (
        ("lean, all layers", 0, 1, False, True),
        ("… each row with its own beginning", 0, 1, False, False),
        ("… four adapters in one pass", 0, 4, False, True),
        ("top ten layers, trunk kept", 20, 1, True, True),
        ("… four adapters in one pass", 20, 4, True, True),
    ):
        kept = Kept(lean, bottom)
        some = rows if share else [_apart(row, place) for place, row in enumerate(rows)]
        if keep:
            kept.fill(some)
        learner = Adapters(lean, kept, rank=RANK, targets=TARGETS, count=count)
        parts = [some[at : at + 16] for at in range(0, 64, 16)]
        _step(learner, parts[0], None)
        began = time.process_time()
        for part in parts[1:]:
            _step(learner, part, None)
        seconds = time.process_time() - began
        rate = sum(len(part) for part in parts[1:]) / seconds
        flops = sum(_flops(lean, part, bottom, count) for part in parts[1:])
        key = f"top ten, {name[2:]}" if name in found else name
        found[key] = {
            "examples": rate,
            "adapter_examples": rate * count,
            "share_of_gemm": flops / seconds / 1e9 / gemm,
        }
    return found


def _flops(lean: Any, rows: Any, bottom: int, count: int) -> float:
    """Operations of the products with frozen weights, forward and back; padding counts as nothing."""
    from sartor.training.causal_rows import common

    begin = common(rows)
    tokens = begin + sum(len(row) - begin for row in rows)
    answers = sum(len(row.branches[0].answer) for row in rows)
    layer = sum(weight.numel() for weight in lean.layers[0].weights.values())
    body = 4.0 * tokens * layer * (len(lean.layers) - bottom - 1) + 4.0 * answers * layer
    return float(count * (body + 4.0 * answers * lean.head.numel()))


def _apart(row: Any, place: int) -> Any:
    """The row with a first token of its own, so that it shares no beginning with another."""
    return replace(row, stem=[100 + place, *row.stem[1:]])


def _gemm() -> dict[str, float]:
    """Rate of large matrix products, one thread, 10⁹ operations a CPU second; the best of five."""
    import torch

    found = {}
    for name in ("bfloat16", "float32"):
        a = torch.randn(1024, 1536, dtype=getattr(torch, name))
        b = torch.randn(1536, 1536, dtype=getattr(torch, name))
        rates = []
        for _ in range(5):
            began = time.process_time()
            for _ in range(10):
                a @ b
            rates.append(10 * 2 * 1024 * 1536 * 1536 / (time.process_time() - began) / 1e9)
        found[name] = max(rates)
    return found


def _minilm() -> Path:
    from benchmarks._shared import HOME, workshop
    from sartor.pipeline.bases import base_named

    shop = workshop(HOME.parent / "bases")
    try:
        return shop.store.folder(base_named(shop, "minilm"))
    finally:
        shop.store.close()
