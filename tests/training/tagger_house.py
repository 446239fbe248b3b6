"""A small encoder, untrained, and orders of goods to read: what tests of taggers share."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from sartor.training.encoder import repeatable
from sartor.training.job import Job, Writing

GOODS = ["pen", "cap", "ink", "box", "jar", "lid", "mug", "net", "oar", "pad"]
FIRMS = ["alder", "birch", "cedar", "elm", "hazel", "larch"]
SIGNS = [*":,.-@", "x", "at", "from", "order", *map(str, range(1, 13))]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "firm": {"type": "string"},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"item": {"type": "string"}, "count": {"type": "integer"}}},
        },
    },
}


def order(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """A text and what it says: one or two lines of goods from a firm."""
    firm = draw.choice(FIRMS)
    lines = [{"item": item, "count": draw.randint(1, 12)} for item in draw.sample(GOODS, draw.randint(1, 2))]
    goods = " , ".join(f"{line['count']} x {line['item']}" for line in lines)
    return draw.choice(("order: from {firm} , {goods}", "order: {goods} . {firm}")).format(firm=firm, goods=goods), {
        "firm": firm,
        "lines": lines,
    }


def orders(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts and right answers, as JSON texts."""
    draw = random.Random(seed)
    rows = [order(draw) for _ in range(count)]
    return [text for text, _ in rows], [json.dumps(answer) for _, answer in rows]


def small_encoder(folder: Path) -> Path:
    """A real encoder of two layers and 48 dimensions with a word tokenizer, untrained."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: place for place, word in enumerate([*marks, *GOODS, *FIRMS, *SIGNS])}
    with repeatable(0, 1):
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=96,
            pad_token_id=0,
            max_position_embeddings=40,
        )
        BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def job_on(base: Path | None, folder: Path, rows: int = 120, **more: Any) -> Job:
    """A job over orders."""
    folder.mkdir(parents=True, exist_ok=True)
    (texts, answers), (others, truths) = orders(rows, 0), orders(30, 1)
    nobody = np.zeros(0, dtype=np.int64)
    given: dict[str, Any] = {
        "train_texts": texts,
        "validation_texts": others,
        "writing": Writing("extract", answers, truths, SCHEMA),
    }
    return Job(labels=(), train_targets=nobody, validation_targets=nobody, folder=folder, base=base, **(given | more))
