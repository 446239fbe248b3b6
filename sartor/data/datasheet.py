"""The datasheet as one HTML page that needs no network, or as a part of another page. Shows figures, computes none."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from sartor.core.rows import SPLITS

STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--dim:#5b6470;--paper:#fff;--line:#d9dde3;--train:#3b6fb6;
--validation:#d08a1d;--test:#2f8f6b;--warn:#9a3412}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8eb;--dim:#9aa4b1;--paper:#14171a;--line:#333a42;--train:#7fb0f0;
--validation:#f0b860;--test:#6fd0a8;--warn:#fdba74}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--paper);max-width:60rem;
margin:2rem auto;padding:0 1rem}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
.wide{overflow-x:auto}th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--line);
vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.dim{color:var(--dim)}.warn{color:var(--warn)}svg{max-width:100%;height:auto}svg text{fill:var(--ink);font-size:11px}
.train{fill:var(--train)}.validation{fill:var(--validation)}.test{fill:var(--test)}
.key i{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
.key .train{background:var(--train)}.key .validation{background:var(--validation)}.key .test{background:var(--test)}
@media print{:root{color-scheme:light}}
"""
SHOWN = 60
"""Labels drawn; with more, the most and the least frequent halves."""


def datasheet_html(datasheet: Mapping[str, Any]) -> str:
    """A self-contained page of a datasheet (`datasheet.json`)."""
    title = f"Data of {escape(datasheet['task'])}"
    parts = [
        f"<h1>{title}</h1>",
        f"<p>{escape(datasheet['description'])}</p>" if datasheet["description"] else "",
        "".join(f'<p class="warn">{escape(warning)}</p>' for warning in datasheet["warnings"]),
        _section("Rows", _rows(datasheet)),
        _section("Labels", KEY + _labels(datasheet)),
        _section("Length of texts, in characters", KEY + _lengths(datasheet["length"])),
        _section("Sources", _sources(datasheet)),
        _section("What curation did", _curators(datasheet)),
        _section("Between training and test", _leaks(datasheet)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


KEY = '<p class="key dim">' + "".join(f'<i class="{split}"></i>{split}' for split in SPLITS) + "</p>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; columns that hold a number in the first row stand to the right."""
    right = [isinstance(value, int | float) for value in rows[0]] if rows else [False] * len(head)

    def line(values: Iterable[Any], tag: str) -> str:
        shown = (f"{v:,}" if isinstance(v, int | float) else escape(str(v)) for v in values)
        return "".join(f"<{tag}{' class=n' if r else ''}>{v}</{tag}>" for v, r in zip(shown, right, strict=True))

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{line(head, "th")}</tr></thead><tbody>{body}</tbody></table></div>'


def _rows(sheet: Mapping[str, Any]) -> str:
    def span(split: str) -> str:
        times = sheet["times"].get(split)
        return f"{times[0]} to {times[1]}" if times else ""

    rows = [
        (split, sheet["counts"][split], len(sheet["labels"][split]), sheet["groups"][split] or "", span(split))
        for split in SPLITS
    ]
    return _table(
        ("split", "rows", "labels", "groups", "time"),
        [*rows, ("quarantine", sheet["counts"]["quarantine"], "", "", "")],
    )


def _labels(sheet: Mapping[str, Any]) -> str:
    """Rows per label as lying bars, stacked by split."""
    totals = {
        label: [sheet["labels"][split].get(label, 0) for split in SPLITS]
        for split in SPLITS
        for label in sheet["labels"][split]
    }
    order = sorted(totals, key=lambda label: (-sum(totals[label]), label))
    left_out = max(len(order) - SHOWN, 0)
    shown = order if not left_out else [*order[: SHOWN // 2], *order[-SHOWN // 2 :]]
    most = max((sum(totals[label]) for label in shown), default=1)
    bars = []
    for i, label in enumerate(shown):
        y, x = 16 * i, 230.0
        bars.append(f'<text x="222" y="{y + 11}" text-anchor="end">{escape(_cut(label))}</text>')
        for split, n in zip(SPLITS, totals[label], strict=True):
            width = 420 * n / most
            bars.append(f'<rect class="{split}" x="{x:.1f}" y="{y + 2}" width="{width:.1f}" height="11"/>')
            x += width
        bars.append(f'<text x="{x + 5:.1f}" y="{y + 11}">{sum(totals[label]):,}</text>')
    note = f'<p class="dim">{left_out} labels in the middle are not drawn.</p>' if left_out else ""
    return _svg(720, 16 * len(shown), f"Rows of {len(order)} labels by split", bars) + note


def _lengths(length: Mapping[str, Any]) -> str:
    """Share of each split's rows per bin of length, as standing bars side by side."""
    edges, splits = length["edges"], length["splits"]
    shares = {split: [n / max(sum(splits[split]), 1) for n in splits[split]] for split in SPLITS}
    most = max((max(values) for values in shares.values()), default=0.0) or 1.0
    bars = []
    for i, edge in enumerate(edges):
        for j, split in enumerate(SPLITS):
            height = 150 * shares[split][i] / most
            x = 46 * i + 12 * j + 4
            bars.append(f'<rect class="{split}" x="{x}" y="{160 - height:.1f}" width="11" height="{height:.1f}"/>')
        bars.append(f'<text x="{46 * i + 4}" y="176">{edge}{"+" if i == len(edges) - 1 else ""}</text>')
    return _svg(46 * len(edges), 182, "Share of rows by length of text", bars)


def _svg(width: int, height: int, title: str, shapes: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"<title>{escape(title)}</title>{''.join(shapes)}</svg>"
    )


def _sources(sheet: Mapping[str, Any]) -> str:
    rows = [(s["title"], s["rows"], s["split"] or "divided here", s["licence"]) for s in sheet["sources"]]
    asked = ", ".join(sheet["licence"]["obligations"]) or "nothing"
    unknown = ", ".join(sheet["licence"]["unknown"])
    doubt = f'<p class="warn">Unknown licences: {escape(unknown)}.</p>' if unknown else ""
    return _table(("source", "rows", "split", "licence"), rows) + f"<p>The licences ask: {escape(asked)}.</p>{doubt}"


def _curators(sheet: Mapping[str, Any]) -> str:
    rows = []
    for step in sheet["curators"]:
        taken = ", ".join(f"{n:,} {reason}" for reason, n in step["taken"].items()) or "none"
        counts = {k: v for k, v in step["notes"].items() if isinstance(v, int | str) or (isinstance(v, dict) and v)}
        noted = "; ".join(f"{k.replace('_', ' ')}: {_flat(v)}" for k, v in counts.items())
        back = f"{len(step['put_back'])} put back by an edit" if step["put_back"] else ""
        rows.append((step["use"], taken, "; ".join(part for part in (noted, back) if part)))
    return _table(("curator", "rows taken out", "found"), rows)


def _flat(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _leaks(sheet: Mapping[str, Any]) -> str:
    leaks, test = sheet["leaks"], max(sheet["counts"]["test"], 1)
    near, inside = len(leaks["near_leaks"]), len(leaks["label_in_text"])
    rows = [(pair["test"], pair["train"], f"{pair['similarity']:.0%}") for pair in leaks["near_examples"]]
    says = (
        f"<p>{near:,} test rows ({near / test:.1%}) have a near copy in training (similarity "
        f"{leaks['near_threshold']:g} or more); {inside:,} ({inside / test:.1%}) contain the words of their own label. "
        "Metrics are given with and without them.</p>"
    )
    return says + (_table(("test row", "training row", "similarity"), rows) if rows else "")


def _cut(label: str) -> str:
    return label if len(label) <= 34 else label[:33] + "…"
