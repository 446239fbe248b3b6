"""What an exporter is given, what it hands back, and the paths by which an export finds its parts.

Knows no target: exporters stand on their shelf, and `export` writes what all of them have in common.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError
from sartor.core.records import Base, Variant
from sartor.core.shelf import Shelf

EXPORTERS = Shelf("sartor.pipeline.exporters")


@dataclass(frozen=True)
class Goods:
    """A variant on its way out."""

    variant: Variant
    folder: Path
    """Its verified files."""
    base: Base | None = None
    base_folder: Path | None = None
    parts: "Mapping[str, Goods]" = field(default_factory=dict)
    """Role -> part, for mixtures."""

    def holds(self, name: str) -> bool:
        """Whether the variant's files hold this file or folder."""
        return (self.folder / name).exists()


@dataclass(frozen=True)
class Packed:
    """What an exporter wrote, and how the export answers from it."""

    model: Mapping[str, Any]
    """For `predict.json`: `engine`, and paths inside the export."""
    scripts: tuple[str, ...]
    """Files of `pipeline/outside` that open it, beside those that every export has."""
    requires: tuple[str, ...]
    """Packages that they import."""
    notes: tuple[str, ...] = ()
    """What was changed on the way, for the card."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More for `predict.json`."""


def copied(source: Path, target: Path) -> None:
    """Copy a folder's files; links are followed."""
    shutil.copytree(source, target, dirs_exist_ok=True)


def no_such_form(target: str, variant: Variant, why: str, instead: str) -> AskError:
    """The refusal of a target that can't hold this variant."""
    return AskError(
        f"'{variant.name}' can't be exported to '{target}': {why}. Export it to {instead} instead.",
        code="no_such_form",
        param="to",
    )


def based(goods: Goods) -> Path:
    """The folder of the base that a variant stands on.

    Raises:
        AskError: it has none.
    """
    if goods.base_folder is None:
        raise AskError(f"'{goods.variant.name}' stands on no base that is here.", code="no_base")
    return goods.base_folder
