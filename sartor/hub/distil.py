"""Makes static embeddings of a sentence encoder: one vector per token, so that embedding a text is a mean of vectors.

Knows nothing of catalogues. Method: Model2Vec (Minish Lab, 2024): each token of the vocabulary is embedded alone by
the encoder, the vectors are reduced by PCA and weighted by smooth inverse frequency under Zipf's law (Arora, Liang
and Ma 2017). It has no random part: the same encoder and thread count give the same bytes.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from sartor.core.progress import Progress, silent


def distil(base: Path, folder: Path, dimension: int, *, title: str, progress: Progress = silent) -> None:
    """Write the static embeddings of the encoder in `base` into `folder` (config, tokenizer, safetensors).

    Args:
        dimension: length of the vectors.
        title: name of the encoder, for the configuration; a path there would make the bytes depend on this machine.

    Raises:
        ModuleNotFoundError: torch, transformers or model2vec[distill] is missing (the extra `train` brings them).
    """
    import torch
    from model2vec.distill import distill_from_model

    with torch.inference_mode(), _bars_told_to(progress):
        model, tokenizer = _encoder(base)
        made = distill_from_model(model, tokenizer, device="cpu", pca_dims=dimension)
    made.config["tokenizer_name"] = title
    folder.mkdir(parents=True, exist_ok=True)
    made.save_pretrained(folder)
    # The card that the library writes states its own licence as that of the weights.
    (folder / "README.md").write_text(f"Static embeddings distilled from {title} with Model2Vec.\n", encoding="utf-8")
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _encoder(base: Path) -> tuple[Any, Any]:
    """Model in fp32, and tokenizer; nothing is asked of the network, no code of the folder is run."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    place: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model = AutoModel.from_pretrained(base, dtype=torch.float32, use_safetensors=True, **place)
    return model, AutoTokenizer.from_pretrained(base, use_fast=True, **place)


@contextmanager
def _bars_told_to(progress: Progress) -> Iterator[None]:
    """Hand the steps of the libraries' own progress bars to ours: only an interface draws."""
    embedding: Any = import_module("model2vec.distill.inference")
    logging: Any = import_module("transformers.utils.logging")

    class Bar:
        def __init__(self, total: int, **_: Any) -> None:
            self.done, self.total = 0, total

        def update(self, count: int) -> None:
            self.done = min(self.done + count, self.total)
            progress("distil static embeddings", self.done, self.total)

    drawn, was_on = embedding.tqdm, logging.is_progress_bar_enabled()
    embedding.tqdm = Bar
    logging.disable_progress_bar()
    try:
        yield
    finally:
        embedding.tqdm = drawn
        if was_on:
            logging.enable_progress_bar()
