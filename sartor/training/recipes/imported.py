"""A model that was made elsewhere and brought in by `sartor import`, taken as it is: nothing is trained.

Classifiers become ONNX graphs whose outputs stand in the order of the task's labels. Language models are told the
task's instructions and schema. Files of an export of this project come back as the variant that they were.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sartor.core.errors import AskError
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.job import Draft, Job

KINDS = ("classify", "extract", "generate")
MS_PER_ROW = {"small": 0.0, "medium": 0.0, "large": 0.0}
"""Nothing is trained."""
GRAPH, FACTS = "encoder.onnx", "onnx.json"
"""What the engine of graphs reads."""
STANDING_ALONE = ("linear", "tagger", "rules", "onnx", "gguf")
"""Engines whose variants hold all that they answer from."""


class Params(Base):
    """Settings of the imported recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """No matter here."""
    labels: dict[str, str] = Field(default_factory=dict)
    """The model's name of a label -> the task's, where they differ."""


@plugin
def imported(job: Job, params: Params) -> Draft:
    """Lay out the files for the engine that runs them.

    Raises:
        AskError: it is a base to be trained, it lacks labels of the task, or its export can't come back.
    """
    base = job.needs_base("imported")
    for name, lay in LAYERS.items():
        if list(base.glob(name)):
            return lay(job, params, base)
    config = _json(base / "config.json")
    named = [str(one) for one in config.get("architectures") or ()]
    if any(one.endswith("ForSequenceClassification") for one in named):
        return _classifier(job, params, base, config)
    if any(one.endswith("ForCausalLM") for one in named):
        _tell(job)
        return Draft(engine="lm", facts={"as": "the base itself"})
    raise AskError(
        f"Recipe 'imported' takes finished models, and this one ({', '.join(named) or 'of no named architecture'}) has "
        "no head for a task: name it as the 'base' of head, tune or adapter instead.",
        param="candidates.recipe",
        code="no_finished_model",
    )


def _gguf(job: Job, params: Params, base: Path) -> Draft:  # noqa: ARG001 - one signature for all
    (file,) = base.glob("*.gguf")
    shutil.copyfile(file, job.folder / "model.gguf")
    _tell(job)
    return Draft(engine="gguf")


def _export(job: Job, params: Params, base: Path) -> Draft:  # noqa: ARG001
    model = _json(base / "predict.json")["model"]
    engine, home = str(model["engine"]), base / str(model.get("folder") or "model")
    tuned = engine == "encoder" and (home / "encoder").is_dir()
    if not home.is_dir() or not (engine in STANDING_ALONE or tuned):
        raise _not_whole(engine)
    shutil.copytree(home, job.folder, dirs_exist_ok=True)
    (job.folder / "calibration.json").unlink(missing_ok=True)
    return Draft(engine=engine)


def _not_whole(engine: str) -> AskError:
    return AskError(
        f"This export answers by engine '{engine}' from more than its own files, so it can't come back by itself. "
        "Import its base and make the variant again, or export it whole ('--to folder' of a tuned variant).",
        code="export_not_whole",
        param="candidates.base",
    )


def _graph(job: Job, params: Params, base: Path) -> Draft:
    import onnx

    (file,) = base.glob("*.onnx")
    model = onnx.load(str(file), load_external_data=False)
    outputs = [one.name for one in model.graph.output]
    said = _json(base / "predict.json") if (base / "predict.json").is_file() else {}
    if said and not said["model"].get("special"):
        raise _not_whole(str(said["model"]["engine"]))  # token vectors: the engine of graphs would add marks of its own
    labels = list(said["labels"]) if said else _labels(base)
    wanted = "logits" if "logits" in outputs else outputs[0]
    _reordered(model, wanted, _places(job, params, labels))
    onnx.save_model(model, str(job.folder / GRAPH))
    return _with_tokenizer(job, base, _json(base / "config.json") if (base / "config.json").is_file() else {})


def _reordered(model: Any, name: str, places: Sequence[int]) -> None:
    """Give the graph one output, `logits`, in the order of the task's labels."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    for node in graph.node:  # the name is wanted for the new output
        for place, out in enumerate(node.output):
            node.output[place] = f"{out}_as_it_was" if out == name else out
        for place, given in enumerate(node.input):
            node.input[place] = f"{given}_as_it_was" if given == name else given
    graph.initializer.append(numpy_helper.from_array(np.array(places, dtype=np.int64), "places_of_labels"))
    graph.node.append(helper.make_node("Gather", [f"{name}_as_it_was", "places_of_labels"], ["logits"], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["texts", len(places)]))


def _classifier(job: Job, params: Params, base: Path, config: Mapping[str, Any]) -> Draft:
    import torch
    from transformers import AutoModelForSequenceClassification

    from sartor.training.onnx_traced import written

    found: Any = AutoModelForSequenceClassification.from_pretrained(
        base, local_files_only=True, dtype=torch.float32, attn_implementation="eager"
    )
    places = torch.tensor(_places(job, params, _labels(base)))

    class Ordered(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.found = found

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.found(input_ids=input_ids, attention_mask=attention_mask).logits[:, places]

    written(Ordered().eval(), job.folder / GRAPH, outputs=("logits",))
    return _with_tokenizer(job, base, config)


def _with_tokenizer(job: Job, base: Path, config: Mapping[str, Any]) -> Draft:
    shutil.copyfile(base / "tokenizer.json", job.folder / "tokenizer.json")
    most = min(int(config.get("max_position_embeddings") or 128), 512)
    told = {"most_tokens": most, "pad": int(config.get("pad_token_id") or 0)}
    (job.folder / FACTS).write_text(json.dumps(told, sort_keys=True), encoding="utf-8")
    return Draft(engine="onnx", facts={"most_tokens": most})


def _labels(base: Path) -> list[str]:
    if (base / "labels.json").is_file():
        found = _json(base / "labels.json")
        return [str(label) for label in (found["labels"] if isinstance(found, dict) else found)]
    named = _json(base / "config.json").get("id2label") or {} if (base / "config.json").is_file() else {}
    return [str(named[place]) for place in sorted(named, key=int)]


def _places(job: Job, params: Params, own: Sequence[str]) -> list[int]:
    """For each label of the task, the place of the model's output."""
    called = [params.labels.get(name, name) for name in own]
    missing = [label for label in job.labels if label not in called]
    if missing or not job.labels:
        raise AskError(
            f"The imported model answers {', '.join(own[:10]) or 'no labels that it names'}, and the task's labels "
            f"{', '.join(missing[:10])} are not among them. Say which is which: params: {{labels: {{theirs: ours}}}}.",
            param="candidates.params.labels",
            code="labels_missing",
        )
    return [called.index(label) for label in job.labels]


def _tell(job: Job) -> None:
    """What a language model must know of the task."""
    from sartor.training.causal import write_writing

    if job.writing is None:
        raise AskError(
            "A language model writes its answers, and this task's are labels. Name it as the base of a recipe that "
            "trains it, or use a task of kind 'extract' or 'generate'.",
            param="candidates.recipe",
            code="no_such_kind",
        )
    write_writing(job.folder, job.writing)


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


LAYERS: Mapping[str, Callable[[Job, Params, Path], Draft]] = {
    "*.gguf": _gguf,
    "*.onnx": _graph,
    "predict.json": _export,
}
"""File by which a model is known -> what lays it out."""
