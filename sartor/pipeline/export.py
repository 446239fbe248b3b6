"""Hand a variant over: the model in a form that others read, a script that answers, its card, its recipe.

What all targets have in common is written here; the model itself by the exporter. The folder appears whole, by a
rename, or not at all. That it was exported is kept as a run: what has left the house can be found when it is recalled.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.canonical import digest
from sartor.core.errors import ConflictError, NotFoundError
from sartor.core.records import EXPORT, Base, Dataset, Decision, Report, Run, Variant
from sartor.core.shelf import Plugin
from sartor.core.task import Task
from sartor.data.snapshot import read_datasheet
from sartor.hub.elsewhere import elsewhere
from sartor.pipeline.goods import EXPORTERS, Goods, Packed
from sartor.pipeline.leaving import needed, pins, predicting, recipe_files
from sartor.pipeline.memo import environment
from sartor.pipeline.serve import contract_of
from sartor.pipeline.stock import variant_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.bill import bill
from sartor.registry.card import CardFacts, card
from sartor.registry.lineage import lineage
from sartor.registry.quarantine import refuse_quarantined


@dataclass(frozen=True)
class Exported:
    """What was handed over."""

    variant: str
    """Its digest."""
    target: str
    folder: str
    files: int
    bytes: int
    requires: tuple[str, ...]
    """Pinned packages that `predict.py` needs."""
    notes: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "requires": list(self.requires), "notes": list(self.notes)}


def export(
    shop: Workshop, handle: str, target: str, out: Path, params: Mapping[str, Any] | None = None, *, rows: bool = False
) -> Exported:
    """Write a variant into a folder that needs no Sartor.

    Args:
        target: name of an exporter.
        out: the folder; it must not be there, or be empty.
        params: settings of the exporter.
        rows: put the training and validation rows in too, so that it can be trained again by whoever has the folder.

    Raises:
        NotFoundError: no such variant or target; the known ones are listed.
        MissingExtraError: the target needs a package that is not installed.
        AskError: this variant has no such form.
        ConflictError: something stands in the folder.
        RefusedError: the variant was recalled.
    """
    exporter = EXPORTERS.take(target)
    settings = exporter.read(dict(params or {}))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConflictError(f"'{out}' is there already and not empty. Name another folder.", code="folder_exists")
    variant = variant_of(shop, handle)
    refuse_quarantined(shop.store.ledger, variant.digest, handle)
    goods = goods_of(shop, variant)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    work.chmod(0o755)
    try:
        packed: Packed = exporter(goods, work, settings)
        requires = pins(needed(packed))
        _complete(shop, goods, exporter, packed, work, rows=rows)
        if out.exists():
            out.rmdir()
        work.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    made = [file for file in out.rglob("*") if file.is_file()]
    _remember(shop, variant, exporter, {"target": str(out.resolve()), **settings.model_dump(mode="json")})
    size = sum(file.stat().st_size for file in made)
    return Exported(variant.digest, target, str(out), len(made), size, requires, packed.notes)


def goods_of(shop: Workshop, variant: Variant) -> Goods:
    """A variant with everything that it answers from, verified."""
    ledger, store = shop.store.ledger, shop.store
    base = ledger.get(variant.parents["base"]) if "base" in variant.parents else None
    parts = {
        role: ledger.get(found) for role, found in variant.parents.items() if role not in ("base", "data", "start")
    }
    mixed = {role: goods_of(shop, part) for role, part in parts.items() if isinstance(part, Variant)}
    return Goods(
        variant,
        store.folder(variant),
        base if isinstance(base, Base) else None,
        store.folder(base) if isinstance(base, Base) and base.files else None,
        mixed if variant.engine == "blend" else {},
    )


def _complete(shop: Workshop, goods: Goods, exporter: Plugin, packed: Packed, out: Path, *, rows: bool) -> None:
    """Everything beside the model."""
    variant = goods.variant
    dataset = shop.store.ledger.get(variant.data)
    assert isinstance(dataset, Dataset)
    task = task_of(shop, variant)
    predicting(shop, goods, task, packed, out)
    recipe_files(shop, goods, dataset, str(packed.model["engine"]), out, rows=rows)
    _write(out / "bom.json", bill(shop.store.ledger, variant))
    sheet = _datasheet(shop, dataset)
    if sheet:
        _write(out / "datasheet.json", sheet)
    facts = CardFacts(
        variant=variant,
        task=task,
        base=goods.base,
        repo=elsewhere(goods.base.name, goods.base.facts).repo if goods.base else "",
        reports=shop.store.ledger.find(Report, subject=variant.digest, purpose="inspection", limit=20),
        decision=_decided(shop, variant),
        datasheet=sheet,
        lineage=lineage(shop.store.ledger, variant.digest, "up").text,
        target=exporter.name,
        notes=packed.notes,
        requires=pins(needed(packed)),
    )
    (out / "README.md").write_text(card(facts), encoding="utf-8")


def task_of(shop: Workshop, variant: Variant) -> Task:
    """The contract that a variant answers under: of the decision on it, else the task's."""
    decided = _decided(shop, variant)
    return Task.model_validate(contract_of(shop, variant.task, decided.digest if decided else "").contract)


def _decided(shop: Workshop, variant: Variant) -> Decision | None:
    found = shop.store.ledger.find(Decision, candidate=variant.digest, limit=1)
    return found[0] if found else None


def _datasheet(shop: Workshop, dataset: Dataset) -> dict[str, Any]:
    try:
        return read_datasheet(shop.store.folder(dataset))
    except NotFoundError:
        return {}  # data that was not curated here has none


def _remember(shop: Workshop, variant: Variant, exporter: Plugin, params: Mapping[str, Any]) -> None:
    """That it left, when, and where to: a recall names the folder."""
    plugin = f"pipeline.exporters/{exporter.name}"
    key = digest({"verb": EXPORT, "plugin": plugin, "variant": variant.digest, "params": dict(params)})
    run = Run(
        verb=EXPORT,
        plugin=plugin,
        task=variant.task,
        key=key,
        params=dict(params),
        inputs={"variant": variant.digest},
        environment=environment(),
    )
    shop.store.ledger.put(run)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
