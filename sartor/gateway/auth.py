"""Who is calling, by its key. Looks in memory only; a task beside the answers asks twice a second whether keys changed.

While nobody has made a key, everybody who reaches the server may do everything, so it has to listen on loopback only.
From the first key on a key is needed, also after the last one was revoked. With the database out of reach, known keys
go on for a stated time, unknown ones are told to come back, and what expires still expires.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hmac import compare_digest

from sartor.core.access import Caller
from sartor.core.errors import BusyError, KeyRefusedError, StoreError
from sartor.store.credentials import Access, AccessKey, id_in, mark_of

HEADERS = (b"authorization", b"api-key", b"x-api-key")
POLL_SECONDS = 0.5
GRACE_SECONDS = 600.0
NOBODY = "0" * 64
"""Mark of no key: compared with where the id is not known, so that this takes as long."""
UNLIMITED: Mapping[str, float] = {}
"""One object, so that whoever remembers what it made of somebody's limits sees that they are the same."""

log = logging.getLogger("sartor.gateway")


@dataclass(frozen=True, slots=True)
class _Known:
    key: AccessKey
    caller: Caller


class Keyring:
    """Every key, by its id."""

    def __init__(
        self,
        load: Callable[[], Access],
        revision: Callable[[], int],
        *,
        loopback: bool = True,
        grace: float = GRACE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A keyring that knows nothing yet: `refresh` it before the first request.

        Args:
            load: reads all keys and tenants; may block.
            revision: a number that grows whenever one changes; may block.
            loopback: whether only this machine can reach the server, so that it may do without keys.
            grace: seconds for which known keys go on while the database can't be reached.
            clock: seconds since 1970.
        """
        self._load = load
        self._revision = revision
        self._loopback = loopback
        self._grace = grace
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._limits: dict[str, Mapping[str, float]] = {}
        self._seen: int | None = None
        self._fresh = float("-inf")
        self._reached = False
        self._nobody = Caller()
        # Of its own: whoever blocks the threads of everybody must not keep a revoked key alive.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keys")

    @property
    def needed(self) -> bool:
        """Whether a key is needed."""
        return bool(self._known) or not self._loopback

    def limits_of(self, tenant: str) -> Mapping[str, float]:
        """What all keys of a tenant may use together."""
        return self._limits.get(tenant, UNLIMITED)

    def identify(self, headers: Mapping[bytes, bytes]) -> Caller:
        """The caller by its key.

        Args:
            headers: with lower-case names.

        Raises:
            KeyRefusedError: no key where one is needed, or one that is wrong, expired or revoked.
            BusyError: the database has been out of reach for too long, or the key might be newer than that.
        """
        now = self._clock()
        if now - self._fresh > self._grace:
            raise _unreachable("Access keys can't be checked: the store has been out of reach for too long.")
        if not self.needed:
            return self._nobody
        text = _given(headers)
        ident = id_in(text)
        if ident is None:
            raise _refused(
                "No access key was sent, and this server needs one." if not text else "What was sent is no access key."
            )
        found = self._known.get(ident)
        fits = compare_digest(mark_of(text), found.key.mark if found else NOBODY)
        if found is None and not self._reached:
            raise _unreachable("This access key is not known, and the store can't be asked for new ones now.")
        if found is None or not fits:
            raise _refused("This access key is not known here.")
        state = found.key.state(now)
        if state != "active":
            raise _refused(f"Access key {ident} is {state}.", code=f"key_{state}")
        return found.caller

    def refresh(self) -> None:
        """Look whether keys changed, and read them again if so. May block.

        Raises:
            StoreError: the store can't be reached; what is known stays known for a while.
        """
        try:
            seen = self._revision()
            if seen != self._seen:
                access = self._load()
                self._known = {key.id: _Known(key, _caller(key)) for key in access.keys}
                self._limits = {tenant.name: tenant.limits for tenant in access.tenants}
                self._seen = seen
        except Exception:
            self._reached = False
            raise
        self._fresh, self._reached = self._clock(), True

    async def watch(self, seconds: float = POLL_SECONDS) -> None:
        """Refresh again and again, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self.refresh)
            except StoreError:
                continue
            except Exception:  # to stop looking would keep revoked keys alive
                log.exception("access keys can't be read")


def _caller(key: AccessKey) -> Caller:
    return Caller(key.tenant, key.role, key.id, key.scope, dict(key.limits))


def _given(headers: Mapping[bytes, bytes]) -> str:
    """The key in the first header that has one; '' where none has."""
    for name in HEADERS:
        value = headers.get(name)
        if value:
            text = value.decode("latin-1").strip()
            if name == b"authorization":
                scheme, _, text = text.partition(" ")
                text = text.strip() if scheme.lower() == "bearer" else ""
            if text:
                return text
    return ""


def _refused(what: str, code: str = "invalid_api_key") -> KeyRefusedError:
    return KeyRefusedError(
        f"{what} Send 'Authorization: Bearer sartor_…'; an administrator makes keys with 'sartor key create'.",
        code=code,
    )


def _unreachable(what: str) -> BusyError:
    return BusyError(f"{what} Try again in a few seconds.", retry_after=5.0, code="keys_unreachable")
