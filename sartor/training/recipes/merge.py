"""Several made variants as one, or an adapter put into its base: weights are merged, nothing is trained.

Methods of `training.merging`. Adapters with each other stay an adapter; else the child brings weights of its own,
written tensor by tensor. Heads are averaged. Works within one task, where the parts have the same labels.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sartor.core.errors import AskError
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.job import Draft, Job
from sartor.training.lowrank import Factors, Lora, compressed, nearest, read_lora, stacked, write_lora
from sartor.training.merging import NEEDS_BASE, Method, Mix, linear
from sartor.training.shards import Shards, Spec, Values, write_file
from sartor.training.surgery import ADAPTER, Body, Patient, carry_over, patients, promised, write_body
from sartor.training.warm import anew

KINDS = ("classify", "extract", "generate")
SURGERY = True
"""Its parts are operated on, and not asked."""
MS_PER_ROW = {"small": 0.2, "medium": 0.2, "large": 0.2}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""
MOST = 8
HEAD = "head.safetensors"


class Params(Base):
    """Settings of the merge recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Bears on nothing here."""
    method: Method = "linear"
    """`linear`, `slerp` (two only), `ties` or `dare` (both need the base)."""
    weights: tuple[float, ...] = ()
    """Of each part, in the order of `of`; empty: all alike. Divided by their sum."""
    density: float = Field(default=0.5, gt=0, le=1)
    """Share of the changes that `ties` and `dare` keep."""
    scale: float = Field(default=1.0, gt=0)
    """What the merged change is multiplied by, in `ties` and `dare`."""
    result: Literal["auto", "adapter", "whole"] = "auto"
    """What comes out: an adapter, or weights of its own. `auto`: an adapter where all parts are, and there are two."""
    rank: int | None = Field(default=None, ge=1)
    """Of a merged adapter; None: as much as all parts have together."""
    tolerance: float = Field(default=0.2, ge=0, le=1)
    """Share of the validation rows on which it may answer otherwise than its first part (one part: 1 %)."""


@plugin
def merge(job: Job, params: Params) -> Draft:
    """Write the merged variant.

    Raises:
        AskError: the parts are of different shape or read texts differently, or the method does not fit them.
    """
    anew(job, "merge")
    parts = patients(job, "merge", most=MOST)
    mix = _mix(params, len(parts), job.seed)
    _alike(parts)
    whole = params.result == "whole" or any(part.adapter is None for part in parts)
    if params.result == "auto" and len(parts) == 1:
        whole = True
    if whole and params.result == "adapter":
        raise _unfit("an adapter was asked for, and not all parts are adapters")
    carry_over(parts[0], job.folder, but=(HEAD,))
    _merge_heads(parts, mix.weights, job.folder)
    found = _whole(job, parts, mix) if whole else _adapters(job, parts, mix, params.rank)
    tolerance = min(params.tolerance, 0.01) if len(parts) == 1 else params.tolerance
    facts = promised(tolerance, method=mix.method, weights=[round(w, 6) for w in mix.weights], **found)
    return Draft(parts[0].part.engine, facts)


def _mix(params: Params, count: int, seed: int) -> Mix:
    weights = params.weights or (1.0,) * count
    if len(weights) != count or sum(weights) <= 0:
        raise _unfit(f"{len(weights)} weights with a sum of {sum(weights):g} are named for {count} parts")
    if params.method == "slerp" and count != 2:
        raise _unfit(f"'slerp' goes from one to another, and {count} are named")
    shares = tuple(weight / sum(weights) for weight in weights)
    return Mix(params.method, shares, params.density, params.scale, seed)


def _whole(job: Job, parts: Sequence[Patient], mix: Mix) -> dict[str, Any]:
    """Weights of its own, a tensor at a time."""
    base = _base(job, parts) if mix.method in NEEDS_BASE else None
    bodies = [part.body for part in parts]
    weights = _weights(bodies[0].specs)
    if base is not None:
        _same(_weights(base.specs), weights, "the base and the first part")

    def make(name: str) -> Values:
        if name not in weights:
            return bodies[0].read(name)
        before = base.read(name) if base is not None else None
        values = [body.read(name) for body in bodies]
        return mix(name, values, before).astype(values[0].dtype)

    write_body(parts[0], job.folder, bodies[0].specs, make)
    return {"result": "whole"}


def _base(job: Job, parts: Sequence[Patient]) -> Body:
    home = job.base or parts[0].part.base
    if home is None:
        raise _unfit("'ties' and 'dare' merge what training changed, and the base is not named: add 'base:'")
    return Body(Shards(home))


def _adapters(job: Job, parts: Sequence[Patient], mix: Mix, rank: int | None) -> dict[str, Any]:
    """An adapter: exactly the weighted sum, or the nearest of its rank to what the method makes of the changes."""
    loras = [_lora(part) for part in parts]
    names = sorted(loras[0].layers)
    if any(sorted(lora.layers) != names for lora in loras):
        raise _unfit("the adapters change different layers")
    most = rank or sum(lora.rank for lora in loras)
    merged: dict[str, Factors] = {}
    lost = whole = 0.0
    for name in names:
        layers = [lora.layers[name] for lora in loras]
        if mix.method == "linear":
            found = compressed(stacked(layers, list(mix.weights)), most)
        else:
            found = nearest(mix(name, [layer.product for layer in layers]), most)
        merged[name] = found.factors
        lost, whole = lost + found.lost, whole + found.whole
    write_lora(job.folder / ADAPTER, merged, task_type=loras[0].config.get("task_type"))
    return {"result": "adapter", "rank": most, "kept": round(1.0 - lost / max(whole, 1e-30), 6)}


def _lora(part: Patient) -> Lora:
    assert part.adapter is not None
    lora = read_lora(part.adapter)
    lora.fits(part.body.specs)
    return lora


def _alike(parts: Sequence[Patient]) -> None:
    """Raise AskError unless all parts have the same architecture, shapes and words."""
    first = parts[0]
    for other in parts[1:]:
        between = f"'{first.part.title}' and '{other.part.title}'"
        if first.part.engine != other.part.engine:
            raise _unfit(f"{between} are served by engines '{first.part.engine}' and '{other.part.engine}'")
        kinds = [part.config.get("model_type") for part in (first, other)]
        if kinds[0] != kinds[1]:
            raise _unfit(f"{between} are of architectures '{kinds[0]}' and '{kinds[1]}'")
        _same(first.body.specs, other.body.specs, between)
        words = [_words(part.home / "tokenizer.json") for part in (first, other)]
        if words[0] != words[1]:
            raise _unfit(f"{between} read texts with different tokenizers")


def _same(first: dict[str, Spec], second: dict[str, Spec], between: str) -> None:
    for name in sorted({*first, *second}):
        shapes = [side[name].shape if name in side else None for side in (first, second)]
        if shapes[0] != shapes[1]:
            said = [" × ".join(map(str, shape)) if shape is not None else "missing" for shape in shapes]
            raise _unfit(f"{between} have different shapes: '{name}' is {said[0]} in one and {said[1]} in the other")


def _weights(specs: dict[str, Spec]) -> dict[str, Spec]:
    """Without integers: older files keep positions beside the weights, who saves them today does not."""
    return {name: spec for name, spec in specs.items() if not spec.dtype.startswith("I")}


def _words(path: Path) -> Any:
    """What a tokenizer knows, apart from how it cuts and pads."""
    spec = json.loads(path.read_text(encoding="utf-8"))
    return [spec.get(key) for key in ("model", "added_tokens", "normalizer", "pre_tokenizer", "post_processor")]


def _merge_heads(parts: Sequence[Patient], weights: Sequence[float], folder: Path) -> None:
    heads = [Shards(part.folder, HEAD) for part in parts if (part.folder / HEAD).is_file()]
    if not heads:
        return
    if len(heads) != len(parts):
        raise _unfit("some parts have a head and some have none")
    for head in heads[1:]:
        _same(heads[0].specs, head.specs, "the heads of two parts")

    def make(name: str) -> Values:
        return linear([head.read(name) for head in heads], weights).astype("float32")

    write_file(folder / HEAD, heads[0].specs, make)


def _unfit(why: str) -> AskError:
    return AskError(
        f"Weights were to be merged, and {why}. Only variants of one base and one shape can be.",
        code="weights_do_not_fit",
        param="candidates.of",
    )
