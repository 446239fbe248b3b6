"""A signature covers every byte of a decision; the key lies outside the store, for its owner only."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_stock import decision, variant

from sartor.core.errors import ConflictError, NotFoundError, RefusedError
from sartor.core.records import Decision
from sartor.registry import signing
from sartor.store.opening import Store


def test_a_signed_decision_verifies_also_after_the_ledger_kept_it(store: Store, tmp_path: Path) -> None:
    key = signing.make_key(tmp_path / "keys" / "sign")
    signed = signing.sign(decision(variant(1)), key)
    assert signed.digest == decision(variant(1)).digest
    assert len(signed.key_id) == 16
    kept = store.ledger.get(store.ledger.put(signed))
    assert isinstance(kept, Decision)
    signing.verify(kept, signing.load_public_key(tmp_path / "keys" / "sign.pub"))
    assert kept.seal == signed.seal != decision(variant(1)).seal


def test_signing_again_with_the_same_key_gives_the_same_bytes(tmp_path: Path) -> None:
    key = signing.make_key(tmp_path / "sign")
    once = signing.sign(decision(variant(1)), key)
    assert signing.sign(once, signing.load_key(tmp_path / "sign")) == once


KEY = signing.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNED = signing.sign(decision(variant(1), measured={"seconds": 1.5}), KEY).model_dump_json()


@given(st.integers(0, len(SIGNED) - 1), st.characters(codec="ascii"))
def test_one_changed_character_fails(place: int, character: str) -> None:
    changed = SIGNED[:place] + character + SIGNED[place + 1 :]
    try:
        broken = Decision.model_validate_json(changed)
    except ValueError:
        return  # no decision at all any more
    if broken == Decision.model_validate_json(SIGNED):
        return  # the same character, or another way to write the same value
    with pytest.raises(RefusedError):
        signing.verify(broken, KEY.public_key())


OTHER = {
    "verb": "retire",
    "verdict": "hold",
    "policy_version": 2,
    "schema_version": 2,
    "reasons": [],
    "checks": [{"name": "a", "outcome": "pass", "says": "b"}],
    "evidence": {"a": {"digest": "0" * 64, "seal": "0" * 64}},
    "cites": ["0" * 64],
    "measured": {"seconds": 1.6},
}
"""Values that the signed decision does not have; text fields get a letter more."""


@pytest.mark.parametrize("field", [f for f in Decision.model_fields if f not in ("signature", "key_id")])
def test_every_field_is_covered(field: str) -> None:
    body = json.loads(SIGNED)
    body[field] = OTHER[field] if field in OTHER else body[field] + "x"
    with pytest.raises(RefusedError, match="not what was signed"):
        signing.verify(Decision.model_validate(body), KEY.public_key())


def test_unsigned_and_strange_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="is not signed"):
        signing.verify(decision(variant(1)), KEY.public_key())
    other = signing.make_key(tmp_path / "other")
    with pytest.raises(RefusedError, match="was signed with key"):
        signing.verify(Decision.model_validate_json(SIGNED), other.public_key())
    torn = Decision.model_validate_json(SIGNED).model_copy(update={"signature": "no base64"})
    with pytest.raises(RefusedError, match="not what was signed"):
        signing.verify(torn, KEY.public_key())


def test_the_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "sign"
    signing.make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(ConflictError, match="not overwritten"):
        signing.make_key(path)
    assert path.read_bytes() == before
    path.chmod(0o644)
    with pytest.raises(RefusedError, match="chmod 600"):
        signing.load_key(path)


def test_a_missing_or_foreign_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="sartor init"):
        signing.load_key(tmp_path / "none")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(RefusedError, match="cannot be read as a key"):
        signing.load_key(tmp_path / "text")
    signing.make_key(tmp_path / "sign")
    with pytest.raises(RefusedError):
        signing.load_public_key(tmp_path / "sign")
