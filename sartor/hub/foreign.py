"""Looks at a model that was made elsewhere, and takes out what can be used, running nothing of it.

Knows folders of transformers, PEFT adapters, ONNX graphs, GGUF files, MLflow models and this project's own exports.
Pickles and scripts stay where they are; what names code to be run is refused. Knows no store and no task.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sartor.core.errors import NotFoundError, RefusedError
from sartor.core.gguf_header import read_header
from sartor.hub import safety
from sartor.hub.catalogue_reading import stated_licence

Kind = Literal["encoder", "classifier", "lm", "adapter", "onnx", "gguf", "static", "export"]
TAKEN = (*safety.ALLOWED, "*.jinja", "*.onnx", "*.gguf")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.joblib", "*.npy")
OPERATORS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains of ONNX operators that onnxruntime has itself; any other would have to be loaded as code."""


@dataclass(frozen=True)
class Foreign:
    """A model that can be used."""

    kind: Kind
    folder: Path
    """Where its files lie; a part of what was given, for an MLflow model."""
    files: tuple[str, ...]
    """Those that are taken, by their paths in `folder`."""
    left: tuple[str, ...]
    """Those that are not."""
    labels: tuple[str, ...] = ()
    """Of a classifier, by the place of its outputs."""
    licence: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def copy(self, target: Path) -> None:
        """Copy what is taken."""
        for name in self.files:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / name, target / name)


def look(path: Path) -> Foreign:
    """What stands at a path.

    Raises:
        NotFoundError: nothing.
        RefusedError: pickles alone, code in a configuration, damaged weights, unknown operators, or no model at all.
        AskError: a GGUF file that is none.
    """
    if path.is_file() and path.suffix in (".gguf", ".onnx"):
        return _single(path)
    if not path.is_dir():
        raise NotFoundError(f"There is no model at '{path}'. Check the path.", code="folder_not_found", param="path")
    for name, reader in READERS:
        if (path / name).is_file():
            return reader(path)
    for ending in (".onnx", ".gguf"):
        found = sorted(path.glob(f"*{ending}"))
        if len(found) == 1:
            return _single(found[0])
    raise RefusedError(
        f"'{path}' holds no model that can be used: looked for {', '.join(name for name, _ in READERS)}, one *.onnx or "
        f"one *.gguf file. {_pickled(path)}",
        code="no_model",
    )


def _pickled(path: Path) -> str:
    found = [file.name for pattern in PICKLES for file in sorted(path.rglob(pattern))]
    if not found:
        return "Name the folder that holds the model itself."
    return (
        f"There are pickles ({', '.join(found[:3])}), which run code when they are read: they are never read here. "
        "Save the model as safetensors where you trust it."
    )


def _single(file: Path) -> Foreign:
    if file.suffix == ".gguf":
        header = read_header(file)
        return _of("gguf", file.parent, (file.name,), facts={"architecture": header.architecture})
    _check_graph(file)
    beside = [name for name in ("tokenizer.json", "config.json", "labels.json") if (file.parent / name).is_file()]
    if "tokenizer.json" not in beside:
        raise RefusedError(
            f"'{file.name}' has no 'tokenizer.json' beside it, and without one texts can't be turned into its inputs. "
            "Put it there.",
            code="no_tokenizer",
        )
    return _of("onnx", file.parent, (file.name, *beside), labels=_labels(file.parent), facts={"graph": file.name})


def _check_graph(file: Path) -> None:
    import onnx

    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # protobuf raises errors of its own
        raise RefusedError(f"'{file.name}' is no ONNX graph: {error}. Export it again.", code="bad_weights") from error
    strange = sorted({one.domain for one in model.opset_import} - OPERATORS)
    if strange:
        raise RefusedError(
            f"'{file.name}' needs operators of {', '.join(strange)}, which would have to be loaded as code. Export it "
            "with standard operators.",
            code="custom_code",
        )
    if any(one.data_location == onnx.TensorProto.EXTERNAL for one in model.graph.initializer):
        raise RefusedError(
            f"'{file.name}' keeps weights in other files, whose paths it chooses itself. Save it as one file "
            "(onnx.save_model with save_as_external_data=False).",
            code="external_data",
        )


def _transformers(path: Path) -> Foreign:
    config = _json(path / "config.json")
    safety.check(path)
    named = [str(name) for name in config.get("architectures") or ()]
    if config.get("model_type") == "model2vec":
        kind: Kind = "static"
    elif any(name.endswith("ForCausalLM") for name in named):
        kind = "lm"
    elif any(name.endswith("ForSequenceClassification") for name in named):
        kind = "classifier"
    else:
        kind = "encoder"
    labels = _labels(path) if kind == "classifier" else ()
    return _of(kind, path, _taken(path), labels=labels, facts={"architectures": named})


def _adapter(path: Path) -> Foreign:
    config = _json(path / "adapter_config.json")
    safety.check_json(path / "adapter_config.json")
    weights = path / "adapter_model.safetensors"
    if not weights.is_file():
        raise RefusedError(
            f"The adapter in '{path}' has no safetensors weights. {_pickled(path)}", code="not_safetensors"
        )
    safety.check_safetensors(weights)
    if str(config.get("peft_type")).upper() != "LORA":
        raise RefusedError(
            f"The adapter in '{path}' is of the kind {config.get('peft_type')}; LoRA alone is read.", code="no_model"
        )
    kept = [name for name in ("README.md", "writing.json") if (path / name).is_file()]
    facts = {"base": str(config.get("base_model_name_or_path") or ""), "rank": config.get("r")}
    return _of("adapter", path, ("adapter_config.json", "adapter_model.safetensors", *kept), facts=facts)


def _mlflow(path: Path) -> Foreign:
    """An MLflow model by the flavour that holds plain weights; the one that runs code is never followed."""
    import yaml

    body = yaml.safe_load((path / "MLmodel").read_text(encoding="utf-8"))
    flavours = body.get("flavors", {}) if isinstance(body, dict) else {}
    for name, key in (("onnx", "data"), ("transformers", "model_binary")):
        inner = flavours.get(name, {}).get(key)
        if isinstance(inner, str):
            return look(_inside(path, inner))
    if (path / "predict.json").is_file():
        return _export(path)
    raise RefusedError(
        f"The MLflow model in '{path}' has the flavours {', '.join(sorted(flavours)) or 'none'}: only onnx and "
        f"transformers hold weights that can be read without running its code. {_pickled(path)}",
        code="runs_code",
    )


def _inside(path: Path, inner: str) -> Path:
    found = (path / inner).resolve()
    if not found.is_relative_to(path.resolve()):
        raise RefusedError(f"The MLflow model in '{path}' points outside of its folder ({inner}).", code="bad_config")
    return found


def _export(path: Path) -> Foreign:
    said = _json(path / "predict.json")
    for file in sorted(path.rglob("*.safetensors")):
        safety.check_safetensors(file)
    names = _taken(path)
    return _of("export", path, names, labels=tuple(said.get("labels") or ()), facts={"model": said.get("model")})


READERS: Sequence[tuple[str, Callable[[Path], Foreign]]] = (
    ("MLmodel", _mlflow),
    ("predict.json", _export),
    ("adapter_config.json", _adapter),
    ("config.json", _transformers),
)
"""File by which a folder is known -> who reads it."""


def _of(
    kind: Kind,
    folder: Path,
    files: Sequence[str],
    *,
    labels: tuple[str, ...] = (),
    facts: dict[str, Any] | None = None,
) -> Foreign:
    every = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    left = () if len(files) == 1 else tuple(sorted(every - set(files)))
    return Foreign(kind, folder, tuple(files), left, labels, stated_licence(folder), facts or {})


def _taken(folder: Path) -> tuple[str, ...]:
    found = {file for pattern in TAKEN for file in folder.rglob(pattern) if file.is_file()}
    names = [file.relative_to(folder) for file in sorted(found)]
    return tuple(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def _labels(folder: Path) -> tuple[str, ...]:
    """Labels by the place of the outputs: of `labels.json`, else of the configuration."""
    if (folder / "labels.json").is_file():
        found = _json(folder / "labels.json")
        return tuple(str(label) for label in (found["labels"] if isinstance(found, dict) else found))
    if not (folder / "config.json").is_file():
        return ()
    named = _json(folder / "config.json").get("id2label") or {}
    return tuple(str(named[place]) for place in sorted(named, key=int))


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, OSError) as error:
        raise RefusedError(f"'{file.name}' in {file.parent} is no JSON: {error}.", code="bad_config") from error
