"""What an access key is and how its text is written. Knows no database, so that the gateway can read keys without one.

A key is `sartor_<id>_<secret>_<crc>`: an id to look it up by, 256 random bits, and a checksum over what stands before
it, so that a scanner or a typing error is told from a key without a look-up. Only its sha256 is ever kept.
"""

import re
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from sartor.core.access import Role

EVERY_TENANT = "*"
"""Tenant of a key of the installation's own administrators: it sees all tenants."""
KEY = re.compile(r"sartor_(?P<id>[0-9a-f]{12})_[0-9a-f]{64}_(?P<crc>[0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key as it is kept. Times are seconds since 1970."""

    id: str
    mark: str
    """sha256 of the key's text."""
    tenant: str
    role: Role
    scope: tuple[str, ...] = ()
    """As `core.access.Caller.scope`."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """As `core.route.Allowance`, without what is not limited."""
    label: str = ""
    created: float = 0.0
    created_by: str = ""
    expires: float | None = None
    revoked: float | None = None
    replaces: str = ""
    """Id of the key that it was made to replace."""

    def state(self, now: float) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "active"

    def body(self, now: float) -> dict[str, Any]:
        """What may be shown: all but the mark."""
        shown = asdict(self) | {"state": self.state(now), "scope": list(self.scope)}
        del shown["mark"]
        return shown


@dataclass(frozen=True, slots=True)
class Tenant:
    """Somebody whose keys, traffic and costs are kept apart from everybody else's."""

    name: str
    limits: Mapping[str, float] = field(default_factory=dict)
    """Of all of its keys together."""
    created: float = 0.0
    created_by: str = ""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Access:
    """Everything that decides who may come in, as it stood at one instant."""

    keys: tuple[AccessKey, ...] = ()
    tenants: tuple[Tenant, ...] = ()


def new_text() -> tuple[str, str]:
    """A new key: its id, and the text that is shown once."""
    ident = secrets.token_hex(6)
    front = f"sartor_{ident}_{secrets.token_hex(32)}"
    return ident, f"{front}_{_crc(front)}"


def id_in(text: str) -> str | None:
    """Id of the key that a text could be; None where its form or checksum is wrong, so that it can be none."""
    found = KEY.fullmatch(text)
    return found["id"] if found and found["crc"] == _crc(text[:-9]) else None


def mark_of(text: str) -> str:
    """What is kept of a key's text. The secret is as long as the mark, so a plain hash can't be searched backwards."""
    return sha256(text.encode()).hexdigest()


def hide_keys(text: str) -> str:
    """A text in which nothing of a key is left but its id."""
    return re.sub(r"sartor_([0-9a-f]{12})_[0-9a-f]+(_[0-9a-f]*)?", r"sartor_\1_…", text)


def _crc(front: str) -> str:
    return f"{zlib.crc32(front.encode()):08x}"
