import base64
import hashlib
import html.parser
import itertools
import re

import pytest
from report_sample import VIEW, candidate, sample, share

from sartor.core.licence import Licence
from sartor.core.records import Check, Metric
from sartor.evaluation.report.render import SECTIONS, render
from sartor.evaluation.report.view import (
    CandidateView,
    ConfusionView,
    FlipView,
    LineageView,
    ReportView,
    SliceView,
    TaskView,
    VerdictView,
)

VOID = {"meta", "br", "hr"}
ATTACK = "\"'><img src=x onerror=alert(1)></title></style></script><script>alert(1)</script>&amp;\x00\ud800"


class Outline(html.parser.HTMLParser):
    """Elements, attributes and words of a document; fails on an element that is not closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text.replace("<wbr>", ""))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def named(self, *tags: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.elements if tag in tags]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def page() -> Outline:
    return Outline(render(VIEW))


def test_every_section_stands_in_order_and_in_the_contents(page):
    anchors = [a["id"] for a in page.named("section")]
    assert anchors == ["verdict", *(anchor for anchor, _, _ in SECTIONS)]
    assert [a["href"] for a in page.named("a")] == ["#verdict", *(f"#{anchor}" for anchor, _, _ in SECTIONS)]


@pytest.mark.parametrize(
    "said",
    [
        "SHIP", "Put blend in the place of gpt-4 (recorded) .", "€88.40", "between €79.30 and €97.50", "€5,304",
        "at 60,000 requests a month", "on the first day", "Calibration error 1.6 %", "€43.10", "93.9\u202f%",
        "conflicting labels", "13,083 rows were read; 13,012 are used", "looked at twice", "all-MiniLM-L6-v2",
        "Name the authors", "sartor decide --replay", "2 cores, x86-64", "less than 0.0001", "0.0213",
        "None of these slices", "no valid answer", "93.8\u202f% (93.0\u202f% to 94.7\u202f%)",
    ],
)  # fmt: skip
def test_the_page_says(page, said):
    assert said.replace("\u202f", " ") in page.text.replace("\u202f", " ")


def test_the_page_needs_nothing_else(page):
    raw = render(VIEW)
    loading = ("script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use", "foreignobject")
    assert page.named(*loading) == []
    assert not re.search(r"https?:|url\(|@import|data:", raw)
    for _, attributes in page.elements:
        assert not [a for a in attributes if a.startswith("on") or a in {"style", "src"}]


def test_the_policy_allows_this_style_sheet_and_nothing_more(page):
    raw = render(VIEW)
    policy = next(a["content"] for a in page.named("meta") if a.get("http-equiv"))
    style = re.search(r"<style>(.*)</style>", raw, re.DOTALL)
    assert style is not None
    mark = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{mark}'; base-uri 'none'; form-action 'none'"


def changed(candidate: CandidateView, **changes: object) -> CandidateView:
    return candidate.model_copy(update=changes)


def hostile() -> ReportView:
    """A view in which every word that a user can write is an attack."""
    attack = Metric(value=1.0, unit=ATTACK, note=ATTACK)
    return sample(
        task=TaskView(name=ATTACK, description=ATTACK, currency=ATTACK),
        candidates=(candidate(ATTACK, 0.9, 40, recipe=ATTACK, base=ATTACK, picked=True, unit_cost=0.1, note=ATTACK),
                    changed(candidate("b", 0.8, 50, unit_cost=0.2), metrics={ATTACK: attack})),
        verdict=VerdictView(verdict="ship", candidate=ATTACK, incumbent=ATTACK, reasons=(ATTACK,)),
        checks=(Check(name=ATTACK, outcome="fail", says=ATTACK),),
        confusions=(ConfusionView(true=ATTACK, answer=ATTACK, n=1),),
        slices=(SliceView(column=ATTACK, value=ATTACK, n=1, accuracy=share(1, 1)),),
        flips=(FlipView(text=ATTACK, kind="broken", true=ATTACK, before=ATTACK, after=None),),
        flip_counts={ATTACK: 1},
        lineage=(LineageView(role=ATTACK, name=ATTACK, digest=ATTACK, licence=ATTACK, detail=ATTACK),),
        licence=Licence.of(ATTACK),
        environment={ATTACK: ATTACK},
        measuring=ATTACK,
    )  # fmt: skip


def test_what_users_write_is_inert():
    raw = render(hostile())
    page = Outline(raw)
    assert "<img" not in raw
    assert "<script" not in raw
    assert "\x00" not in raw
    raw.encode()
    assert page.named("img", "script") == []
    assert page.text.count("<img src=x onerror=alert(1)>") > 25


def test_verdicts_differ_in_words_and_shape_not_only_in_colour():
    shapes = set()
    for verdict, word in (("ship", "SHIP"), ("hold", "HOLD"), ("need_data", "NEED DATA")):
        raw = render(sample(verdict=VerdictView(verdict=verdict, candidate="blend", incumbent="live", rows_needed=214)))
        assert f"<title>{word}:" in raw
        assert f"</svg>{word}</h2>" in raw
        shapes.add(re.search(r'<path d="([^"]+)"', raw)[1])
        assert ("About 214 more labelled rows" in raw) is (verdict == "need_data")
    assert len(shapes) == 3


def test_a_loss_is_named_a_loss():
    lost = VerdictView(
        verdict="hold", candidate="b", incumbent="a", saved_per_1000=Metric(value=-2.1, low=-5.0, high=0.4),
        saved_per_month=Metric(value=-126.0),
    )  # fmt: skip
    text = Outline(render(sample(verdict=lost))).text
    assert "Lost per 1,000 requests €2.10 between €5.00 lost and €0.40 saved" in text
    assert "Paid back never" in text


def test_the_smallest_view_draws_and_says_what_is_missing():
    bare = ReportView(
        task=TaskView(name="t"),
        candidates=(changed(candidate("a", 0.9, 1), money=Metric(value=None, note="no truth"), metrics={}),),
        verdict=VerdictView(verdict="hold"),
    )  # fmt: skip
    page = Outline(render(bare))
    assert [a["id"] for a in page.named("section")] == ["verdict", "candidates"]
    for said in ("No candidate could be picked", "not measured", "no truth", "Saved per 1,000 requests not known"):
        assert said in page.text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_figure_that_is_not_finite_is_never_drawn(value):
    figure = Metric(value=value, low=value, high=value)
    broken = changed(candidate("x", 0.9, 1.0, unit_cost=value), money=figure, metrics={"accuracy": figure})
    raw = render(sample(candidates=(broken, *VIEW.candidates), checks=(Check(name="x", outcome="unknown", says="?"),)))
    assert not re.search(r'="[^"]*(nan|inf)\b', raw, re.IGNORECASE)
    assert "not measured" in raw
    assert "What is not known counts as not passed" in raw


def test_headings_do_not_skip_a_level_and_there_is_one_title(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_landmarks_captions_and_spoken_charts(page):
    assert all(len(page.named(tag)) == 1 for tag in ("header", "main", "nav", "footer"))
    assert len(page.named("caption")) == len(page.named("table"))
    ids = [a["id"] for _, a in page.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    charts = page.named("svg")
    drawn = [a for a in charts if a.get("role") == "img"]
    assert len(drawn) == 4
    for attributes in drawn:
        assert {attributes["aria-labelledby"], attributes["aria-describedby"]} <= set(ids)
    assert all(a.get("aria-hidden") == "true" for a in charts if a.get("role") != "img" and a.get("class") != "at")


def test_a_worse_slice_comes_first_and_a_worn_test_set_is_warned_of():
    worse = SliceView(column="channel", value="fax", n=5, accuracy=share(0.5, 0.1), outcome="worse")
    text = Outline(render(sample(slices=(*VIEW.slices, worse), looks=9))).text
    assert "1 of these slices got worse" in text
    assert text.index("fax") < text.index("e-mail")
    assert "slowly becomes a training set" in text


def test_a_long_table_is_folded_not_cut(page):
    assert "3 more" in page.text
    assert page.text.count("€4.00") >= 3


def test_the_json_report_reads_back_the_same():
    assert ReportView.model_validate_json(VIEW.to_json()) == VIEW
    nan = sample(verdict=VIEW.verdict.model_copy(update={"made_for": float("nan")}))
    assert ReportView.model_validate_json(nan.to_json()).verdict.made_for is None


def test_the_same_view_gives_the_same_bytes():
    assert render(VIEW) == render(ReportView.model_validate_json(VIEW.to_json()))
