"""Walks where a record came from, or what came of it, and draws that as a tree or a graph.

Knows only the ledger's edges; each record is visited once, however many ways lead to it.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sartor.core.errors import NotFoundError
from sartor.core.records import Artifact, Decision, Record, Report, Run, TaskRecord
from sartor.store.ledger import Edge, Ledger

Direction = Literal["up", "down"]


@dataclass(frozen=True)
class Lineage:
    """A part of the graph of records, as seen from `start`."""

    start: str
    direction: Direction
    nodes: Mapping[str, Record | None]
    """Digest -> record, in order of distance; None where an edge names a record that the ledger does not have."""
    edges: tuple[Edge, ...]
    cut: bool = False
    """Whether the walk stopped at its limit."""
    _next: dict[str, list[Edge]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def text(self) -> str:
        """The lineage as an indented tree; a record that stands there already is not opened again."""
        lines, opened = [label(self.start, self.nodes[self.start])], {self.start}
        waiting = [(edge, "", last) for edge, last in self._steps(self.start)]
        while waiting:
            edge, margin, last = waiting.pop()
            digest = _far(edge, self.direction)
            again = " (above)" if digest in opened and self._next.get(digest) else ""
            lines.append(f"{margin}{'└─ ' if last else '├─ '}{edge.role}: {label(digest, self.nodes[digest])}{again}")
            if digest not in opened:
                opened.add(digest)
                waiting += [(e, margin + ("   " if last else "│  "), end) for e, end in self._steps(digest)]
        return "\n".join(lines)

    def _steps(self, digest: str) -> list[tuple[Edge, bool]]:
        """Edges onwards, last first, each with whether it is the last."""
        onwards = self._next.get(digest, [])
        return [(edge, i == len(onwards) - 1) for i, edge in enumerate(onwards)][::-1]

    @property
    def mermaid(self) -> str:
        """The lineage as a Mermaid flowchart, from parents down to children."""
        names = {digest: f"n{i}" for i, digest in enumerate(self.nodes)}
        boxes = [f'  {names[d]}["{_quoted(label(d, r))}"]' for d, r in self.nodes.items()]
        arrows = [f'  {names[e.parent]} -->|"{_quoted(e.role)}"| {names[e.child]}' for e in self.edges]
        return "\n".join(["flowchart TD", *boxes, *arrows])

    def body(self) -> dict[str, Any]:
        """The lineage as JSON."""
        nodes = [
            {"digest": d, "kind": r.kind if r else None, "label": label(d, r)} for d, r in self.nodes.items()
        ]  # fmt: skip
        edges = [{"role": e.role, "child": e.child, "parent": e.parent} for e in self.edges]
        return {"start": self.start, "direction": self.direction, "nodes": nodes, "edges": edges, "cut": self.cut}


def lineage(
    ledger: Ledger, digest: str, direction: Direction = "up", *, runs: bool = False, limit: int = 2_000
) -> Lineage:
    """Everything that a record came from (`up`), or that came of it (`down`).

    Args:
        digest: a whole one, or its first 8 digits or more.
        runs: whether runs, which touch everything and lead nowhere, are shown too.
        limit: records after which the walk stops.

    Raises:
        NotFoundError: there is no such record.
    """
    first = ledger.get(digest)
    # A record that was tampered with has another digest than its name: it keeps the name, so that it is found out.
    start = first.digest if first.digest.startswith(digest) else digest
    nodes: dict[str, Record | None] = {start: first}
    edges: dict[Edge, None] = {}
    onwards: dict[str, list[Edge]] = {}
    waiting, cut = deque([start]), False
    while waiting:
        at = waiting.popleft()
        found = _parents(at, nodes[at]) if direction == "up" else ledger.children(at)
        onwards[at] = [edge for edge in found if runs or not edge.role.startswith(("in:", "out:"))]
        for edge in onwards[at]:
            far = _far(edge, direction)
            if far not in nodes and len(nodes) >= limit:
                cut = True
                continue
            edges[edge] = None
            if far not in nodes:
                nodes[far] = _record(ledger, far)
                waiting.append(far)
    onwards = {at: [edge for edge in found if edge in edges] for at, found in onwards.items()}
    return Lineage(start, direction, nodes, tuple(edges), cut, onwards)


def label(digest: str, record: Record | None) -> str:
    """A record in a few words, with the first 12 digits of its digest."""
    short = digest[:12]
    match record:
        case None:
            return f"not in this ledger {short}"
        case Artifact():
            return f"{record.kind} {record.name} {short}"
        case Report():
            return f"Report {record.purpose} of {record.title or record.subject[:12]} {record.split} {short}"
        case Decision():
            return f"Decision {record.verb} {record.verdict} {short}"
        case TaskRecord():
            return f"Task {record.name} {short}"
        case Run():
            return f"Run {record.verb} {record.plugin} {short}"
        case _:
            return f"{record.kind} {short}"


def _parents(digest: str, record: Record | None) -> list[Edge]:
    """The edges upwards, which a record itself knows: no need to ask the ledger."""
    return [Edge(role, digest, parent) for role, parent in sorted(record.edges().items())] if record else []


def _far(edge: Edge, direction: Direction) -> str:
    return edge.parent if direction == "up" else edge.child


def _record(ledger: Ledger, digest: str) -> Record | None:
    try:
        return ledger.get(digest)
    except NotFoundError:
        return None


def _quoted(text: str) -> str:
    """Text that cannot end a Mermaid string or become markup."""
    return (
        text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    )
