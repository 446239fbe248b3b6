"""Lineage, differences, verification and bills of materials, on records and files as the chain leaves them."""

import json
from pathlib import Path

import pytest
from registry_stock import base, dataset, decision, report, variant

from sartor.core.errors import NotFoundError
from sartor.core.licence import Licence
from sartor.registry.bill import bill
from sartor.registry.diff import diff
from sartor.registry.lineage import lineage
from sartor.registry.variants import register
from sartor.registry.verify import verify
from sartor.store.opening import Store


@pytest.fixture
def blend(store: Store) -> Store:
    """Two heads, a blend of both, a report and a decision on it."""
    parts = {f"{role}": register(store.ledger, variant(i)).digest for i, role in enumerate(("first", "second"))}
    mixed = variant(9, recipe="blend", base="", name="support/<blend>", parents=parts | {"data": dataset().digest})
    register(store.ledger, mixed)
    store.ledger.put_many([report(mixed, 0.9), decision(mixed)])
    return store


def mixed_of(store: Store) -> str:
    (found,) = store.ledger.find(type(variant()), recipe="blend")
    return found.digest


def test_lineage_up_reaches_every_ancestor_once(blend: Store) -> None:
    walked = lineage(blend.ledger, mixed_of(blend)[:12])
    assert {r.kind for r in walked.nodes.values() if r} == {"Variant", "Base", "Dataset"}
    assert len(walked.nodes) == 5
    assert len(walked.edges) == 7
    lines = walked.text.splitlines()
    assert lines[0].startswith("Variant support/<blend>")
    assert lines[1].startswith("├─ data: Dataset support/data")
    assert sum("base: Base tiny" in line for line in lines) == 2
    assert lines[-1].startswith("   └─ data: Dataset")


def test_lineage_down_finds_what_rests_on_a_base(blend: Store) -> None:
    walked = lineage(blend.ledger, base().digest, "down")
    assert sorted(r.kind for r in walked.nodes.values() if r) == [
        "Base",
        "Decision",
        "Report",
        "Variant",
        "Variant",
        "Variant",
    ]
    assert "subject: Report inspection" in walked.text


def test_a_long_lineage_is_cut_and_says_so(blend: Store) -> None:
    walked = lineage(blend.ledger, base().digest, "down", limit=2)
    assert (len(walked.nodes), walked.cut) == (2, True)
    assert all(edge.child in walked.nodes for edge in walked.edges)


def test_mermaid_holds_no_markup_of_names(blend: Store) -> None:
    drawn = lineage(blend.ledger, mixed_of(blend)).mermaid
    assert drawn.startswith("flowchart TD")
    assert "<blend>" not in drawn
    assert "&lt;blend&gt;" in drawn
    assert drawn.count("-->") == 7


def test_diff_tells_only_what_differs_and_all_metrics(store: Store) -> None:
    a, b = variant(1), variant(2, params={"size": "large"}, files={"head.safetensors": "0" * 64})
    store.ledger.put_many([a, b, report(a, 0.7), report(b, 0.6), report(b, 0.8)])
    found = diff(store.ledger, a, b)
    assert {k: (p.a, p.b) for k, p in found.fields.items()} == {"params.size": ("small", "large"), "seed": (1, 2)}
    assert {k: (p.a, p.b) for k, p in found.files.items()} == {"head.safetensors": (None, "0" * 64)}
    assert (found.metrics["accuracy"].a.value, found.metrics["accuracy"].b.value) == (0.7, 0.8)


def filed(store: Store) -> tuple[str, str]:
    """A variant with a file; its digest and the file's."""
    sha256 = store.vault.put_bytes(b"weights")
    return register(store.ledger, variant(5, files={"head.safetensors": sha256})).digest, sha256


def test_an_untouched_variant_verifies(store: Store) -> None:
    digest, _ = filed(store)
    done = verify(store, digest)
    assert (done.records, done.files, done.faults) == (3, 1, ())


def test_one_flipped_byte_of_a_file_is_found(store: Store) -> None:
    digest, _ = filed(store)
    (place,) = [p for p in store.root.rglob("*") if p.is_file() and p.read_bytes() == b"weights"]
    place.chmod(0o600)
    place.write_bytes(b"weightz")
    done = verify(store, digest)
    assert not done.sound
    assert "head.safetensors" in done.faults[0]
    place.unlink()
    assert len(verify(store, digest).faults) == 1


def test_a_changed_record_and_a_missing_one_are_found(store: Store) -> None:
    digest, _ = filed(store)
    with store.ledger.database.write() as connection:
        changed = connection.exec_driver_sql(
            "UPDATE record SET body = replace(body, '\"seed\":5', '\"seed\":6') WHERE digest = ?", (digest,)
        )
        assert changed.rowcount == 1
    for handle in (digest, digest[:10]):
        assert "has been changed" in verify(store, handle).faults[0]
    orphan = register(store.ledger, variant(7, parents={"base": "0" * 64})).digest
    assert "is missing" in verify(store, orphan).faults[0]
    with pytest.raises(NotFoundError):
        verify(store, "0" * 64)


def test_the_bill_names_everything_with_licence_and_figures(blend: Store) -> None:
    made = bill(blend.ledger, blend.ledger.get(mixed_of(blend)))
    assert made == bill(blend.ledger, blend.ledger.get(mixed_of(blend)))
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    kinds = sorted((c["type"], c["name"]) for c in made["components"])
    assert kinds == [
        ("data", "support/data"),
        ("machine-learning-model", "support/head"),
        ("machine-learning-model", "support/head"),
        ("machine-learning-model", "tiny"),
    ]
    subject = made["metadata"]["component"]
    assert subject["licenses"] == [{"license": {"id": "Apache-2.0"}}, {"license": {"name": "owned"}}]
    (figure,) = subject["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert figure["value"] == "0.9"
    assert figure["confidenceInterval"] == {"lowerBound": "0.8", "upperBound": "1.0"}
    refs = {c["bom-ref"] for c in made["components"]} | {subject["bom-ref"]}
    assert {d["ref"] for d in made["dependencies"]} == refs
    assert all(set(d["dependsOn"]) <= refs for d in made["dependencies"])
    json.dumps(made, allow_nan=False)


def test_an_unknown_licence_is_a_name_and_not_an_identifier(store: Store, tmp_path: Path) -> None:
    register(store.ledger, odd := variant(3, licence=Licence.of("Our-Own-1.0", "MIT")))
    licences = bill(store.ledger, odd)["metadata"]["component"]["licenses"]
    assert licences == [{"license": {"id": "MIT"}}, {"license": {"name": "Our-Own-1.0"}}]
