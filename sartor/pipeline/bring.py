"""Bring a model in that was made elsewhere: checked, copied into the vault, and, for a task, inspected as any other.

What is inside is never executed (`hub.foreign`). What comes in is a base, `imported:NAME`. The recipe `imported` makes
a variant of it, so that it is calibrated, inspected and gated by the chain that every candidate goes through.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, ConflictError, RefusedError
from sartor.core.licence import Licence
from sartor.core.records import Base, Dataset, Report, TaskRecord, Variant
from sartor.core.task import NAME, Candidate, Task
from sartor.hub.catalogue_reading import MEDIUM, SMALL
from sartor.hub.elsewhere import HUB_IDS, elsewhere
from sartor.hub.foreign import Foreign, look
from sartor.pipeline.bases import IMPORTED, base_named
from sartor.pipeline.inspect import Hall, inspect_subject, variant_subject
from sartor.pipeline.run import hall_on, make_all
from sartor.pipeline.serve import contract_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import register

ENGINES: Mapping[str, str] = {
    "encoder": "encoder",
    "static": "static",
    "lm": "lm",
    "classifier": "onnx",
    "onnx": "onnx",
    "gguf": "gguf",
}
"""Kind of a model -> engine that runs it; an adapter takes its base's, an export names its own."""


@dataclass(frozen=True)
class Brought:
    """What came in."""

    base: Base
    kind: str
    left: tuple[str, ...]
    """Files that were not taken."""
    variant: Variant | None = None
    version: str = ""
    reports: Mapping[str, Report] | None = None
    """By split."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        figures = {
            split: {name: metric.model_dump(mode="json") for name, metric in report.metrics.items()}
            for split, report in (self.reports or {}).items()
        }
        return {
            "base": self.base.name,
            "digest": self.base.digest,
            "kind": self.kind,
            "engine": self.base.engine,
            "licence": list(self.base.licence.names),
            "files": len(self.base.files),
            "left": list(self.left),
            "variant": self.variant.digest if self.variant else None,
            "version": self.version,
            "figures": figures,
        }


def bring(
    shop: Workshop, path: Path, name: str, *, licence: str = "", base: str = "", task: str = "", title: str = ""
) -> Brought:
    """Bring a model into the store, and into a task's stock where one is named.

    Args:
        licence: of its weights, where its card does not say.
        base: for an adapter, the base here that it stands on.
        task: make a variant of this task of it, inspected on its rows; nothing is released.
        title: of that variant.

    Raises:
        RefusedError: it holds pickles alone, names code, is damaged, or is an adapter for another base.
        AskError: it can't be used so; says why.
        NotFoundError: nothing stands at the path, or there is no such base or task.
        ConflictError: another model has the name.
    """
    if not NAME.fullmatch(name):
        raise AskError(f"'{name}' is no name: a-z, 0-9, '.', '_' and '-'.", param="name", code="bad_name")
    found = look(path)
    with tempfile.TemporaryDirectory(prefix="import-", dir=shop.store.temp) as temp:
        folder = Path(temp) / "base"
        folder.mkdir()
        own = base_named(shop, base) if base else None
        _fill(shop, found, folder, own)
        made = Base(
            name=IMPORTED + name,
            tier=_tier(folder),
            engine=_engine(found, own),
            files=shop.store.vault.put_folder(folder),
            parents={"base": own.digest} if own else {},
            made_by="pipeline.bring",
            licence=Licence.union([Licence.of(licence or found.licence), *([own.licence] if own else [])]),
            facts={"kind": found.kind, "labels": list(found.labels), **found.facts},
        )
    if any(other.digest != made.digest for other in shop.store.ledger.find(Base, name=made.name, limit=1)):
        raise ConflictError(
            f"'{made.name}' is here already and is another model. Give this one another --name.", code="name_taken"
        )
    shop.store.ledger.put(made)
    brought = Brought(made, found.kind, found.left)
    return _inspected(shop, brought, task, title or f"imported:{name}") if task else brought


def _fill(shop: Workshop, found: Foreign, folder: Path, own: Base | None) -> None:
    if found.kind == "adapter":
        _merge(shop, found, folder, own)
        return
    if own is not None:
        raise AskError(
            f"--base names '{own.name}', and '{found.folder}' is no adapter: leave it out.",
            param="base",
            code="no_adapter",
        )
    if found.kind == "gguf":
        from sartor.serving.gguf_host import known

        known(found.folder / found.files[0])
    found.copy(folder)


def _merge(shop: Workshop, found: Foreign, folder: Path, own: Base | None) -> None:
    """An adapter merged into its base, shard by shard; the base's other files go along."""
    from sartor.training.lowrank import read_lora
    from sartor.training.shards import Shards, write_folder
    from sartor.training.surgery import Body

    said = str(found.facts.get("base") or "nothing that it names")
    if own is None:
        raise AskError(
            f"'{found.folder}' is an adapter for '{said}'. Say which base here that is: --base NAME.",
            param="base",
            code="base_missing",
        )
    repo = elsewhere(own.name, own.facts).repo
    if said in HUB_IDS.values() and said != repo:
        raise _another(found, said, own, "its configuration says so.")
    home = shop.store.folder(own)
    try:
        body = Body(Shards(home), read_lora(found.folder))
    except AskError as error:
        raise _another(found, said, own, error.message) from error
    write_folder(folder, body.specs, body.read)
    for file in sorted(home.iterdir()):
        if file.is_file() and file.suffix in (".json", ".txt", ".jinja") and not file.name.endswith(".index.json"):
            (folder / file.name).write_bytes(file.read_bytes())
    if "writing.json" in found.files:
        (folder / "writing.json").write_bytes((found.folder / "writing.json").read_bytes())


def _another(found: Foreign, said: str, own: Base, why: str) -> RefusedError:
    return RefusedError(
        f"The adapter in '{found.folder.name}' was trained on '{said}', and the base that is named is '{own.name}': "
        f"{why} Name the base that it was trained on.",
        code="adapter_for_another_base",
        param="base",
    )


def _engine(found: Foreign, own: Base | None) -> str:
    if own is not None:
        return own.engine
    if found.kind == "export":
        return str((found.facts.get("model") or {}).get("engine", ""))
    return ENGINES[found.kind]


def _tier(folder: Path) -> Any:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 4
    return "small" if size <= SMALL else "medium" if size <= MEDIUM else "large"


def _inspected(shop: Workshop, brought: Brought, task: str, title: str) -> Brought:
    place, candidate = _hall(shop, task), Candidate(recipe="imported", base=brought.base.name, name=title)
    made = make_all(place, [candidate])[title]
    reports = {
        split: inspect_subject(place, variant_subject(place, made, split), split) for split in ("validation", "test")
    }
    version = register(shop.store.ledger, made)
    return Brought(brought.base, brought.kind, brought.left, made, version.name, reports)


def _hall(shop: Workshop, name: str) -> Hall:
    """The task as it stands, on its newest rows."""
    contract: TaskRecord = contract_of(shop, name)
    rows = shop.store.ledger.find(Dataset, task=name, limit=1)
    if not rows:
        raise AskError(f"Task '{name}' has no rows yet to inspect a model on: run it first.", code="no_rows")
    return hall_on(shop, Task.model_validate(contract.contract), rows[0])
