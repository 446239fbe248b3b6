"""Makes a plain folder of a quantised GGUF file, once: weights in bfloat16, tokenizer and chat template beside them.

Knows nothing of catalogues. Loading a GGUF takes half a minute each time, and what reads it cannot write it again; the
plain folder loads in a second, everywhere. The bits that quantisation took are not brought back. The same file gives
the same bytes.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from sartor.core.progress import Progress, silent

LONE_DIGITS = frozenset({"smollm", "starcoder", "refact", "command-r"})
"""Values of `tokenizer.ggml.pre` whose tokenizers never join digits; the reader of the library does not know that."""
LEFT_OUT = ("_name_or_path", "_model_name_or_path", "transformers_version", "_from_model_config")
"""Keys of configurations that say where and with what they were written."""


def restore(file: Path, folder: Path, *, progress: Progress = silent) -> None:
    """Write the model in a GGUF file into `folder` as a Hugging Face folder.

    Raises:
        ModuleNotFoundError: torch, transformers or gguf is missing (the extra `train` brings them).
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    with _bars_told_to(progress):
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **place)
        model: Any = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **place)
        _unmark(model)
        model.to(torch.bfloat16).save_pretrained(folder)
    if _pre_tokenizer(file) in LONE_DIGITS:
        _split_digits(tokenizer)
    tokenizer.model_max_length = int(model.config.max_position_embeddings)
    # The template stands in the tokenizer's settings: readers older than template files find it there.
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    _tidy(folder)


def _unmark(model: Any) -> None:
    """Take away what says that the weights are quantised: they no longer are, and the library refuses to save them."""
    model.hf_quantizer = None
    model.is_quantized = False
    for holder, name in (
        (model.config, "quantization_config"),
        (model, "quantization_method"),
        (model, "_is_hf_quantized"),
    ):
        if name in vars(holder):
            delattr(holder, name)


def _pre_tokenizer(file: Path) -> str:
    from gguf import GGUFReader

    found = GGUFReader(file).fields.get("tokenizer.ggml.pre")
    return str(found.contents()) if found is not None else ""


def _split_digits(tokenizer: Any) -> None:
    from tokenizers.pre_tokenizers import Digits, Sequence

    inner = tokenizer.backend_tokenizer
    inner.pre_tokenizer = Sequence([Digits(individual_digits=True), inner.pre_tokenizer])


def _tidy(folder: Path) -> None:
    """Settings in a fixed order, without traces of this machine, readable by the library's older releases."""
    for file in (folder / "config.json", folder / "generation_config.json", folder / "tokenizer_config.json"):
        settings = json.loads(file.read_bytes())
        for name in (*LEFT_OUT, "is_local", "local_files_only", "backend"):
            settings.pop(name, None)
        if "tokenizer_class" in settings:
            settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        file.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _bars_told_to(progress: Progress) -> Iterator[None]:
    """Hand the steps of the library's own progress bar to ours: only an interface draws."""
    reading: Any = import_module("transformers.modeling_gguf_pytorch_utils")
    logging: Any = import_module("transformers.utils.logging")

    def told(items: Any, **_: Any) -> Iterator[Any]:
        for done, item in enumerate(items):
            progress("restore weights", done, len(items))
            yield item

    drawn, was_on = reading.tqdm, logging.is_progress_bar_enabled()
    reading.tqdm = told
    logging.disable_progress_bar()
    try:
        yield
    finally:
        reading.tqdm = drawn
        if was_on:
            logging.enable_progress_bar()
