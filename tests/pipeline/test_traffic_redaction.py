"""Redaction that mostly looks at a body as one text finds what looking closely at each of its texts finds."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sartor.data import personal
from sartor.pipeline.traffic import redact
from sartor.store.traffic.treatment import redacted

SAMPLES = (
    "bob.smith+x@ex-ample.co.uk",
    "müller@bücher.example",
    "DE89 3704 0044 0532 0130 00",
    "GB82WEST12345698765432",
    "no9386011117947",
    "4111 1111 1111 1111",
    "378282246310005",
    "192.168.0.12",
    "2001:db8::8a2e:370:7334",
    "2001:db8:1:2:3:8a2e:370:7334",
    "+49 (0)30 1234567",
    "0049 30 1234567",
    "004930123456",
    "(555) 123-4567",
    "(030)1234-567",
    "212-555-0123",
    "212.555.0123",
    "030 1234 567",
    "030/1234567",
    "123-45-6789",
    "postgres://user:pw@host/db",
    "86 095 742 719",
    "86095742719",
    "12345678Z",
    "X1234567L",
    "x-1234567-l",
    "44051401359",
    "111.444.777-35",
    "943 476 5919",
    "RSSMRA85T10A562S",
    "1 84 12 76 451 089 46",
    "184127645108946",
    "1 84 12 2A 451 089 33",
    "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u0661\u0662",
    "S\u0130891234567890123456",
    "1795623877",
    ": 1795623877,",
    ": 0049301234,",
    "12:30:45",
    "0f3a98e87654321001aa99bb12345678",
)
GLUE = ("", *' \n\t\bn_-.,:@+07a/\\"é(', "::", "00", "e9")
GLUED = (*GLUE, *"0123456789", *": ,.-/")
TEXTS = st.one_of(
    st.lists(st.sampled_from(SAMPLES + GLUE), max_size=5).map("".join),
    st.tuples(st.sampled_from(GLUE), st.sampled_from(personal.PATTERNS), st.sampled_from(GLUE)).flatmap(
        lambda parts: st.from_regex(parts[1].regex, fullmatch=True).map(lambda hit: parts[0] + hit + parts[2])
    ),
    st.lists(st.sampled_from(GLUED), max_size=24).map("".join),
    st.text(max_size=8),
)
BODIES = st.recursive(
    st.one_of(TEXTS, st.integers(0, 10**19), st.sampled_from((4111111111111111, 86095742719, 0.12345678, None))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
WRITTEN = st.builds(
    lambda body, plain, tight: json.dumps(body, ensure_ascii=plain, separators=(",", ":") if tight else None),
    BODIES,
    st.booleans(),
    st.booleans(),
)


def closely(text: str) -> str:
    """As `redact`, with every pattern tried on every text."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(personal, "suspects", lambda _: True)
        return personal.redact(text, personal.find(text))


def same(data: bytes) -> None:
    assert redacted(data, redact) == redacted(data, closely)


@settings(max_examples=600, deadline=None, database=None, derandomize=True)
@given(WRITTEN, st.sampled_from(("", "x", "]", ",NaN", "\\")), st.sampled_from(("\\u0040", "\\/", "\\n", "")))
def test_a_body_is_redacted_as_if_each_of_its_texts_was_looked_at_closely(body: str, tail: str, escape: str) -> None:
    """JSON, what is nearly JSON, and JSON that writes a character in another way."""
    same((body + tail).encode("utf-8", "surrogatepass"))
    if escape:
        plain = {"\\u0040": "@", "\\/": "/", "\\n": "\\t"}[escape]
        same(body.replace(plain, escape).encode("utf-8", "surrogatepass"))


@settings(max_examples=600, deadline=None, database=None, derandomize=True)
@example(": 0049301234,")
@given(TEXTS)
def test_a_text_without_suspicion_has_no_finding(text: str) -> None:
    assert closely(text) == text or personal.suspects(text)


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("written", ["%s", "%s.", "a %s b", "\n%s\n", "(%s)", "\\%s", "_%s", "n%s"])
def test_each_kind_in_each_place(sample: str, written: str) -> None:
    text = written % sample
    for body in ({"a": [{"content": text}]}, {text: 1}, text):
        for plain in (True, False):
            same(json.dumps(body, ensure_ascii=plain).encode())


@pytest.mark.parametrize(
    "body",
    [
        r'{"a":"call 030\/1234567"}',
        r'{"a":"C:\\no9386011117947"}',
        r"C:\no9386011117947",
        r'{"a":"12345678\u005a"}',
        r'{"a":"say \"12345678Z\""}',
        '{"a":"٣٣ 12345678Z, Köln"}',
        '{"a":"Sı89 1234 5678 9012 345"}',
    ],
)
def test_writings_that_hide_or_make_a_finding(body: str) -> None:
    same(body.encode())
    assert redacted(body.encode(), redact) != body.encode() or "ı" in body


def test_numbers_of_json_are_no_texts() -> None:
    body = b'{"created":4111111111111111,"n":[86095742719,1795623877]}'
    assert redacted(body, redact) == body
    assert redacted(body[:-1], redact) != body[:-1]


def test_an_ordinary_answer_is_never_parsed() -> None:
    body = b'{"id":"chatcmpl-0f3a98e8b7c6d5e4f3a21b0c9d8e7f6a","created":1795623877,"usage":{"total_tokens":32}}'
    asked: list[str] = []
    watched = type(redact)(lambda text: asked.append(text) or text, redact.suspects)
    assert redacted(body, watched) is body
    assert redacted(body.replace(b"32", b'"\\u0040"'), watched)
    assert "@" in asked


def test_digits_of_other_alphabets_break_nothing() -> None:
    for digits in ("\u0661" * 11, "\u0967" * 13, "S\u013012" + "A" * 15, "RSSMRA\u0668\u0665T10A562S"):
        assert isinstance(redact(digits), str)
    assert redact("\u0661" * 11 + " bob@example.org") == "\u0661" * 11 + " [EMAIL]"
