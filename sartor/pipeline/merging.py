"""A variant's weights as one plain folder of transformers: copied, or its adapter merged into the base.

Merged in float32, as the engines do when they load; what a smaller type rounds is said. Knows no target.
"""

import shutil
import warnings
from pathlib import Path
from typing import Any, Literal

from sartor.pipeline.goods import Goods, based, copied

TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "chat_template.jinja",
    "generation_config.json",
)
"""Files that go with a model wherever it goes."""
Dtype = Literal["float32", "bfloat16", "float16"]


def whole(goods: Goods, out: Path, *, own: str, kind: str, dtype: Dtype = "float32") -> tuple[str, ...]:
    """Write the model into a folder of transformers; what was done to it, for the card.

    Args:
        own: folder in the variant that holds its own whole model, if it has one.
        kind: class of transformers that loads it: AutoModel, AutoModelForCausalLM.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not goods.holds("adapter"):
        copied(goods.folder / own if goods.holds(own) else based(goods), out)
        return ()
    model = _loaded(based(goods), kind)
    from peft import PeftModel

    with warnings.catch_warnings():
        # peft still reads a name that transformers 5 deprecates; nothing a user could do about it.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        model = PeftModel.from_pretrained(model, goods.folder / "adapter", local_files_only=True).merge_and_unload()
    _saved(model, out, dtype)
    for name in TOKENIZER:
        if (based(goods) / name).exists():
            shutil.copyfile(based(goods) / name, out / name)
    return (f"The adapter is merged into its base, in {dtype}.",)


def _loaded(folder: Path, kind: str) -> Any:
    import torch
    import transformers
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    quiet.set_verbosity_error()
    return getattr(transformers, kind).from_pretrained(folder, local_files_only=True, dtype=torch.float32)


def _saved(model: Any, out: Path, dtype: Dtype) -> None:
    import torch

    model.config._name_or_path = ""  # noqa: SLF001 - the only place where transformers keeps it
    model.to(getattr(torch, dtype)).save_pretrained(out)
