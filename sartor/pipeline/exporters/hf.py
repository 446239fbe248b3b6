"""A complete folder of transformers, adapters merged. A classifier is an encoder with its head beside it.

The head stands on the mean of the tokens at length 1, which no class of transformers for classification has, so that
the encoder loads with `AutoModel` (or sentence-transformers), and `predict.py` does the rest.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.pipeline.goods import Goods, Packed, no_such_form
from sartor.pipeline.merging import Dtype, whole
from sartor.pipeline.packing import CAUSAL, ENCODER, NUMPY, SERVED, WRITERS, vllm_note

SENTENCES = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "sentence_bert_config.json": {"max_seq_length": 128, "do_lower_case": False},
}
"""By which sentence-transformers loads the encoder."""


class Params(Settings):
    """How the weights are written."""

    dtype: Dtype = "float32"
    """Of merged weights; others stay as they are."""


@plugin
def hf(goods: Goods, out: Path, params: Params) -> Packed:
    """Write `config.json`, `model.safetensors` and the tokenizer, and the head where there is one.

    Raises:
        AskError: the variant is no transformer.
    """
    if goods.variant.engine not in FORMS:
        raise no_such_form("hf", goods.variant, f"{goods.variant.engine} models are no transformers", "'folder'")
    return FORMS[goods.variant.engine](goods, out, params)


def _encoder(goods: Goods, out: Path, params: Params) -> Packed:
    notes = whole(goods, out, own="encoder", kind="AutoModel", dtype=params.dtype)
    shutil.copyfile(goods.folder / "head.safetensors", out / "head.safetensors")
    for name, content in SENTENCES.items():
        (out / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
    (out / "1_Pooling").mkdir(exist_ok=True)
    width = json.loads((out / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (out / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    said = "The encoder loads with AutoModel; its head (`head.safetensors`) stands on the mean of the tokens, length 1."
    model = {"engine": "encoder", "encoder": ".", "adapter": None, "head": "head.safetensors"}
    return Packed(model, ENCODER, (*NUMPY, "tokenizers", "torch", "transformers"), (said, *notes))


def _lm(goods: Goods, out: Path, params: Params) -> Packed:
    notes = whole(goods, out, own="model", kind="AutoModelForCausalLM", dtype=params.dtype)
    shutil.copyfile(goods.folder / "writing.json", out / "writing.json")
    model = {"engine": "lm", "model": ".", "adapter": None, "writing": "writing.json", "dtype": SERVED}
    said = "It loads with AutoModelForCausalLM; `writing.json` has the instructions that it was taught with."
    return Packed(model, CAUSAL, WRITERS, (said, vllm_note(".", goods.variant.task), *notes))


FORMS: Mapping[str, Callable[[Goods, Path, Params], Packed]] = {"encoder": _encoder, "lm": _lm}
"""Serving engine -> how its variants become a folder of transformers."""
