"""Find personal data in texts and other columns; report, redact, or take the rows out.

Put it right after `normalise`: what was taken out before it stands in quarantine as it came. Of the rows that it sees,
`drop` and `redact` leave nothing that was found in any column, and the datasheet holds counts only.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from sartor.core.canonical import sha256
from sartor.core.rows import Row
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data import personal
from sartor.data.curator import Bench, Curated, Taken
from sartor.data.personal import Finding

Find = Callable[[str], list[Finding]]


class Params(Settings):
    """How it is found, and what is done."""

    action: Literal["report", "redact", "drop"] = "report"
    """redact puts the kind in its place, as in [EMAIL]; drop takes the rows to quarantine."""
    engine: Literal["patterns", "presidio"] = "patterns"
    """patterns: own ones, with check digits; presidio: its recognisers without a language model (extra `pii`)."""
    kinds: tuple[str, ...] = ()
    """Only these kinds, e.g. email, phone, iban, card; empty: all."""


@plugin
def personal_data(rows: list[Row], params: Params, bench: Bench) -> Curated:
    """Look through the text, the input columns and all other columns of every row."""
    find = _only(_presidio() if params.engine == "presidio" else personal.find, params.kinds)
    kept: list[Row] = []
    taken: list[Taken] = []
    kinds: Counter[str] = Counter()
    concerned = 0
    for done, row in enumerate(rows):
        if done % 5000 == 0:
            bench.progress("personal_data", done, len(rows))
        met: Counter[str] = Counter()
        clean = _redacted(row, find, met)
        kinds += met
        concerned += bool(met)
        if not met or params.action == "report":
            kept.append(row)
        elif params.action == "redact":
            kept.append(clean)
        else:
            taken.append(Taken(clean, "personal data", ", ".join(sorted(met))))
    notes = {"rows": concerned, "kinds": dict(sorted(kinds.items())), "note": "Forms only: no names are looked for."}
    return Curated(kept, taken, notes)


def _redacted(row: Row, find: Find, met: Counter[str]) -> Row:
    def clean(text: str) -> str:
        found = find(text)
        met.update(f.kind for f in found)
        return personal.redact(text, found) if found else text

    def cleaned(columns: Mapping[str, str]) -> dict[str, str]:
        return {name: clean(value) for name, value in columns.items()}

    # The text is made of the inputs, so the same hit is met twice: what stands in the inputs is not counted again.
    text = clean(row.text)
    before = met.copy()
    inputs = cleaned(row.inputs)
    met.clear()
    met.update(before)
    # A group must stay apart from other groups, so it is replaced by a digest.
    group = f"group-{sha256(row.group.encode())[:12]}" if row.group and find(row.group) else row.group
    return replace(row, text=text, inputs=inputs, extra=cleaned(row.extra), group=group)


def _only(find: Find, kinds: tuple[str, ...]) -> Find:
    if not kinds:
        return find
    wanted = {kind.lower() for kind in kinds}
    return lambda text: [f for f in find(text) if f.kind in wanted]


def _presidio() -> Find:
    """Presidio's recognisers on a blank language model: it finds forms, no names, and asks no network."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    language: Any = SpacyNlpEngine()
    # Presidio brings these two; they are looked for after it, so that what is missing is called by its name.
    import spacy
    import tldextract.tldextract as domains

    # Its e-mail recogniser would otherwise fetch the list of public suffixes; the bundled one is enough.
    domains.TLD_EXTRACTOR = domains.TLDExtract(suffix_list_urls=(), cache_dir=None)
    language.nlp = {"en": spacy.blank("en")}
    engine = AnalyzerEngine(nlp_engine=language, supported_languages=["en"])

    def find(text: str) -> list[Finding]:
        hits = sorted(
            engine.analyze(text, language="en", score_threshold=0.4), key=lambda h: (-h.score, h.start, -h.end)
        )
        found: list[Finding] = []
        for hit in hits:
            if all(hit.end <= f.start or hit.start >= f.end for f in found):
                found.append(Finding(hit.start, hit.end, hit.entity_type.lower()))
        return sorted(found)

    return find
