"""A control plane over a real store, asked directly, and its keys by name."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from sartor.core.access import Caller
from sartor.gateway.auth import Keyring
from sartor.gateway.wire.http import Request
from sartor.interfaces.api.plane import ControlPlane
from sartor.pipeline.access import OWNER, create_key
from sartor.pipeline.workshop import Workshop

ROLES = ("application", "viewer", "operator", "approver", "admin")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


@dataclass
class House:
    """The plane, what it stands on, and the texts of keys by name."""

    shop: Workshop
    ring: Keyring
    plane: ControlPlane
    texts: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def make(self, name: str, caller: Caller = OWNER, **how: Any) -> str:
        made = create_key(self.shop, caller, label=name, **how)
        self.texts[name], self.ids[name] = made["key"], made["id"]
        self.ring.refresh()
        return str(made["key"])

    def send(self, method: str, target: str, body: Any = None, *, by: str = "", **headers: str) -> Answer:
        """One request, by the named key or by whatever text is given for it."""
        sent = {b"host": b"localhost"} | {k.replace("_", "-").encode(): v.encode("latin-1") for k, v in headers.items()}
        if by:
            sent[b"authorization"] = b"Bearer " + self.texts.get(by, by).encode()
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        found = asyncio.run(self.plane.handle(Request(method, target, sent, data)))
        assert isinstance(found.body, bytes)
        return Answer(found.status, {k.decode(): v.decode() for k, v in found.headers}, found.body)

    def get(self, path: str, by: str = "root") -> Any:
        """The JSON at an address that has to be there."""
        found = self.send("GET", f"/api/v1{path}", by=by)
        assert found.status == 200, found.body
        return found.json

    def post(self, path: str, body: Any = None, by: str = "root") -> Answer:
        return self.send("POST", f"/api/v1{path}", {} if body is None else body, by=by)
