"""An adapter alone, in PEFT's layout, with the base named by hub id, revision and the digests of its files."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.pipeline.goods import Goods, Packed, based, copied, no_such_form
from sartor.pipeline.leaving import base_facts
from sartor.pipeline.packing import CAUSAL, ENCODER, NUMPY, SERVED, WRITERS, vllm_note


class Params(Settings):
    """Whether the base comes along."""

    base: bool | None = None
    """Put the base into `base/`; by default only where no hub has the same bytes."""


@plugin
def peft(goods: Goods, out: Path, params: Params) -> Packed:
    """Write `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        AskError: the variant is no adapter.
    """
    if not goods.holds("adapter") or goods.variant.engine not in FORMS:
        why = f"recipe '{goods.variant.recipe}' makes no adapter that stands alone"
        raise no_such_form("peft", goods.variant, why, "'hf' or 'folder'")
    copied(goods.folder / "adapter", out)
    base = base_facts(goods)
    assert base is not None
    along = not base["hub_id"] if params.base is None else params.base
    if along:
        copied(based(goods), out / "base")
    config = json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": base["hub_id"] or "base", "revision": base["revision"] or None}
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    where = "in `base/`" if along else f"not in here: `{base['hub_id']}`, or put its folder at `base/`"
    note = f"The adapter's base is {base['name']}, {where}; its weights are compared by sha256 before they are used."
    return FORMS[goods.variant.engine](goods, out, {"path": "base", **base}, note)


def _encoder(goods: Goods, out: Path, base: Mapping[str, Any], note: str) -> Packed:
    shutil.copyfile(goods.folder / "head.safetensors", out / "head.safetensors")
    model = {"engine": "encoder", "base": dict(base), "adapter": ".", "head": "head.safetensors"}
    return Packed(model, ENCODER, (*NUMPY, "tokenizers", "torch", "transformers", "peft"), (note,))


def _lm(goods: Goods, out: Path, base: Mapping[str, Any], note: str) -> Packed:
    shutil.copyfile(goods.folder / "writing.json", out / "writing.json")
    model = {"engine": "lm", "base": dict(base), "adapter": ".", "writing": "writing.json", "dtype": SERVED}
    rank = int(json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    model_at = "base" if (out / "base").is_dir() else str(base["hub_id"] or "base")
    return Packed(model, CAUSAL, (*WRITERS, "peft"), (note, vllm_note(model_at, goods.variant.task, rank)))


FORMS: Mapping[str, Callable[[Goods, Path, Mapping[str, Any], str], Packed]] = {"encoder": _encoder, "lm": _lm}
"""Serving engine -> how its adapters are opened outside."""
