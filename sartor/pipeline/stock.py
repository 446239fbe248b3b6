"""The registry's verbs over the store: what is in stock, where it came from, and moving what is live."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sartor.core.errors import AskError, StoreError, unknown
from sartor.core.records import Decision, TaskRecord, Variant
from sartor.pipeline.decide import signing_key
from sartor.pipeline.workshop import Workshop
from sartor.registry import releases, variants
from sartor.registry.bill import bill
from sartor.registry.diff import diff as compare
from sartor.registry.diff import shown
from sartor.registry.lineage import lineage as walk
from sartor.registry.signing import sign
from sartor.registry.verify import verify as hash_again


@dataclass(frozen=True)
class Walked:
    """A lineage in its three forms."""

    text: str
    mermaid: str
    graph: dict[str, Any]

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return self.graph


def variant_of(shop: Workshop, handle: str) -> Variant:
    """The variant behind `task`, `task@v7`, `task@previous` or a digest.

    Raises:
        NotFoundError: there is none; what there is gets listed.
    """
    ledger = shop.store.ledger
    looks_like_digest = len(handle) >= variants.SHORTEST_DIGEST and set(handle) <= set("0123456789abcdef")
    if looks_like_digest and handle not in variants.task_names(ledger):
        found = ledger.get(handle)
    else:
        found = ledger.get(variants.resolve(ledger, handle).digest)
    if not isinstance(found, Variant):
        raise AskError(f"'{handle}' is a {found.kind}, not a variant.", code="not_a_variant")
    return found


def tasks(shop: Workshop) -> list[dict[str, Any]]:
    """Every task: what is live, how many versions there are, whether it is retired."""
    ledger = shop.store.ledger
    return [_task(shop, name) for name in variants.task_names(ledger)]


def _task(shop: Workshop, name: str) -> dict[str, Any]:
    ledger = shop.store.ledger
    stands = releases.standing(ledger, name)
    numbered = {version.digest: version.name for version in variants.versions(ledger, name)}
    live = ledger.get(stands.live) if stands.live else None
    return {
        "task": name,
        "live": numbered.get(stands.live or "", "nothing"),
        "recipe": live.title if isinstance(live, Variant) else "",
        "versions": len(numbered),
        "state": "retired" if stands.retired else "live" if stands.live else "not released",
    }


def search(shop: Workshop, where: list[str], limit: int) -> list[dict[str, Any]]:
    """Variants by `field=value` terms, newest first.

    Raises:
        AskError: a term is not of that form.
        NotFoundError: variants are not searched by such a field; the known ones are listed.
    """
    fields = {}
    for term in where:
        name, equals, value = term.partition("=")
        if not equals:
            raise AskError(f"'{term}' is no search term: write field=value, e.g. recipe=head.", code="bad_search")
        if name not in Variant.index:
            raise unknown("field to search by", name, Variant.index)
        fields[name] = value
    return [_shown(variant) for variant in variants.search(shop.store.ledger, limit=limit, **fields)]


def show(shop: Workshop, handle: str) -> dict[str, Any]:
    """One variant with its versions."""
    variant = variant_of(shop, handle)
    named = [p.name for p in shop.store.ledger.pointers(f"{variant.task}@") if p.digest == variant.digest]
    return {"digest": variant.digest, "names": sorted(named)} | _shown(variant)


def lineage(shop: Workshop, handle: str, *, down: bool) -> Walked:
    """Where a variant came from, or what came of it."""
    direction: Literal["up", "down"] = "down" if down else "up"
    found = walk(shop.store.ledger, variant_of(shop, handle).digest, direction)
    return Walked(found.text, found.mermaid, found.body())


def diff(shop: Workshop, a: str, b: str) -> list[dict[str, Any]]:
    """What differs between two variants: fields, files, figures."""
    found = compare(shop.store.ledger, variant_of(shop, a), variant_of(shop, b))
    pairs = {**found.fields, **{f"file {n}": p for n, p in found.files.items()}, **found.metrics}
    return [{"what": name, "a": shown(pair.a), "b": shown(pair.b)} for name, pair in pairs.items()]


def verify(shop: Workshop, handle: str) -> dict[str, Any]:
    """Hash a variant, its ancestors and all their files again.

    Raises:
        StoreError: something is not what its digest says; everything found is named.
    """
    found = hash_again(shop.store, variant_of(shop, handle).digest)
    if found.faults:
        faults = "; ".join(fault.rstrip(".") for fault in found.faults)
        advice = "" if "sartor restore" in faults else " Restore the store from a backup ('sartor restore')."
        raise StoreError(f"'{handle}' is not what it was: {faults}.{advice}", code="damaged")
    return asdict(found)


def bom(shop: Workshop, handle: str) -> dict[str, Any]:
    """The bill of materials, CycloneDX 1.6 JSON."""
    return bill(shop.store.ledger, variant_of(shop, handle))


def rollback(shop: Workshop, task: str, why: str) -> dict[str, str]:
    """Make the previous variant live again; a retired task comes back as it was. One operation, recorded and signed.

    Raises:
        NotFoundError: no such task, or there is no previous variant.
    """
    stands = _standing(shop, task)
    if stands.retired:
        return _move(shop, "restore", task, stands.retired, why or "restored by hand")
    if stands.previous is None:
        raise unknown("previous variant", f"{task}@previous", [p.name for p in shop.store.ledger.pointers(f"{task}@")])
    return _move(shop, "rollback", task, stands.previous, why or "rolled back by hand")


def retire(shop: Workshop, task: str, why: str) -> dict[str, str]:
    """Stop answering under a task's name; nothing vanishes.

    Raises:
        NotFoundError: no such task, or nothing is live.
    """
    stands = _standing(shop, task)
    return _move(shop, "retire", task, stands.live or stands.retired or "", why or "retired by hand")


def _standing(shop: Workshop, task: str) -> releases.Standing:
    known = variants.task_names(shop.store.ledger)
    if task not in known:
        raise unknown("task", task, known)
    return releases.standing(shop.store.ledger, task)


def _move(
    shop: Workshop, verb: Literal["rollback", "retire", "restore"], task: str, candidate: str, why: str
) -> dict[str, str]:
    ledger = shop.store.ledger
    live = releases.standing(ledger, task).live
    decision = Decision(
        verb=verb,
        task=task,
        contract=_contract(shop, task),
        candidate=candidate,
        incumbent=live or "",
        verdict="ship",
        reasons=(why,),
        policy="by hand",
        who=shop.who,
    )
    signed = sign(decision, signing_key(shop))
    stands = {"rollback": releases.rollback, "retire": releases.retire, "restore": releases.restore}[verb](
        ledger, signed
    )
    return {"task": task, "live": stands.live or "", "decision": signed.digest}


def _contract(shop: Workshop, task: str) -> str:
    """The contract of what is live, or the task's newest."""
    ledger = shop.store.ledger
    live = ledger.resolve(f"{task}@live")
    decided = ledger.get(live.decision) if live and live.decision else None
    if isinstance(decided, Decision):
        return decided.contract
    return ledger.find(TaskRecord, name=task, limit=1)[0].digest


def _shown(variant: Variant) -> dict[str, Any]:
    return {"digest": variant.digest} | variant.model_dump(mode="json")
