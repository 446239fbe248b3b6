"""A store with a variant of every kind that leaves, on bases as small as can be, and a Python without Sartor."""

import json
import random
from pathlib import Path
from typing import Any

from sartor.core.task import Task

LABELS = ("card", "money", "other")
WORDS = {
    "card": ("card", "lost", "stolen", "arrived", "blocked"),
    "money": ("money", "transfer", "pending", "sent", "refund"),
    "other": ("address", "account", "close", "phone", "new"),
}
COMMON = ("my", "the", "is", "was", "where", "has", "not", "please", "today", ",", ".", "x", *map(str, range(10)))
FIRMS = ("alder", "birch", "cedar", "elm")
GOODS = ("pen", "cap", "ink", "box", "jar")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "firm": {"type": "string"},
        "items": {"type": "array", "items": {"type": "string"}},
    },
}


def vocabulary() -> dict[str, int]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *COMMON, *FIRMS, *GOODS, *(w for some in WORDS.values() for w in some)]
    return {word: place for place, word in enumerate(words)}


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel(vocabulary(), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))


def write_encoder(folder: Path) -> Path:
    import torch
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder.mkdir(parents=True)
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=160,
        pad_token_id=0,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    torch.random.set_rng_state(state)
    write_tokenizer(folder)
    return folder


def write_static(folder: Path) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    write_tokenizer(folder)
    vectors = np.random.default_rng(1).normal(size=(len(vocabulary()), 16)).astype(np.float16)
    save_file({"embeddings": vectors}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "hidden_dim": 16, "normalize": True}))
    return folder


def texts(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts with their labels; one in eight has another label's word too."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        label = LABELS[number % 3]
        said = [*draw.sample(COMMON, 3), *draw.sample(WORDS[label], 2)]
        if draw.random() < 0.125:
            said.append(draw.choice(WORDS[draw.choice(LABELS)]))
        draw.shuffle(said)
        found.append((" ".join(said), label))
    return found


def orders(count: int, seed: int) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        firm, items = draw.choice(FIRMS), draw.sample(GOODS, draw.randint(1, 2))
        answer = json.dumps({"firm": firm, "items": items})
        found.append((f"{' , '.join(items)} . the {firm} {draw.randint(0, 9)} {draw.randint(0, 9)}", answer))
    return found


def write_rows(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = [json.dumps({"text": text, "label": label}) for text, label in dict(rows).items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def choosing(folder: Path) -> Task:
    """A task of labels with every rung that chooses one."""
    encoder, static = (f"folder:{folder / name}" for name in ("encoder", "static"))
    candidates = [
        {"recipe": "linear", "size": "small"},
        {"recipe": "head", "base": encoder, "name": "head", "size": "small"},
        {"recipe": "head", "base": static, "name": "static", "size": "small"},
        {"recipe": "tune", "base": encoder, "name": "tune", "size": "small"},
        {"recipe": "adapter", "base": encoder, "name": "adapter", "size": "small"},
        {"recipe": "blend", "of": ["linear", "head"], "name": "blend", "size": "small"},
    ]
    return Task.model_validate(
        {
            "name": "desk",
            "description": "Sorts what customers write.",
            "data": {"sources": [{"use": "jsonl", "path": "texts.jsonl", "licence": "owned"}]},
            "value": {"wrong": 5, "escalate": {"to": "person", "price": 1, "error_rate": 0.05}},
            "candidates": candidates,
            "gate": {"min_rows": 10, "guards": {}, "allow_licences": ["unstated"], "max_calibration_error": 1},
        }
    )


def extracting(folder: Path) -> Task:
    """A task of JSON objects, with a tagger and language models."""
    tiny = f"folder:{folder / 'lm'}"
    tagger = {"recipe": "tagger", "base": f"folder:{folder / 'encoder'}", "name": "tagger", "params": {"epochs": 4}}
    return Task.model_validate(
        {
            "name": "orders",
            "kind": "extract",
            "answer": {"json_schema": SCHEMA, "instructions": "Read the order.", "max_tokens": 40},
            "data": {"sources": [{"use": "jsonl", "path": "orders.jsonl", "licence": "owned"}]},
            "value": {"wrong": 2, "missed": 1, "escalate": {"to": "person", "price": 1, "error_rate": 0.05}},
            "candidates": [
                tagger,
                {"recipe": "lora", "base": tiny, "name": "lora", "size": "small"},
                {"recipe": "full", "base": tiny, "name": "full", "size": "small"},
            ],
            "gate": {
                "floor": "tagger",
                "min_rows": 10,
                "guards": {},
                "allow_licences": ["unstated"],
                "max_calibration_error": 1,
            },
        }
    )
