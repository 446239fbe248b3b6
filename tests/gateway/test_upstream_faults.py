"""Every way in which an upstream goes wrong ends in a typed error, in words, in time, and without our key in it."""

import asyncio
import ssl
import time
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from faulty_upstream import CUT, DONE, STREAM, WHOLE, Faulty, faulty, refusing_port

from sartor.core.errors import BusyError, SartorError, UpstreamError
from sartor.core.predict import Chunk, Prediction, Request, Usage
from sartor.core.route import Timing, Upstream
from sartor.gateway.upstream import UpstreamPredictor, open_upstream
from sartor.gateway.wire.client import Pool

KEY = "sk-test-key"
QUICK = Timing(queue=0.3, connect=2.0, first_token=0.8, between_chunks=0.8, total=2.0)
ASKED = Request("my card", chat={"model": "x", "messages": [{"role": "user", "content": "my card"}]})


def opened(url: str, *, key: str = KEY, pool: Pool | None = None, **settings: Any) -> UpstreamPredictor:
    spec = Upstream(name="giant", base_url=url, allow_private=True, **{"timing": QUICK, "retries": 0} | settings)
    return open_upstream(spec, secret=lambda: key, price=lambda u: u.input_tokens + 10.0 * u.output_tokens, pool=pool)


async def predicted(upstream: UpstreamPredictor) -> Prediction:
    (answer,) = await upstream.predict([ASKED])
    return answer


async def streamed(upstream: UpstreamPredictor) -> tuple[list[Chunk], Exception | None]:
    chunks: list[Chunk] = []
    try:
        async for chunk in upstream.stream(ASKED):
            chunks.append(chunk)  # noqa: PERF401 - those before an error count
    except SartorError as error:
        return chunks, error
    return chunks, None


def with_server(test: Callable[[Faulty], Awaitable[None]]) -> None:
    async def main() -> None:
        async with faulty() as server:
            await test(server)

    uvloop.run(main())


def everything_in(error: BaseException) -> str:
    """The error, its causes and where they arose, as a log would have them."""
    return "".join(traceback.format_exception(error)) + repr(vars(error))


def check(error: Exception | None, status: int, code: str, words: str) -> None:
    assert isinstance(error, UpstreamError)
    assert (error.http_status, error.code) == (status, code)
    assert words in error.message
    assert KEY not in everything_in(error).replace('KEY = "sk-test-key"', "")
    assert "do-not-tell" not in everything_in(error)


def test_each_fault_of_a_whole_answer_is_a_typed_error():
    async def main(server: Faulty) -> None:
        async def one(way: str) -> None:
            with pytest.raises(UpstreamError) as caught:
                await predicted(opened(server.url(way)))
            check(caught.value, *WHOLE[way])
            assert server.asked[way] == 1

        await asyncio.gather(*(one(way) for way in WHOLE))

    with_server(main)


def test_each_fault_of_a_stream_is_a_typed_error_after_what_has_arrived():
    async def main(server: Faulty) -> None:
        async def one(way: str) -> None:
            chunks, error = await streamed(opened(server.url(way)))
            check(error, *STREAM[way])
            if way not in CUT:
                assert not [c for c in chunks if c.text]
                return
            last = chunks[-1].final
            assert last is not None
            assert last.output == "".join(c.text for c in chunks)
            assert last.output.startswith("card")
            assert last.hops[0].why == f"failed: {error.code}, usage estimated"
            assert last.cost == last.usage.input_tokens + 10 * last.usage.output_tokens > 0
            assert last.output.encode() in last.reply

        await asyncio.gather(*(one(way) for way in STREAM))

    with_server(main)


def test_nobody_listens():
    async def main() -> None:
        upstream = opened(f"http://127.0.0.1:{refusing_port()}/v1")
        with pytest.raises(UpstreamError) as caught:
            await predicted(upstream)
        check(caught.value, 502, "upstream_connect", "can't be reached")

    uvloop.run(main())


def test_a_time_that_is_over_at_once_is_a_timeout_too():
    async def main(server: Faulty) -> None:
        for name in ("first_token", "total"):
            timing = QUICK.model_copy(update={name: 1e-9})
            with pytest.raises(UpstreamError) as caught:
                await predicted(opened(server.url("hang"), timing=timing))
            assert caught.value.code in ("upstream_timeout", "upstream_connect")

    with_server(main)


def test_odd_but_good_answers_are_taken():
    async def main(server: Faulty) -> None:
        for way in ("announced", "until-closed", "ok"):
            answer = await predicted(opened(server.url(way)))
            assert (answer.output, answer.usage) == ("card_arrival", Usage(11, 2))
        for way in ("ok", "split", "no-done", "duplicates"):
            chunks, error = await streamed(opened(server.url(way)))
            assert error is None
            assert chunks[-1].final.usage == Usage(11, 2)
            said = "cardcard__arrivalarrival" if way == "duplicates" else "card_arrival"
            assert "".join(c.text for c in chunks) == chunks[-1].final.output == said

    with_server(main)


def test_what_the_server_does_not_count_is_estimated_and_marked():
    async def main(server: Faulty) -> None:
        upstream = opened(server.url("no-usage"))
        chunks, _ = await streamed(upstream)
        for answer in (await predicted(upstream), chunks[-1].final):
            assert answer.usage.output_tokens == 3  # 12 characters
            assert answer.usage.input_tokens > 0
            assert answer.hops[0].why == "usage estimated"
            assert answer.cost == answer.usage.input_tokens + 30

    with_server(main)


def test_counts_that_nobody_could_book_are_kept_within_bounds():
    async def main(server: Faulty) -> None:
        assert (await predicted(opened(server.url("wild-usage")))).usage == Usage(0, 10**9)

    with_server(main)


def test_a_batch_that_fails_leaves_nothing_running():
    async def main(server: Faulty) -> None:
        slow = opened(server.url("hang"), concurrency=1)
        with pytest.raises(SartorError):
            await slow.predict([ASKED] * 5)
        await asyncio.sleep(0.05)
        assert server.open_now == 0

    with_server(main)


def test_a_stream_relays_the_servers_own_events():
    async def main(server: Faulty) -> None:
        chunks, _ = await streamed(opened(server.url("ok")))
        relayed = b"".join(c.raw for c in chunks[:-1])
        assert relayed.count(b"data: ") == 5
        assert b"usage" not in relayed
        assert DONE not in relayed
        assert b'"choices": [], "usage"' in chunks[-1].raw
        assert server.bodies[-1]["stream_options"] == {"include_usage": True}
        assert server.bodies[-1]["model"] == "giant"
        hop = chunks[-1].final.hops[0]
        assert (hop.kind, hop.served_by, hop.cost, hop.output) == ("upstream", "giant", 31.0, "card_arrival")

    with_server(main)


@pytest.mark.parametrize("way", ["once-429", "once-500", "once-503", "once-reset"])
def test_a_failure_before_the_first_byte_is_asked_again(way: str):
    async def main(server: Faulty) -> None:
        before = time.perf_counter()
        assert (await predicted(opened(server.url(way), retries=1))).output == "card_arrival"
        assert server.asked[way] == 2
        if way in ("once-429", "once-503"):
            assert time.perf_counter() - before > 0.19  # it said when to come again

    with_server(main)


@pytest.mark.parametrize(
    "way", ["400", "401", "404", "422", "hang", "cut", "bad-json", "html", "429-long", "429-quota"]
)
def test_what_asking_again_cannot_help_is_asked_once(way: str):
    async def main(server: Faulty) -> None:
        with pytest.raises(UpstreamError):
            await predicted(opened(server.url(way), retries=5))
        assert server.asked[way] == 1

    with_server(main)


def test_a_stream_that_has_begun_is_never_asked_again():
    async def main(server: Faulty) -> None:
        await streamed(opened(server.url("reset"), retries=5))
        assert server.asked["reset"] == 1

    with_server(main)


def test_repeats_are_at_most_a_tenth_of_the_traffic():
    async def main(server: Faulty) -> None:
        upstream = opened(server.url("429"), retries=2, concurrency=10)
        answers = await asyncio.gather(*(predicted(upstream) for _ in range(60)), return_exceptions=True)
        assert all(isinstance(a, UpstreamError) for a in answers)
        assert 60 < server.asked["429"] <= 60 + 6 + 3  # a tenth, and what may be saved up

    with_server(main)


def test_a_breaker_leaves_a_failing_upstream_alone_and_tries_it_again():
    async def main(server: Faulty) -> None:
        now = [100.0]
        spec = Upstream(name="giant", base_url=server.url("500"), allow_private=True, timing=QUICK, retries=0)
        upstream = open_upstream(spec, secret=str, price=lambda u: 0.0, clock=lambda: now[0])
        for _ in range(5):
            with pytest.raises(UpstreamError, match="said with 500"):
                await predicted(upstream)
        assert upstream.breaker.state == "open"
        with pytest.raises(UpstreamError, match="left alone") as caught:
            await predicted(upstream)
        assert (caught.value.http_status, caught.value.retryable) == (503, True)
        assert server.asked["500"] == 5
        now[0] += 1.5
        assert upstream.breaker.state == "half-open"
        with pytest.raises(UpstreamError, match="said with 500"):
            await predicted(upstream)
        now[0] += 1.5  # the pause has doubled
        assert upstream.breaker.state == "open"

    with_server(main)


def test_a_trial_that_succeeds_closes_the_breaker():
    async def main(server: Faulty) -> None:
        upstream = opened(server.url("ok"))
        for _ in range(5):
            upstream.breaker.bad()
        assert upstream.breaker.state == "open"
        await asyncio.sleep(1.1)
        assert (await predicted(upstream)).output == "card_arrival"
        assert upstream.breaker.state == "closed"

    with_server(main)


def test_a_full_upstream_makes_its_own_callers_wait_and_nobody_else():
    async def main(server: Faulty) -> None:
        full = opened(
            server.url("hang"), concurrency=2, timing=QUICK.model_copy(update={"first_token": 5.0, "total": 5.0})
        )
        waiting = [asyncio.ensure_future(predicted(full)) for _ in range(2)]
        await asyncio.sleep(0.05)
        other = opened(server.url("ok"))
        assert (await predicted(other)).output == "card_arrival"
        with pytest.raises(BusyError) as caught:
            await predicted(full)
        assert caught.value.retry_after >= 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        third = asyncio.ensure_future(predicted(full))  # their places are free again
        await asyncio.sleep(0.05)
        assert server.asked["hang"] == 3
        third.cancel()

    with_server(main)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_closes_the_upstreams_connection(stream: bool):
    async def main(server: Faulty) -> None:
        upstream = opened(server.url("stall" if stream else "hang"))
        task = asyncio.ensure_future(streamed(upstream) if stream else predicted(upstream))
        await asyncio.sleep(0.15)
        assert server.open_now == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert server.open_now == 0

    with_server(main)


def test_connections_are_kept_and_shared_by_upstreams_of_one_host():
    async def main(server: Faulty) -> None:
        one, other = opened(server.url("ok")), opened(server.url("announced"))
        for _ in range(5):
            await predicted(one)
            await predicted(other)
            await streamed(one)
        assert server.connections == 1

    with_server(main)


def test_a_kept_connection_that_died_is_replaced_without_a_word():
    async def main(server: Faulty) -> None:
        upstream = opened(server.url("close-idle"))
        for _ in range(6):
            assert (await predicted(upstream)).output == "card_arrival"
        assert server.asked["close-idle"] == 6

    with_server(main)


def test_an_answer_that_nobody_asked_for_reaches_nobody():
    async def main(server: Faulty) -> None:
        upstream, good = opened(server.url("unasked")), opened(server.url("ok"))
        for _ in range(3):
            assert (await predicted(upstream)).output == "card_arrival"
            assert (await predicted(good)).output == "card_arrival"

    with_server(main)


def test_tls_is_spoken_and_certificates_are_checked(tmp_path: Path):
    certificate, server_context = make_certificate(tmp_path)

    async def main() -> None:
        async with faulty(server_context) as server:
            trusting = Pool(tls=ssl.create_default_context(cafile=str(certificate)))
            for url, pool, words in (
                (server.url("ok", "localhost"), None, "certificate is not good"),
                (server.url("ok"), trusting, "certificate is not good"),  # another name than it is made out to
                (server.url("ok", "localhost").replace("https", "http"), None, "before it answered"),
            ):
                with pytest.raises(UpstreamError, match=words):
                    await predicted(opened(url, pool=pool))
            good = opened(server.url("ok", "localhost"), pool=trusting)
            assert (await predicted(good)).output == "card_arrival"
            assert (await streamed(good))[1] is None

    uvloop.run(main())


def test_a_handshake_that_never_ends_is_given_up():
    async def main() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        timing = QUICK.model_copy(update={"connect": 0.2})
        with pytest.raises(UpstreamError, match=r"no connection within 0\.2 seconds"):
            await predicted(opened(f"https://localhost:{port}/v1", timing=timing))
        server.close()

    uvloop.run(main())


@pytest.mark.parametrize("key", ["two\nlines", "sk-\r\nx-evil: 1", "schlüssel"])
def test_a_key_that_would_break_its_header_is_never_sent(key: str):
    async def main(server: Faulty) -> None:
        with pytest.raises(UpstreamError) as caught:
            await predicted(opened(server.url("ok"), key=key))
        assert caught.value.code == "upstream_key"
        assert key not in everything_in(caught.value)
        assert not server.asked

    with_server(main)


def test_a_key_is_read_when_it_is_needed():
    async def main(server: Faulty) -> None:
        now, keys = [0.0], ["sk-old"]
        spec = Upstream(name="giant", base_url=server.url("ok"), allow_private=True)
        upstream = open_upstream(spec, secret=lambda: keys[0], price=lambda u: 0.0, clock=lambda: now[0])
        for expected in ("sk-old", "sk-new"):
            keys[0] = expected
            now[0] += 2.0
            await predicted(upstream)
            assert f"authorization: Bearer {expected}\r\n".encode() in server.heads[-1]

    with_server(main)


def test_completions_and_embeddings_have_their_own_addresses():
    async def main(server: Faulty) -> None:
        upstream = opened(server.url("ok"), model="embed-1")
        asked = Request("", chat={"model": "x", "input": "hello", "stream": None}, endpoint="embeddings")
        (answer,) = await upstream.predict([asked])
        assert server.heads[-1].startswith(b"POST /ok/v1/embeddings HTTP/1.1\r\n")
        assert server.bodies[-1] == {"model": "embed-1", "input": "hello"}
        assert (answer.output, answer.usage) == (None, Usage(5, 0))
        assert b'"embedding"' in answer.reply

    with_server(main)


def test_a_date_says_when_to_come_again_too():
    from email.utils import format_datetime

    from sartor.gateway.retry import read_retry_after

    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < (read_retry_after(soon.encode()) or 0) <= 90
    assert [read_retry_after(v) for v in (None, b"", b"soon", b"nan", b"-5", b"7")] == [
        None,
        None,
        None,
        None,
        0.0,
        7.0,
    ]


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for localhost that vouches for itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "c.pem", folder / "k.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    return certificate, context
