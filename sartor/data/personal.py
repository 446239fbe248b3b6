"""Where personal data stands in a text: patterns whose hits are checked by their own check digits where they have any.

Finds what has a form: addresses, numbers, credentials. Finds no names, and is never proof that none are there.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
"""Check letters of the Spanish identity number, by remainder of 23."""
ALONE = r"(?<![\w.+-])(?<!\d )"
"""A phone number starts here only where no longer number runs on."""
IBAN_LENGTHS = {
    "AT": 20,
    "BE": 16,
    "BG": 22,
    "CH": 21,
    "CY": 28,
    "CZ": 24,
    "DE": 22,
    "DK": 18,
    "EE": 20,
    "ES": 24,
    "FI": 18,
    "FR": 27,
    "GB": 22,
    "GR": 27,
    "HR": 21,
    "HU": 28,
    "IE": 22,
    "IS": 26,
    "IT": 27,
    "LI": 21,
    "LT": 20,
    "LU": 20,
    "LV": 21,
    "MC": 27,
    "MT": 31,
    "NL": 18,
    "NO": 15,
    "PL": 28,
    "PT": 25,
    "RO": 24,
    "SE": 24,
    "SI": 19,
    "SK": 24,
    "AE": 23,
    "BR": 29,
    "IL": 23,
    "SA": 24,
    "TR": 26,
    "UA": 29,
}
CODICE_ODD = {
    **dict(zip("0123456789ABCDEFGHIJ", 2 * (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True)),
    **dict(zip("KLMNOPQRSTUVWXYZ", (2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23), strict=True)),
}
"""Values of the characters in odd places of an Italian tax code."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A stretch of text that is personal data."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Pattern:
    """What a kind of personal data looks like, and the test that a hit must pass."""

    kind: str
    regex: re.Pattern[str]
    check: Callable[[str], bool]

    def holds(self, hit: str) -> bool:
        """Whether a hit passes the test; one of digits or letters that the test does not know passes none."""
        try:
            return self.check(hit)
        except (ValueError, IndexError, KeyError):
            return False


def _pattern(kind: str, expression: str, check: Callable[[str], bool] = lambda _hit: True) -> Pattern:
    return Pattern(kind, re.compile(expression, re.IGNORECASE), check)


def digits_of(text: str) -> list[int]:
    """The digits of a text, in order."""
    return [int(c) for c in text if c.isdigit() and c.isascii()]


def luhn(text: str) -> bool:
    """Check digit of payment cards (ISO/IEC 7812-1)."""
    digits = digits_of(text)[::-1]
    doubled = sum(sum(divmod(2 * d, 10)) for d in digits[1::2])
    return len(digits) > 1 and len(set(digits)) > 1 and (sum(digits[::2]) + doubled) % 10 == 0


def card(text: str) -> bool:
    """A number of 13 to 19 digits that starts like a card and passes Luhn's check."""
    return 13 <= len(digits_of(text)) <= 19 and text.lstrip()[0] in "23456" and luhn(text)


def _iban_forms() -> str:
    """Country, two check digits, and as many characters as the country has, in groups or not."""
    lengths = sorted(set(IBAN_LENGTHS.values()))
    countries = {n: "|".join(sorted(c for c in IBAN_LENGTHS if IBAN_LENGTHS[c] == n)) for n in lengths}
    forms = [f"(?:{countries[n]})\\d{{2}}(?:[ -]?[A-Z0-9]){{{n - 4}}}" for n in lengths]
    return rf"\b(?:{'|'.join(forms)})\b"


def iban(text: str) -> bool:
    """Remainder 1 of 97 (ISO 13616)."""
    plain = re.sub(r"[\s-]", "", text).upper()
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def address(text: str) -> bool:
    """An IP address that can belong to somebody: neither loopback nor unspecified."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return False
    # `a::b` is valid, and in a text about programs no address.
    return not (parsed.is_loopback or parsed.is_unspecified) and len(digits_of(text)) > 0 and len(text) > 5


def ssn(text: str) -> bool:
    """US social security number: areas 000, 666 and 900 to 999, group 00 and serial 0000 were never given out."""
    area, group, serial = re.split(r"[- ]", text)
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def phone(text: str) -> bool:
    """Between 8 and 15 digits (ITU-T E.164), and not a date."""
    return 8 <= len(digits_of(text)) <= 15 and not re.match(r"\d{4}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{4}", text.strip())


def steuer_id(text: str) -> bool:
    """German tax number of persons: check digit by modulus 11, 10 (ISO/IEC 7064), one digit repeated."""
    digits = digits_of(text)
    repeats = sorted(digits[:10].count(d) for d in set(digits[:10]))
    if len(digits) != 11 or digits[0] == 0 or repeats[-1] not in (2, 3) or len(repeats) not in (8, 9):
        return False
    product = 10
    for digit in digits[:10]:
        product = 2 * ((digit + product) % 10 or 10) % 11
    return (11 - product) % 10 == digits[10]


def dni(text: str) -> bool:
    """Spanish identity number of residents (DNI) and foreigners (NIE)."""
    plain = re.sub(r"[\s-]", "", text).upper()
    return LETTERS[int(plain[:-1].translate(str.maketrans("XYZ", "012"))) % 23] == plain[-1]


def nir(text: str) -> bool:
    """French social security number: 13 digits and their complement to 97 (Corsica's 2A and 2B count as 19 and 18)."""
    plain = re.sub(r"\s", "", text).upper().replace("2A", "19").replace("2B", "18")
    return plain.isdigit() and len(plain) == 15 and 97 - int(plain[:13]) % 97 == int(plain[13:])


def codice_fiscale(text: str) -> bool:
    """Italian tax code: its last letter is the sum of tabled values, modulo 26."""
    plain = text.upper()
    even = sum(int(c, 36) - 10 if c.isalpha() else int(c) for c in plain[1:15:2])
    return chr(65 + (even + sum(CODICE_ODD[c] for c in plain[:15:2])) % 26) == plain[15]


def weighted(weights: tuple[int, ...], modulus: int, *, complement: bool) -> Callable[[str], bool]:
    """A check digit that is the weighted sum of the digits before it, or its complement, in a modulus."""

    def check(text: str) -> bool:
        digits = digits_of(text)
        total = sum(w * d for w, d in zip(weights, digits, strict=False)) % modulus
        return len(digits) == len(weights) + 1 and ((modulus - total) % modulus if complement else total) == digits[-1]

    return check


def pesel(text: str) -> bool:
    """Polish person number: a birth date with the century in the month, and a check digit."""
    digits = digits_of(text)
    month, day = 10 * digits[2] + digits[3], 10 * digits[4] + digits[5]
    return (
        1 <= month % 20 <= 12 and 1 <= day <= 31 and weighted((1, 3, 7, 9, 1, 3, 7, 9, 1, 3), 10, complement=True)(text)
    )


def cpf(text: str) -> bool:
    """Brazilian person number: two check digits, each by modulus 11 where a remainder of 10 counts as 0."""
    digits = digits_of(text)
    found = [sum((n + 1 - i) * d for i, d in enumerate(digits[:n])) * 10 % 11 % 10 for n in (9, 10)]
    return len(set(digits)) > 1 and found == digits[9:]


PATTERNS = (
    _pattern("credentials", r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://[^\s/:@]{1,256}:[^\s/@]{1,256}@[^\s/]{1,256}"),
    _pattern("email", r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])"),
    _pattern("iban", _iban_forms(), iban),
    _pattern("card", r"(?<![\d.,-])\d(?:[ -]?\d){12,18}(?![\d]|[.,-]\d)", card),
    _pattern("us_ssn", r"(?<![\d-])\d{3}([- ])\d{2}\1\d{4}(?![\d-])", ssn),
    _pattern("fr_nir", r"(?<!\d)[12] ?\d\d ?\d\d ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d(?!\d)", nir),
    _pattern("it_codice_fiscale", r"\b[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]\b", codice_fiscale),
    _pattern("es_dni", rf"\b(?:\d{{8}}|[XYZ]-?\d{{7}})-?[{LETTERS}]\b", dni),
    _pattern("br_cpf", r"(?<![\d.])\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)", cpf),
    _pattern("uk_nhs", r"(?<!\d)\d{3} \d{3} \d{4}(?!\d)", weighted((10, 9, 8, 7, 6, 5, 4, 3, 2), 11, complement=True)),
    _pattern("de_steuer_id", r"(?<![\d.,-])\d{2} ?\d{3} ?\d{3} ?\d{3}(?![\d]|[.,-]\d)", steuer_id),
    _pattern("pl_pesel", r"(?<![\d.,-])\d{11}(?![\d]|[.,-]\d)", pesel),
    _pattern("ip", r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)", address),
    _pattern("ip", r"(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])", address),
    _pattern("phone", rf"{ALONE}(?:\+|00)[1-9]\d{{0,2}}(?:[ .()/-]{{0,2}}\d){{6,12}}(?![\w])", phone),
    _pattern("phone", rf"{ALONE}\(\d{{2,5}}\)[ -]?\d{{3,4}}[ -]?\d{{3,5}}(?![\w-])", phone),
    _pattern("phone", rf"{ALONE}0[1-9]\d{{0,3}}[ /-]\d{{3,4}}[ -]?\d{{3,5}}(?![\w-])", phone),
    _pattern("phone", rf"{ALONE}[2-9]\d{{2}}([-.])[2-9]\d{{2}}\1\d{{4}}(?![\w-])", phone),
)
"""In order of trust: where two overlap, the earlier one counts. No repeat is unbounded: hostile texts cost no more."""


def _both(expression: str) -> tuple[re.Pattern[str], re.Pattern[bytes]]:
    """For any text, and for one that is ASCII."""
    return re.compile(expression), re.compile(expression.replace(r"\d", "[0-9]").encode())


_NUMBERS = _both(
    r"\d(?<!\d\d)(?:(?=(?:[ .()/-]{0,2}\d){7})(?:"
    r"(?<=[2-6])(?<![.,-].)(?:[ -]?\d){12}"  # card
    r"|(?<!-.)\d\d[- ]\d\d[- ]\d{4}"  # us_ssn
    r"|(?<=[12]) ?\d\d ?\d\d ?\d\d ?\d{3} ?\d{3} ?\d\d(?!\d)"  # fr_nir
    rf"|(?<!\w.)\d{{7}}-?(?i:[{LETTERS}])\b"  # es_dni
    r"|\d\d\.\d{3}\.\d{3}-\d\d"  # br_cpf
    r"|\d\d \d{3} \d{4}"  # uk_nhs
    r"|(?<![.,-].)\d ?\d{3} ?\d{3} ?\d{3}(?!\d)"  # de_steuer_id, pl_pesel
    r"|(?<=\+[1-9])|(?<=0)(?<![\w.+-].)(?:0[1-9]|[1-9]\d{0,3}[ /-]\d{3})"  # phone
    r"|(?<=\(.)\d{1,4}\)|(?<=[2-9])(?<![\w.+-].)\d\d[-.][2-9]\d\d[-.]\d{4}"
    r")|(?<=[12]) ?\d\d ?\d\d ?2(?i:[AB])"
    rf"|(?<=[xyzXYZ-].)\d{{6}}-?(?i:[{LETTERS}])\b)"
)
"""Where a number may begin that one of the patterns for numbers finds; none is shorter than eight digits but NIE's."""
_WORDS = _both(
    r"\d(?<=(?i:[A-Z]{2}).)(?:"
    rf"\d(?<!\w....)(?<=(?i:{'|'.join(IBAN_LENGTHS)})\d\d)(?:[ -]?(?i:[A-Z0-9])){{11}}"
    r"|\d(?i:[A-EHLMPRST])\d\d(?i:[A-Z])\d{3})"
)
"""Where the digits of an IBAN or of an Italian tax code may begin."""
_IP4 = _both(r"\.\d{1,3}\.\d{1,3}\.\d")
_IP6 = _both(r":(?::|(?:[0-9a-fA-F]{1,4}:){6})")
_FORM = bytes(0x30 if c in b"0123456789" else 0x61 if bytes([c]).isalpha() else c for c in range(256))
"""Each digit as `0` and each letter as `a`: the form of a text, in which plain searches see what could be there."""


def suspects(text: str) -> bool:
    """Whether a pattern could find something in a text; where this is False none does. Much cheaper than looking."""
    if "@" in text:
        return True
    if not text.isascii():  # which has digits and letters of other alphabets
        return any(marks.search(text) for marks, _ in (_NUMBERS, _WORDS, _IP4, _IP6))
    data = text.encode()
    if _IP4[1].search(data) or (b"::" in data.translate(None, b"0123456789abcdefABCDEF") and _IP6[1].search(data)):
        return True
    form = data.translate(_FORM)
    if (_word_with(b"aa00", form) or _word_with(b"aaaaaa00", form)) and _WORDS[1].search(data):
        return True
    if b"00000000" in _numbers(data, form) or b"-0000000" in form or _word_with(b"a0000000", form):
        return _NUMBERS[1].search(data) is not None
    return False


def _word_with(begin: bytes, form: bytes) -> bool:
    """Whether a word has such a beginning."""
    at = form.find(begin)
    while at > 0 and form[at - 1] in b"a0_":
        at = form.find(begin, at + 1)
    return at >= 0


def _numbers(data: bytes, form: bytes) -> bytes:
    """The form of a text without what may stand between the digits of one number, and without one time in seconds."""
    at = form.find(b"0000000000,")
    if at > 1 and data[at] != 0x30 and (form[at - 1] == 0x3A or form[at - 2 : at] == b": "):
        form = form[:at] + form[at + 10 :]
    return form.translate(None, b" .()/-")


def find(text: str) -> list[Finding]:
    """All findings in a text, left to right, none overlapping."""
    if not suspects(text):
        return []
    found: list[Finding] = []
    claimed = bytearray(len(text))
    for pattern in PATTERNS:
        for hit in pattern.regex.finditer(text):
            if not any(claimed[hit.start() : hit.end()]) and pattern.holds(hit[0]):
                claimed[hit.start() : hit.end()] = b"\1" * (hit.end() - hit.start())
                found.append(Finding(hit.start(), hit.end(), pattern.kind))
    return sorted(found)


def redact(text: str, found: Iterable[Finding]) -> str:
    """The text with every finding replaced by its kind, as in `[EMAIL]`."""
    for finding in sorted(found, reverse=True):
        text = f"{text[: finding.start]}[{finding.kind.upper()}]{text[finding.end :]}"
    return text
