"""What a recall would do: everything that descends, where names would go, what is destroyed and what made again.

Changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sartor.pipeline.declared import all_pointers
from sartor.pipeline.origins import Origins, What, origins
from sartor.pipeline.recall_caches import Caches, caches_of
from sartor.pipeline.recall_moves import Moves, plan_moves
from sartor.pipeline.routes import declared_routes, targets_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.impact import Impact, impact
from sartor.registry.variants import LIVE


@dataclass(frozen=True)
class Plan:
    """What a recall would do."""

    begun: Origins
    found: Impact
    moves: Moves
    caches: Caches
    routes: tuple[str, ...]
    """Names under which something of it answers now."""
    rebuilds: tuple[str, ...]
    """Tasks that are made again without it."""

    @property
    def what(self) -> What:
        """What is recalled."""
        return self.begun.what

    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return {
            "datasets": len(self.found.datasets),
            "variants": len(self.found.variants),
            "bases": len(self.found.bases),
            "other artifacts": len(self.found.others),
            "caches": len(self.found.caches) + len(self.caches.shards) + len(self.caches.folders),
            "reports": len(self.found.reports),
            "decisions": len(self.found.decisions),
            "exports": len(self.caches.exports),
            "live names": len(self.found.live),
            "routes": len(self.routes),
        }

    def body(self) -> dict[str, Any]:
        """As JSON."""
        found = self.found
        names: dict[str, list[str]] = {}
        for pointer in found.pointers:
            names.setdefault(pointer.digest, []).append(pointer.name)
        rows = self.begun.rows
        return {
            "kind": self.what.kind,
            "value": self.what.value,
            "says": self.what.says,
            "roots": list(found.roots),
            "counts": self.counts(),
            "datasets": [
                {"digest": d, "task": data.task, "rows": rows.get(d), "names": names.get(d, [])}
                for d, data in found.datasets.items()
            ],
            "variants": [
                {"digest": d, "task": v.task, "title": v.title, "names": names.get(d, [])}
                for d, v in found.variants.items()
            ],
            "bases": [{"digest": d, "name": base.name} for d, base in found.bases.items()],
            "others": [{"digest": d, "name": a.name} for d, a in found.others.items()],
            "caches": self.caches.body() | {"answers": [d for d, a in found.caches.items() if "answers/" in a.name]},
            "reports": [{"digest": d, "purpose": r.purpose, "title": r.title} for d, r in found.reports.items()],
            "decisions": list(found.decisions),
            "live": sorted(pointer.name for pointer in found.live),
            "routes": list(self.routes),
            "moves": self.moves.body(),
            "rebuilds": list(self.rebuilds),
        }


def plan(shop: Workshop, kind: str, value: str) -> Plan:
    """Everything that descends from something, and where names would go; changes nothing.

    Raises:
        NotFoundError: nothing is known by this name; what is gets listed.
    """
    start = origins(shop, kind, value)
    found = impact(shop.store.ledger, start.roots)
    moves = plan_moves(shop, found)
    rebuilds = (
        tuple(sorted({move.task for move in moves.tasks})) if start.what.kind not in ("dataset", "variant") else ()
    )
    routes = tuple(sorted(_routes(shop, found)))
    caches = caches_of(shop, start, found)
    return Plan(start, found, moves, caches, routes, rebuilds)


def _routes(shop: Workshop, found: Impact) -> Iterator[str]:
    """Names that answer by something that descends: live tasks, and declared routes that ask it."""
    goods = set(found.goods)
    pointers = {pointer.name: pointer for pointer in all_pointers(shop) if pointer.digest}
    declared = {route.name: route for route in declared_routes(shop)}
    for name, pointer in pointers.items():
        task = name.removesuffix(LIVE)
        if name.endswith(LIVE) and pointer.digest in goods and task not in declared:
            yield task
    for name, route in declared.items():
        handles = (target if "@" in target else target + LIVE for target in targets_of(route))
        if any(handle in pointers and pointers[handle].digest in goods for handle in handles):
            yield name
