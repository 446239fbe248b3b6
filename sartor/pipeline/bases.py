"""Bring a base model of the catalogue into the store, once, and measure it on this machine."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, unknown
from sartor.core.licence import Licence
from sartor.core.predict import Floats
from sartor.core.records import Base, Metric, Record, Report
from sartor.hub.catalogue_reading import described, entry
from sartor.hub.entry import Entry, Hosted, Recorded
from sartor.pipeline.memo import Step, once
from sartor.pipeline.workshop import Workshop
from sartor.registry.quarantine import refuse_quarantined
from sartor.serving.engine import Engine, open_engine

IMPORTED = "imported:"
"""How names of models begin that were brought in by `sartor import`."""


def facts_of(found: Entry) -> dict[str, Any]:
    """A catalogue entry as JSON."""
    facts: dict[str, Any] = json.loads(json.dumps(asdict(found)))
    return facts | {"home_kind": type(found.home).__name__}


def fetch_step(found: Entry) -> Step:
    """The memo's view of fetching a base: the catalogue entry is all that bears on it."""
    return Step("fetch", "", f"hub.catalogue/{found.name}", (), params={"entry": facts_of(found)})


def base_named(shop: Workshop, name: str) -> Base:
    """The base with this catalogue name (or `folder:/path`, `hf:org/name@revision`), fetched and verified.

    Raises:
        NotFoundError: no such entry; the known ones are listed.
        UpstreamError: a package index or hub is out of reach.
        RefusedError: the base was recalled.
    """
    if name.startswith(IMPORTED):
        return _imported(shop, name)
    found = entry(name)

    def work(folder: Path) -> dict[str, Record]:
        from sartor.hub.fetch import fetch

        home = folder / "base"
        home.mkdir()
        if not isinstance(found.home, Hosted | Recorded):
            fetch(found, home, cache=shop.cache, base_of=lambda name: _folder_of(shop, name), progress=shop.progress)
        entry_now = described(found, home)
        return {
            "base": Base(
                name=entry_now.name,
                tier=entry_now.tier,
                engine=entry_now.engine,
                files=shop.store.vault.put_folder(home),
                made_by=f"hub.catalogue/{found.name}",
                licence=Licence.of(entry_now.licence),
                facts=facts_of(entry_now),
            )
        }

    made = once(shop, fetch_step(found), work)["base"]
    assert isinstance(made, Base)
    refuse_quarantined(shop.store.ledger, made.digest, name)
    return made


def _imported(shop: Workshop, name: str) -> Base:
    """A base that was brought in by `sartor import`."""
    found = shop.store.ledger.find(Base, name=name, limit=1)
    if not found:
        known = [base.name for base in shop.store.ledger.find(Base, limit=1000) if base.name.startswith(IMPORTED)]
        raise unknown("imported model", name, known, param="base", code="base_not_found")
    refuse_quarantined(shop.store.ledger, found[0].digest, name)
    return found[0]


def _folder_of(shop: Workshop, name: str) -> Path:
    return shop.store.folder(base_named(shop, name))


def embedder(shop: Workshop, base: Base) -> Callable[[Sequence[str]], Floats]:
    """What turns texts into (texts, d) embeddings of a base.

    Raises:
        AskError: the base has none.
    """
    engine = open_engine(base.engine, shop.store.folder(base), threads=shop.threads)
    if not isinstance(engine, Engine):
        raise AskError(f"Base '{base.name}' has no embeddings.", param="base")
    return engine.embed


def measure_base(shop: Workshop, name: str) -> Report:
    """A measured card of a base on this machine: size, memory, sentences per second, milliseconds at batch 1 and 32."""
    from sartor.hub.measure import measure, resident_bytes

    base = base_named(shop, name)
    folder = shop.store.folder(base)
    before = resident_bytes()
    card = measure(embedder(shop, base), folder, threads=shop.threads, resident_before=before, progress=shop.progress)
    report = Report(
        purpose="hub",
        subject=base.digest,
        title=base.name,
        metrics={"bytes": Metric(value=card["bytes"], n=1, unit="B")},
        measured=card,
    )
    shop.store.ledger.put(report)
    return report
