"""An MLflow model: the files as they are behind MLflow's own call, loaded from source, without any pickle.

Needs no MLflow to be written; whoever loads it does.
"""

import json
from pathlib import Path

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.pipeline.goods import Goods, Packed
from sartor.pipeline.leaving import pins
from sartor.pipeline.packing import as_they_are

LOADER = '''"""How MLflow opens this model: `predict.py` beside it, read as source."""

import importlib.util
from pathlib import Path


class Model:
    """What `mlflow.pyfunc.load_model` hands out."""

    def __init__(self, folder):
        spec = importlib.util.spec_from_file_location("exported_predict", Path(folder) / "predict.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._answers = module.OPENED(Path(folder))

    def predict(self, model_input, params=None):
        """Texts, or a table with a column `text`, to a list of answers."""
        texts = model_input["text"] if hasattr(model_input, "columns") or isinstance(model_input, dict) else model_input
        return self._answers([str(text) for text in texts])


def _load_pyfunc(folder):
    return Model(folder)
'''


class Params(Settings):
    """Nothing to set."""


@plugin
def mlflow(goods: Goods, out: Path, params: Params) -> Packed:  # noqa: ARG001 - the shelf's one signature
    """Write `MLmodel` and `code/exported_loader.py` beside the files."""
    packed = as_they_are(goods, out)
    (out / "code").mkdir()
    (out / "code" / "exported_loader.py").write_text(LOADER, encoding="utf-8")
    signature = {"inputs": json.dumps([{"name": "text", "type": "string", "required": True}])}
    flavour = {"loader_module": "exported_loader", "code": "code", "env": {"virtualenv": "python_env.yaml"}}
    said = {
        "flavors": {"python_function": {**flavour, "python_version": "3.11.0"}},
        "model_uuid": goods.variant.digest[:32],
        "signature": signature,
        "utc_time_created": goods.variant.created[:19].replace("T", " "),
        "metadata": {"variant": goods.variant.digest, "task": goods.variant.task},
    }
    _yaml(out / "MLmodel", said)
    _yaml(out / "python_env.yaml", {"python": "3.11", "dependencies": [*pins(packed.requires)]})
    return packed


def _yaml(path: Path, value: object) -> None:
    import yaml

    path.write_text(yaml.safe_dump(value, sort_keys=True), encoding="utf-8")
