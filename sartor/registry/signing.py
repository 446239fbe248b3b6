"""Signs decisions and checks signatures: Ed25519 over every byte of the record but the signature itself.

The private key lies in a file outside the store, so that who can write the store cannot sign. Knows nothing of
what decisions mean. RFC 8032.
"""

import base64
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from sartor.core.canonical import canonical, sha256
from sartor.core.errors import ConflictError, NotFoundError, RefusedError
from sartor.core.records import Decision


def make_key(path: Path) -> Ed25519PrivateKey:
    """Make a private key in a file that only its owner may read, and its public half beside it as `NAME.pub`.

    Raises:
        ConflictError: there is a file already; what was signed with a lost key can still be verified, but a key
            is never overwritten.
    """
    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConflictError(f"There is a key at {path} already; it is not overwritten.", code="key_exists") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public_path(path).write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return key


def public_path(path: Path) -> Path:
    """Where the public half of the key at `path` lies."""
    return path.with_name(path.name + ".pub")


def load_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a file.

    Raises:
        NotFoundError: there is none; says how to make one.
        RefusedError: others may read it, or it is no Ed25519 key.
    """
    if path.is_file() and path.stat().st_mode & 0o077:
        raise RefusedError(f"Others may read the key {path}. Run: chmod 600 {path}", code="key_exposed")
    key = _parsed(path, lambda data: load_pem_private_key(data, password=None))
    if not isinstance(key, Ed25519PrivateKey):
        raise RefusedError(f"{path} holds no Ed25519 private key.", code="bad_key")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """The public key in a file.

    Raises:
        NotFoundError: there is none.
        RefusedError: it is no Ed25519 key.
    """
    key = _parsed(path, load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise RefusedError(f"{path} holds no Ed25519 public key.", code="bad_key")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the sha256 of the raw public key."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw))[:16]


def sign(decision: Decision, key: Ed25519PrivateKey) -> Decision:
    """The decision with the key's id and its signature."""
    named = decision.model_copy(update={"key_id": key_id(key.public_key()), "signature": ""})
    signature = base64.b64encode(key.sign(_covered(named))).decode()
    # Built anew: a copy would keep the digest and seal that the unsigned record has already worked out.
    return Decision.model_validate(named.model_dump() | {"signature": signature})


def verify(decision: Decision, key: Ed25519PublicKey) -> None:
    """Pass if the decision is, to the byte, what the holder of the key signed.

    Raises:
        RefusedError: it is unsigned, was signed with another key, or was changed since.
    """
    name = f"Decision {decision.digest[:12]}"
    if not decision.signature:
        raise RefusedError(f"{name} is not signed.", code="not_signed")
    if decision.key_id != key_id(key):
        raise RefusedError(
            f"{name} was signed with key {decision.key_id}, but the key given is {key_id(key)}. "
            "Name the one that signed with SARTOR_KEY.",
            code="other_key",
        )
    try:
        key.verify(base64.b64decode(decision.signature, validate=True), _covered(decision))
    except (InvalidSignature, ValueError) as error:
        raise RefusedError(
            f"{name} is not what was signed: it was changed, or the signature was. Do not act on it.",
            code="bad_signature",
        ) from error


def _covered(decision: Decision) -> bytes:
    """What the signature covers: kind and all fields but the signature, canonical."""
    return canonical({"kind": decision.kind, **decision.model_dump(mode="json", exclude={"signature"})})


def _parsed(path: Path, read: Callable[[bytes], object]) -> object:
    try:
        return read(path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(
            f"There is no key at {path}. Name it with SARTOR_KEY, or make one: sartor init", code="key_not_found"
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RefusedError(f"{path} cannot be read as a key: {error}.", code="bad_key") from error
