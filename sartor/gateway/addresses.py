"""Where an upstream's URL may lead: the shape of the URL, and every address that its host resolves to.

A host is resolved once for each connection, each address is checked, and the connection goes to a checked address: a
name that later resolves to something else changes nothing. Link-local, multicast and metadata addresses are never
reached; private and loopback ones only where the operator says so.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from sartor.core.errors import AskError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16")
)
"""Where clouds hand out the machine's own credentials."""

NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Origin:
    """One server: whatever is equal here may share connections."""

    host: str
    port: int
    tls: bool
    allow_private: bool = False

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def check_url(url: str, *, allow_private: bool) -> tuple[Origin, str]:
    """The origin of a base URL, and its path without the last slash.

    Raises:
        AskError: it is not plain http or https, carries a user, a query or a fragment, or names an address that is
            never asked. Names are checked when they are resolved.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _bad(url, f"is no URL ({error})") from error
    if parts.scheme not in ("http", "https"):
        raise _bad(url, "does not begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise _bad("(not shown)", "carries a user or password. Say 'key' where the secret is found instead")
    if parts.query or parts.fragment or any(ord(c) <= 32 or ord(c) == 127 or c == "\\" for c in url):
        raise _bad(url, "has a query, a fragment, a space or a backslash")
    if not host or not url.isascii() or "%" in host:
        raise _bad(url, "has no host in plain ASCII")
    literal = _literal(host, url)
    if literal is not None:
        check_address(literal, host=host, allow_private=allow_private)
    tls = parts.scheme == "https"
    return Origin(host, port or (443 if tls else 80), tls, allow_private), parts.path.rstrip("/")


def _literal(host: str, url: str) -> Address | None:
    """The address that the host is, if it is one in its one canonical spelling; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]
        # 2130706433, 0x7f.1 and 0177.0.0.1 are loopback to some resolvers and names to others.
        if ":" in host or last.isdigit() or last.startswith("0x"):
            raise _bad(url, "has a host that is neither a name nor a plainly written address") from None
        return None


def check_address(address: Address, *, host: str, allow_private: bool) -> None:
    """Refuse an address that must not be reached.

    Raises:
        AskError: it is one.
    """
    inner = _inner(address)
    if inner in METADATA or inner.is_link_local or inner.is_multicast or inner.is_unspecified or _reserved(inner):
        raise AskError(
            f"The upstream's host '{host[:100]}' leads to {address}, which is never asked: link-local, metadata, "
            "multicast and reserved addresses are no models.",
            code="address_refused",
            param="base_url",
        )
    if not inner.is_global and not allow_private:
        raise AskError(
            f"The upstream's host '{host[:100]}' leads to {address}, which is a private or loopback address. "
            "If that is meant, declare the upstream with 'allow_private: true'.",
            code="address_refused",
            param="base_url",
        )


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def _reserved(address: Address) -> bool:
    loopback = address.is_loopback  # ::1 lies in a block that is reserved as a whole
    return not loopback and (address.is_reserved or getattr(address, "is_site_local", False))


async def resolve(origin: Origin) -> list[str]:
    """The checked addresses of an origin, in the resolver's order.

    Raises:
        AskError: one of them must not be reached; then none is.
        OSError: the name does not resolve.
    """
    try:
        address = ipaddress.ip_address(origin.host)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    else:
        addresses = [str(address)]
    for text in addresses:
        check_address(ipaddress.ip_address(text), host=origin.host, allow_private=origin.allow_private)
    return addresses


def _bad(url: str, what: str) -> AskError:
    return AskError(
        f"The base_url '{url[:200]}' {what}. Write it like https://api.openai.com/v1.",
        code="bad_base_url",
        param="base_url",
    )
