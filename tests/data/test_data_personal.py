"""Personal data: what has a check digit must pass it, what looks like it and is none stays."""

import json
import re
import time
from pathlib import Path

import pytest

from sartor.core.rows import Row
from sartor.data.curate import CURATORS
from sartor.data.curator import Bench, Curated
from sartor.data.personal import find, redact

FOUND = [
    ("mail bob.smith+x@ex-ample.co.uk now", "mail [EMAIL] now"),
    ("müller@bücher.example, ok", "[EMAIL], ok"),
    ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN [IBAN] please"),
    ("GB82WEST12345698765432", "[IBAN]"),
    ("fr14 2004 1010 0505 0001 3m02 606", "[IBAN]"),
    ("card 4111 1111 1111 1111.", "card [CARD]."),
    ("amex 378282246310005", "amex [CARD]"),
    ("from 192.168.0.12:8080", "from [IP]:8080"),
    ("at 2001:db8::8a2e:370:7334 now", "at [IP] now"),
    ("call +49 (0)30 1234567 or 0049 30 1234567", "call [PHONE] or [PHONE]"),
    ("(555) 123-4567 / 212-555-0123 / 030 1234 567", "[PHONE] / [PHONE] / [PHONE]"),
    ("my SSN is 123-45-6789", "my SSN is [US_SSN]"),
    ("see postgres://user:pw@host/db", "see [CREDENTIALS]/db"),
    ("IdNr 86 095 742 719", "IdNr [DE_STEUER_ID]"),
    ("DNI 12345678Z, NIE X1234567L", "DNI [ES_DNI], NIE [ES_DNI]"),
    ("PESEL 44051401359", "PESEL [PL_PESEL]"),
    ("CPF 111.444.777-35", "CPF [BR_CPF]"),
    ("NHS 943 476 5919", "NHS [UK_NHS]"),
    ("CF RSSMRA85T10A562S", "CF [IT_CODICE_FISCALE]"),
    ("NIR 1 84 12 76 451 089 46", "NIR [FR_NIR]"),
]
LEFT = [
    "card 4111 1111 1111 1112",
    "DE89 3704 0044 0532 0130 01",
    "000-12-3456 and 666-12-3456 and 900-12-3456",
    "12345678A",
    "44051401358",
    "111.444.777-36",
    "943 476 5918",
    "RSSMRA85T10A562T",
    "86095742718",
    "127.0.0.1 and 999.1.1.1",
    "at 12:30:45 on 2026-03-31",
    "31.12.2026 10:00",
    "EUR 1.234.567,89",
    "10 000 000 users",
    "2020-2021-2022",
    "v1.2.3",
    "order 1234567890",
    "@everyone, see you @ 5",
    "a::b and std::vector",
    "https://example.org/a@b",
    "top up 100 200 3000",
    "0000 0000 0000 0000",
]


@pytest.mark.parametrize(("text", "redacted"), FOUND)
def test_found_and_redacted(text: str, redacted: str) -> None:
    assert redact(text, find(text)) == redacted


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert find(text) == []


@pytest.mark.parametrize(
    "text", [text for text, redacted in FOUND if re.search(r"\[(IBAN|CARD|ES_DNI|PL_PESEL|BR_CPF|UK_NHS)\]", redacted)]
)
def test_one_digit_changed_is_no_longer_found_as_that(text: str) -> None:
    """Every check digit catches every single wrong digit; that is what it is for."""
    (first, *_) = find(text)
    for at in range(first.start, first.end):
        if text[at].isdigit():
            wrong = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
            assert (first.start, first.kind) not in [(f.start, f.kind) for f in find(wrong)]


HOSTILE = ["1 ", "a.", "a@b.", ":", " -1", "DE12 A", "a.a://", "x:y@", "00 4", "(0", "1.", "4111-1111-1111-1111 "]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_text_takes_no_more_time(piece: str) -> None:
    start = time.process_time()
    find(piece * (200_000 // len(piece)))
    assert time.process_time() - start < 2


def curate(rows: list[Row], **settings: object) -> Curated:
    curator = CURATORS.take("personal_data")
    result: Curated = curator(rows, curator.read(dict(settings)), Bench({}))
    return result


SECRET = Row(
    id="r0",
    text="call me at bob@example.org",
    label="x",
    inputs={"text": "call me at bob@example.org"},
    group="bob@example.org",
    extra={"note": "card 4111 1111 1111 1111"},
)


def test_redact_leaves_it_nowhere() -> None:
    result = curate([SECRET, Row(id="r1", text="fine", label="x")], action="redact")
    row, other = result.kept
    assert "example.org" not in str(row)
    assert "4111" not in str(row)
    assert row.text == "call me at [EMAIL]"
    assert other.text == "fine"
    assert result.notes["kinds"] == {"card": 1, "email": 1}
    assert result.notes["rows"] == 1


def test_drop_keeps_it_out_of_quarantine_too() -> None:
    result = curate([SECRET], action="drop")
    assert (result.kept, result.taken[0].detail) == ([], "card, email")
    assert "example.org" not in str(result)


def test_report_changes_nothing_and_repeats_nothing() -> None:
    result = curate([SECRET], kinds=("email",))
    assert result.kept == [SECRET]
    assert result.notes["kinds"] == {"email": 1}
    assert "bob" not in str(result.notes)


def test_presidio_finds_forms_without_a_network() -> None:
    pytest.importorskip("presidio_analyzer", reason="the extra 'pii' is not installed")
    (row,) = curate([SECRET], action="redact", engine="presidio").kept
    assert (row.text, row.extra["note"]) == ("call me at [EMAIL_ADDRESS]", "card [CREDIT_CARD]")


def test_real_requests_hold_none(data_folder: Path) -> None:
    lines = (data_folder / "clinc150" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    hits = [text for line in lines if find(text := json.loads(line)["text"])]
    assert len(hits) <= 5, hits
