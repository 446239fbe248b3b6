import html
import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.records import Metric
from sartor.evaluation.report import words
from sartor.evaluation.report.charts import Point, Scale, Whisker, frontier, reliability, ticks, unbeaten, whiskers
from sartor.evaluation.report.markup import Safe, escape, join, soft, tag

FINITE = st.floats(-1e9, 1e9)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "€0"), (1240.4, "€1,240"), (-3.1, "−€3.10"), (0.000012, "€0.000012"), (0.05, "€0.050"), (12, "€12.00"),
        (None, "not measured"), (math.nan, "not measured"), (math.inf, "not measured"), (-0.0, "€0"),
    ],
)  # fmt: skip
def test_money(value, said):
    assert words.money(value, "EUR") == said


def test_money_without_a_symbol_names_its_currency():
    assert words.money(3.5, "CHF", signed=True) == "+3.50\u202fCHF"


@pytest.mark.parametrize(
    ("value", "said"),
    [(100.0, "€100"), (2.5, "€2.5"), (0.0010, "€0.001"), (1000.0, "€1,000"), (20.0, "€20"), (0, "€0")],
)
def test_ticks_of_money_are_short(value, said):
    assert words.round_money(value, "EUR") == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (1.0, 2.0, "between €1.00 and €2.00"),
        (-2.0, -1.0, "between €1.00 and €2.00"),
        (-5.0, 0.4, "between €5.00 lost and €0.40 saved"),
        (None, 1.0, ""),
    ],
)
def test_the_range_of_a_saving(low, high, said):
    assert words.reach(low, high, "EUR") == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.2, "on the first day"),
        (1.0, "1 day"),
        (8.2, "9 days"),
        (150, "5 months"),
        (1000, "2.7 years"),
        (None, "never"),
    ],
)
def test_payback(value, said):
    assert words.days(value) == said


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (words.seconds(200), "3\u202fmin 20\u202fs"), (words.seconds(3900), "1\u202fh 5\u202fmin"),
        (words.seconds(0.012), "0.012\u202fs"), (words.size(4_210_000), "4.2\u202fMB"), (words.size(420), "420\u202fB"),
        (words.milliseconds(0.21), "0.210\u202fms"), (words.share(0.9393), "93.9\u202f%"),
        (words.points(-0.0481), "−4.8"),
        (words.rows(1), "1 row"), (words.rows(3080), "3,080 rows"), (words.round_share(0.925), "92.5\u202f%"),
    ],
)  # fmt: skip
def test_other_figures(shown, said):
    assert shown == said


def test_a_metric_is_shown_in_its_unit():
    assert words.figure("macro_f1", Metric(value=0.5), "EUR") == "50.0\u202f%"
    assert words.figure("money", Metric(value=0.5), "EUR") == "€0.50"
    assert words.figure("perplexity", Metric(value=3.25, unit="nats"), "EUR") == "3.250\u202fnats"
    assert words.interval("accuracy", Metric(value=0.5, low=0.4), "EUR") == ""


def test_text_is_cut_at_a_word():
    assert words.shorten("one two three", 9) == "one two …"
    assert words.shorten("a\n  b") == "a b"
    assert len(words.shorten("x" * 999)) < 200


@given(st.text())
def test_no_text_can_leave_its_element(text):
    shown = tag("b", text, title=text)
    assert isinstance(shown, Safe)
    assert re.fullmatch(r'<b title="[^"<>]*">[^<>]*</b>', shown, re.DOTALL)
    shown.encode()


def test_markup_is_not_escaped_twice_and_nothing_leaves_no_trace():
    assert join(tag("b", "<"), None, "&", 3) == "<b>&lt;</b>&amp;3"
    assert isinstance(escape("<"), Safe)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("a", {"onclick": "x"}),
        ("a", {"style": "x"}),
        ("a", {"a b": "x"}),
        ("script", {}),
        ("a b", {}),
        ("a", {"OnLoad": 1}),
    ],
)
def test_dangerous_markup_is_refused(name, attributes):
    with pytest.raises(ValueError, match="may not be written"):
        tag(name, **attributes)


@given(FINITE, FINITE)
def test_ticks_enclose_the_values_and_are_few(a, b):
    low, high = min(a, b), max(a, b)
    marks = ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), 1.0)
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack
    assert 2 <= len(marks) <= 8
    assert marks == sorted(set(marks))


@given(FINITE)
def test_a_scale_never_leaves_its_ends(value):
    assert 2 <= Scale(0, 10, 2, 98).at(value) <= 98


def test_a_whisker_stands_where_its_figures_say():
    drawn = whiskers(
        [Whisker("a", 50, 0, 100, "picked"), Whisker("b", None)], str, tick=str, name="n", title="T & T"
    )  # fmt: skip
    assert '<circle class="mark picked" cx="50.00%"' in drawn
    assert 'x1="2.50%" x2="97.50%"' in drawn
    assert '<title id="n-title">T &amp; T</title>' in drawn
    assert "a: 50, between 0 and 100; b: not measured" in drawn


def test_the_frontier_keeps_what_nothing_beats():
    a, b, c, d = Point("a", 1, 0.8), Point("b", 2, 0.7), Point("c", 3, 0.9), Point("d", 1, 0.5)
    assert unbeaten([c, d, b, a]) == [a, c]


def test_a_free_candidate_stands_at_the_left_end_and_labels_stay_apart():
    points = [Point(f"p{i}", 0.0 if i == 0 else 1.0, 0.9 + i / 10_000) for i in range(6)]
    drawn = frontier(points, str, str, name="n", title="t")
    places = [float(y) for y in re.findall(r'class="label other" y="([\d.]+)"', drawn)]
    assert len(places) == 6
    assert 'cx="10.00%"' in drawn
    assert all(b - a >= 19.9 for a, b in itertools.pairwise(sorted(places)))


def test_bins_on_the_diagonal_stand_on_the_drawn_diagonal():
    drawn = reliability([(0.5, 0.5, 10, None, None)], name="n", title="t")
    assert 'cx="53.00%" cy="132"' in drawn
    assert "confidence 50\u202f%: 50\u202f% right in 10 rows" in drawn


@given(st.text(alphabet="ab_&<:.-; 1"))
def test_soft_breaks_change_no_character(text):
    shown = soft(text)
    assert html.unescape(shown.replace("<wbr>", "")) == text
    assert not re.search(r"&[#\w]*<wbr>", shown)


def test_long_names_may_break():
    assert soft("card_payment") == "card_<wbr>payment"
    assert soft("€0.05") == "€0.05"


def test_columns_count_the_rows_of_each_tenth():
    drawn = reliability(
        [(0.05, 0.1, 10, None, None), (1.0, 0.9, 30, 0.8, 1.0), (0.91, 0.9, 10, 0.8, 1.0)], name="n", title="t"
    )
    assert re.findall(r'class="column" x="([\d.]+)%" y="[\d.]+" width="8.00%" height="([\d.]+)"', drawn) == [
        ("9.40", "11"),
        ("88.60", "44"),
    ]
