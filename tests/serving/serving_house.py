"""Tiny real bases and variants of every engine, made in the test: a few words, a few numbers, the true file formats."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sartor.core.licence import Licence
from sartor.core.records import Variant
from sartor.serving.fleet import Fleet

WORDS = ["my", "the", "card", "money", "is", "was", "lost", "transfer", "pending", "where", "account", "close", "new"]
LABELS = ("card", "money", "other")
TEXTS = ["my card is lost", "where is the money", "close my account", "the transfer was pending", "new address", "card"]


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def write_static(folder: Path) -> Path:
    from safetensors.numpy import save_file

    write_tokenizer(folder)
    vectors = np.random.default_rng(1).normal(size=(len(WORDS) + 4, 16)).astype(np.float16)
    save_file({"embeddings": vectors}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"normalize": True, "max_length": 512}))
    return folder


def write_encoder(folder: Path, seed: int) -> None:
    """A BERT of two layers with random weights."""
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS) + 4,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=160,
        pad_token_id=0,
    )
    BertModel(config).save_pretrained(folder)
    write_tokenizer(folder)


def write_head(folder: Path, *, size: int = 16, labels: int = 3, seed: int = 0) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    arrays = {
        "weight": rng.normal(size=(labels, size)),
        "bias": rng.normal(size=labels),
        "centroids": rng.normal(size=(labels, size)),
    }
    save_file({name: a.astype(np.float32) for name, a in arrays.items()}, folder / "head.safetensors")
    return write_calibration(folder, novelty=[0.5, 0.2], temperature=0.5 + seed % 7)


def write_calibration(folder: Path, *, novelty: list[float] | None = None, temperature: float = 1.0) -> Path:
    content = {"temperature": temperature, "energy": [-1.0, 0.5], "novelty": novelty, "threshold": 2.0}
    (folder / "calibration.json").write_text(json.dumps(content))
    return folder


def write_blend(folder: Path, weights: Sequence[float], mix: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    roles = ["first", "second", "third"]
    parts = [{"role": role, "weight": weight} for role, weight in zip(roles, weights, strict=False)]
    (folder / "blend.json").write_text(json.dumps({"parts": parts, "mix": mix}))
    return write_calibration(folder)


@dataclass
class House:
    """Variants and bases by digest, and what was asked for: the store as the fleet sees it."""

    variants: dict[str, Variant] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def base(self, name: str, folder: Path) -> str:
        self.folders[name] = folder
        return name

    def add(self, engine: str, folder: Path, *, parents: Mapping[str, str] | None = None, name: str = "v") -> str:
        made: dict[str, Any] = {"name": f"{name}{len(self.variants)}", "parents": dict(parents or {})}
        variant = Variant(licence=Licence.of("owned"), task="t", recipe="r", engine=engine, labels=LABELS, **made)
        self.variants[variant.digest] = variant
        self.folders[variant.digest] = folder
        return variant.digest

    def folder_of(self, digest: str) -> Path:
        self.asked.append(digest)
        return self.folders[digest]

    def fleet(self, **settings: Any) -> Fleet:
        return Fleet(self.variants.__getitem__, self.folder_of, **settings)
