"""A control plane over a real store, without keys, and with keys of two tenants and of the house."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_house import ROLES, House

from sartor.gateway.auth import Keyring
from sartor.interfaces.api.plane import ControlPlane
from sartor.pipeline.workshop import Workshop
from sartor.store.keys import Keys
from sartor.store.opening import open_store


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[House]:
    """Without any key."""
    store = open_store(tmp_path / "store")
    shop = Workshop(store=store, key=tmp_path / "signing.key", cache=tmp_path, who="the test")
    ring = Keyring(Keys(store.ledger.database).everything, store.ledger.revision)
    ring.refresh()
    plane = ControlPlane(shop, ring, counted=lambda: "sartor_requests_total 7\n")
    yield House(shop, ring, plane)
    plane.close()
    store.close()


@pytest.fixture
def house(bare: House) -> House:
    """With `root` of all tenants, and each role of the house (`default-viewer`) and of a tenant (`acme-viewer`)."""
    bare.make("root", tenant="*", role="admin")
    for tenant in ("default", "acme", "other"):
        for role in ROLES:
            bare.make(f"{tenant}-{role}", tenant=tenant, role=role)
    return bare
