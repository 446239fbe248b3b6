"""One GGUF file for llama.cpp: adapters merged, quantised to a level. Architecture llama alone; others are refused."""

import shutil
from pathlib import Path

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.pipeline.goods import Goods, Packed, based, no_such_form
from sartor.pipeline.packing import LLAMA
from sartor.serving.files import read_json


class Params(Settings):
    """How the weights are written."""

    level: str = "q8_0"
    """f32, f16, bf16, q8_0, q5_1, q5_0, q4_1 or q4_0; k-quants need llama.cpp's own tool."""


@plugin
def gguf(goods: Goods, out: Path, params: Params) -> Packed:
    """Write `model.gguf` and `writing.json`.

    Raises:
        AskError: the variant is no language model, or its architecture can't be written.
        MissingExtraError: the package that writes GGUF is not installed.
    """
    import gguf as _  # noqa: F401 - what is missing is said before anything else

    from sartor.core.errors import unknown
    from sartor.training.gguf_file import LEVELS, readable, write_model
    from sartor.training.lowrank import read_lora
    from sartor.training.shards import Shards
    from sartor.training.surgery import Body

    if params.level not in LEVELS:
        raise unknown("level", params.level, LEVELS, param="level")
    if goods.variant.engine == "gguf":
        shutil.copytree(goods.folder, out, dirs_exist_ok=True)
        return Packed({"engine": "gguf", "folder": "."}, ("gguf",), LLAMA, ("The file is as it was made.",))
    if goods.variant.engine != "lm":
        raise no_such_form("gguf", goods.variant, f"{goods.variant.engine} models are no language models", "'folder'")
    home = goods.folder / "model" if goods.holds("model") else based(goods)
    model = readable(home, read_json(home, "config.json"), goods.variant.name)
    lora = read_lora(goods.folder / "adapter") if goods.holds("adapter") else None
    write_model(model, Body(Shards(home), lora), out / "model.gguf", params.level)
    shutil.copyfile(goods.folder / "writing.json", out / "writing.json")
    merged = "The adapter is merged in; " if lora is not None else ""
    note = f"{merged}weights are of level {params.level}, so that answers near a tie may differ.".capitalize()
    return Packed({"engine": "gguf", "folder": "."}, ("gguf",), LLAMA, (note,))
