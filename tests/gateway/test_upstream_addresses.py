"""No URL, and no name that resolves oddly, leads an upstream to where it must not go."""

import asyncio
import ipaddress

import pytest

from sartor.core.errors import AskError
from sartor.core.route import Timing
from sartor.gateway.addresses import Origin, check_address, check_url, resolve
from sartor.gateway.wire.client import Pool, Waits

NEVER = [
    "169.254.169.254",
    "169.254.1.1",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "fe80::1",
    "ff02::1",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]
PRIVATE = ["127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1"]
PRIVATE += ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1"]


@pytest.mark.parametrize("text", NEVER)
def test_some_addresses_are_never_asked(text: str):
    for allowed in (True, False):
        with pytest.raises(AskError, match="never asked"):
            check_address(ipaddress.ip_address(text), host="x", allow_private=allowed)


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_take_the_operators_word(text: str):
    check_address(ipaddress.ip_address(text), host="x", allow_private=True)
    with pytest.raises(AskError, match="allow_private"):
        check_address(ipaddress.ip_address(text), host="x", allow_private=False)


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_asked(text: str):
    check_address(ipaddress.ip_address(text), host="x", allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://api.example.com/v1",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/",
        "//api.example.com/v1",
        "api.example.com/v1",
        "https://user:pass@api.example.com/v1",
        "https://api.example.com@169.254.169.254/v1",
        "https://api.example.com/v1?x=1",
        "https://api.example.com/v1#x",
        "https://api.example.com\\@evil.example/v1",
        "https://api.example.com/v1 HTTP/1.1\r\nx: y",
        "https:///v1",
        "https://exa mple.com/v1",
        "https://api.example.com:99999/v1",
        "https://exämple.com/v1",
        "http://2130706433/v1",
        "http://0x7f000001/v1",
        "http://0x7f.1/v1",
        "http://0177.0.0.1/v1",
        "http://127.1/v1",
        "http://[::1%25eth0]/v1",
        "http://[::1/v1",
        "http://169.254.169.254/latest",
        "http://[::ffff:169.254.169.254]/latest",
        "http://[::]/v1",
    ],
)
def test_a_url_that_could_mean_something_else_is_refused(url: str):
    with pytest.raises(AskError) as caught:
        check_url(url, allow_private=True)
    assert caught.value.param == "base_url"
    assert "pass@" not in caught.value.message


def test_a_url_is_taken_apart():
    assert check_url("https://api.openai.com/v1/", allow_private=False) == (
        Origin("api.openai.com", 443, tls=True),
        "/v1",
    )
    origin, path = check_url("http://[::1]:8080", allow_private=True)
    assert (origin.authority, path) == ("[::1]:8080", "")
    assert check_url("http://Host.example:80/a/b", allow_private=False)[0].authority == "host.example"
    with pytest.raises(AskError, match="allow_private"):
        check_url("http://127.0.0.1:8080/v1", allow_private=False)


def test_a_name_is_judged_by_what_it_resolves_to():
    async def main() -> None:
        assert await resolve(Origin("localhost", 80, tls=False, allow_private=True))
        with pytest.raises(AskError, match="allow_private"):
            await resolve(Origin("localhost", 80, tls=False))

    asyncio.run(main())


def test_the_connection_goes_to_the_address_that_was_checked():
    """A name that gives another address the second time it is asked has no second time."""

    async def main() -> None:
        met: list[str] = []
        asked = 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            met.append(writer.get_extra_info("sockname")[0])
            host = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[1]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(host), host))
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.2", 0)
        port = server.sockets[0].getsockname()[1]

        async def find(origin: Origin) -> list[str]:
            nonlocal asked
            asked += 1
            return ["127.0.0.2"]

        pool = Pool(find=find)
        waits = Waits(Timing(), asyncio.get_running_loop().time() + 5)
        origin = Origin("localhost", port, tls=False, allow_private=True)
        reply = await pool.ask(origin, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", waits)
        assert (await reply.read(), met, asked) == (b"host: localhost", ["127.0.0.2"], 1)
        server.close()

    asyncio.run(main())
