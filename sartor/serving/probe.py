"""The golden probe: a few texts with the answers that a variant gave when it was made, asked again after every load.

Tells a machine, engine, tokenizer or dtype that does not answer as the maker's did, before anybody is answered. The
texts are made of the labels' names and of fixed sentences: no row of anybody stands in a variant's files. How far
answers may lie apart depends on the numbers that the engine computes in. Knows no parents and no gates.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from sartor.core.calibration import Calibration
from sartor.core.errors import StoreError
from sartor.core.predict import Floats
from sartor.serving.engine import Engine, Mixer, Wish, Writer
from sartor.serving.files import read_json

FILE = "probe.json"
Dtype = Literal["float32", "bfloat16", "int8"]
APART: dict[Dtype, float] = {"float32": 0.005, "bfloat16": 0.05, "int8": 0.05}
"""Of what the engine computes in -> how far the probability of a label may lie from the one that was written down."""
CHANGED: dict[Dtype, float] = {"float32": 0.0, "bfloat16": 0.34, "int8": 0.34}
"""Share of written answers that may be others: near a tie, one bit decides how a text goes on."""
SENTENCES = (
    "",
    "The quick brown fox jumps over the lazy dog, and then it does so again.",
    "Ordered 3 pieces of article 4711-B on 17 March; the parcel has not arrived. Where is it?",
)
MOST_LABELS = 5
WISH = Wish(max_tokens=16)
"""Of written answers the first few tokens are compared: loading should not wait for long ones."""
ROUNDED = 6


COMPUTES: Mapping[str, Dtype] = {"encoder": "float32", "static": "float32", "tagger": "float32", "onnx": "float32"}
"""Engine -> what it computes in; of all others it is taken to be coarser."""


def dtype_of(engine: str, facts: Mapping[str, Any]) -> Dtype:
    """What an engine computes in for a variant with these facts."""
    return "int8" if facts.get("precision") == "int8" else COMPUTES.get(engine, "bfloat16")


class Probe(BaseModel):
    """The content of `probe.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dtype: Dtype = "float32"
    """What the engine computed in."""
    texts: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...] = ()
    """(texts, labels) calibrated; empty of a variant that writes its answers."""
    outputs: tuple[str, ...] = ()
    """(texts,) the first tokens that it wrote."""


def texts_for(labels: Sequence[str]) -> tuple[str, ...]:
    """Texts that say nothing of anybody: names of labels, evenly spaced, and fixed sentences."""
    step = max(len(labels) // MOST_LABELS, 1)
    names = [label.replace("_", " ").replace("-", " ") for label in labels[::step][:MOST_LABELS]]
    return (*names, *SENTENCES)


def write_probe(
    engine: Engine | Mixer | Writer, key: str, folder: Path, labels: Sequence[str], dtype: Dtype = "float32"
) -> None:
    """Ask the engine that holds a variant and write down what it says; a mixture has no probe of its own."""
    if isinstance(engine, Mixer):
        return
    texts = texts_for(labels)
    asked = Probe(dtype=dtype, texts=texts)
    if isinstance(engine, Writer):
        found = asked.model_copy(update={"outputs": tuple(_outputs(engine, key, texts))})
    else:
        shares = _shares(engine, key, folder, texts).round(ROUNDED)
        found = asked.model_copy(update={"probabilities": tuple(map(tuple, shares.tolist()))})
    text = json.dumps(found.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def check_probe(engine: Engine | Mixer | Writer, key: str, folder: Path, name: str) -> None:
    """Ask a variant that was just loaded what it was asked when it was made; nothing where it has no probe.

    Args:
        name: of the variant, for the error.

    Raises:
        StoreError: the probe is damaged, or the answers are not those that were written down.
    """
    if isinstance(engine, Mixer) or not (folder / FILE).is_file():
        return
    try:
        probe = Probe.model_validate(read_json(folder, FILE))
    except ValidationError as error:
        raise StoreError(f"The probe in {folder} is not one: {error}", code="variant_damaged") from error
    if isinstance(engine, Writer):
        _same_outputs(probe, _outputs(engine, key, probe.texts), name)
    else:
        _same_shares(probe, _shares(engine, key, folder, probe.texts), name)


def _shares(engine: Engine, key: str, folder: Path, texts: Sequence[str]) -> Floats:
    calibration = Calibration.model_validate(read_json(folder, "calibration.json"))
    logits = np.stack([scored.logits for scored in engine.score([(key, text) for text in texts])])
    return calibration.probabilities(logits)


def _outputs(engine: Writer, key: str, texts: Sequence[str]) -> list[str]:
    return [one.output for one in engine.write([(key, text) for text in texts], [WISH] * len(texts))]


def _same_shares(probe: Probe, found: Floats, name: str) -> None:
    wanted = np.array(probe.probabilities)
    if wanted.shape != found.shape:
        raise _failed(name, f"it has {found.shape[1]} labels where it had {wanted.shape[-1]}")
    apart = np.abs(found - wanted).max(axis=1)
    worst = int(apart.argmax())
    if apart[worst] > APART[probe.dtype]:
        raise _failed(
            name,
            f"of '{probe.texts[worst]}' a probability is {apart[worst]:.3f} from the one that was written down, and "
            f"{APART[probe.dtype]:g} is allowed in {probe.dtype}",
        )


def _same_outputs(probe: Probe, found: Sequence[str], name: str) -> None:
    other = [place for place, (a, b) in enumerate(zip(probe.outputs, found, strict=True)) if a != b]
    if len(other) > CHANGED[probe.dtype] * len(found):
        first = other[0]
        raise _failed(
            name, f"it answers '{probe.texts[first]}' with {found[first]!r} where it wrote {probe.outputs[first]!r}"
        )


def _failed(name: str, why: str) -> StoreError:
    return StoreError(
        f"'{name}' was loaded and does not answer as it did when it was made: {why}. Its engine, tokenizer or dtype is "
        "not the one that it was made with, or this machine computes otherwise: make it again here, or serve what it "
        "was made of.",
        code="probe_failed",
    )
