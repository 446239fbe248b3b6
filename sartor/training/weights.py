"""Mix the weights of two variants of one recipe and base: the straight line between them, outputs matched by label.

Wortsman et al. 2022, "Robust fine-tuning of zero-shot models": between what was and what came of training on lies a
model that keeps more of both. It holds where the second was trained on from the first, or both from one base in few
steps. Of an adapter the low-rank factors are mixed, not their product: close to it for neighbours, not the same.
Knows no data, no labels' meaning and no engine.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sartor.core.errors import AskError

Tensors = dict[str, npt.NDArray[Any]]
HEAD = "head.safetensors"
FITTED = "calibration.json"
"""Fitted to one variant's scores; of no use to the mix, which is calibrated anew."""


@dataclass(frozen=True)
class Side:
    """One of the two."""

    folder: Path
    """The variant's files."""
    labels: tuple[str, ...]
    """By the place of its outputs."""


def interpolate(first: Side, second: Side, share: float, labels: Sequence[str], folder: Path) -> None:
    """Write the files of `(1 - share)·first + share·second` for the given labels; all but weights come from `second`.

    An output that only one of them has is taken from that one.

    Args:
        share: of the second, 0 to 1.
        labels: by the place of the outputs that are written.
        folder: empty, or not there yet.

    Raises:
        AskError: the two have not the same files or shapes, or a label is known to neither.
    """
    names = [_weights(side.folder) for side in (first, second)]
    if names[0] != names[1] or HEAD not in names[0]:
        raise _unlike(f"their weights are in {_listed(names[0])} and in {_listed(names[1])}")
    unknown = sorted(set(labels) - set(first.labels) - set(second.labels))
    if unknown:
        raise _unlike(f"neither answers {_listed(unknown)}")
    for path in sorted(second.folder.rglob("*")):
        name = path.relative_to(second.folder).as_posix()
        if path.is_file() and name not in names[0] and name != FITTED:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
    for name in names[0]:
        before, after = _read(first.folder / name), _read(second.folder / name)
        if name == HEAD:
            before, after = _matched(before, after, (first.labels, second.labels), labels)
        _write(_mixed(before, after, share, name), folder / name)


def _weights(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors"))


def _read(path: Path) -> Tensors:
    from safetensors.numpy import load_file

    return load_file(path)


def _write(tensors: Tensors, path: Path) -> None:
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    # transformers reads a file only if it says which library laid out its tensors.
    save_file({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, path, {"format": "pt"})


def _mixed(first: Tensors, second: Tensors, share: float, name: str) -> Tensors:
    if {k: v.shape for k, v in first.items()} != {k: v.shape for k, v in second.items()}:
        raise _unlike(f"the tensors in {name} have not the same names and shapes")
    return {key: _between(first[key], second[key], share) for key in second}


def _between(first: npt.NDArray[Any], second: npt.NDArray[Any], share: float) -> npt.NDArray[Any]:
    if not np.issubdtype(second.dtype, np.floating):
        return second
    # In double, so that a share of 0 or 1 and equal weights give their own bits back.
    mixed: npt.NDArray[Any] = first.astype(np.float64) + share * (second.astype(np.float64) - first.astype(np.float64))
    return (second if share == 1 else mixed).astype(second.dtype)


def _matched(
    first: Tensors, second: Tensors, sides: tuple[tuple[str, ...], tuple[str, ...]], labels: Sequence[str]
) -> tuple[Tensors, Tensors]:
    """Both heads under the given labels; what one of them lacks it borrows from the other."""
    places = [{label: place for place, label in enumerate(side)} for side in sides]
    heads: tuple[Tensors, Tensors] = ({}, {})
    for key in second:
        if key not in first or any(len(t[key]) != len(p) for t, p in zip((first, second), places, strict=True)):
            raise _unlike("a head has not one output a label")
        if first[key].shape[1:] != second[key].shape[1:]:
            raise _unlike(f"'{key}' of the heads differ in width")
        for side, other in ((0, 1), (1, 0)):
            pick = [(side if label in places[side] else other, label) for label in labels]
            heads[side][key] = np.stack([(first, second)[s][key][places[s][label]] for s, label in pick])
    return heads


def _unlike(why: str) -> AskError:
    return AskError(
        f"The weights of two variants were to be mixed, and {why}. Only variants of one recipe and base can be.",
        code="weights_do_not_fit",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"
