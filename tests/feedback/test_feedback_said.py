"""Whose word counts, how far each source can be trusted, and that nobody's word is most of what is learned."""

import random

import pytest

from sartor.core.section import Section
from sartor.core.task import FeedbackMetric
from sartor.core.traffic import Exchange, Feedback, HopRow
from sartor.core.wheel import Harvest, Relabel
from sartor.feedback.caps import LEAST, Entry, cap
from sartor.feedback.noise import ENOUGH_RANDOM, STRENGTH, estimate
from sartor.feedback.said import hear, judge

LABELS = ("card", "cash", "loan")
METRICS = {
    "queue": FeedbackMetric(type="label"),
    "resolved": FeedbackMetric(type="boolean"),
    "reopened": FeedbackMetric(type="boolean", better="lower"),
}
TRUST = Harvest().trust
OWN = "f" * 64


def exchange(answer="card", giant="", number=1):
    hops = [HopRow(OWN, "local", 1, label=answer)] + ([HopRow("gpt-4", "upstream", 9, label=giant)] if giant else [])
    return Exchange(f"chatcmpl-{number}", 1.0, "t", "k", "r", "m", label=giant or answer, variant=OWN, hops=hops)


def said(metric, value, who="", at=2.0, source="human", **more):
    facts = {"id": f"f-{metric}-{value}-{who}-{at}-{source}", "at": at, "tenant": "t", "metric": metric, "value": value}
    return Feedback(**facts, source=source, source_id=who, **more)


def verdict(*feedback, answer="card", giant="", trust=TRUST):
    return judge(hear(exchange(answer, giant), feedback, LABELS, METRICS).words, trust)


CASES = [
    ("a demonstration names the label", (said("demonstration", "cash"),), "cash", "human"),
    ("a metric of type label does too", (said("queue", "loan", source="outcome"),), "loan", "outcome"),
    ("correct confirms the answer", (said("correct", True),), "card", "human"),
    ("people before outcomes", (said("queue", "loan", source="outcome"), said("demonstration", "cash")),
     "cash", "human"),
    ("implicit outcomes confirm", (said("resolved", True, source="outcome"),), "card", "outcome"),
    ("in their own direction", (said("reopened", False, source="outcome"),), "card", "outcome"),
    ("a name may change its mind", (said("demonstration", "cash", "ann"), said("demonstration", "loan", "ann", 3.0)),
     "loan", "human"),
    ("wrong, and what is right", (said("correct", False, "ann", 3.0), said("demonstration", "cash", "ann")),
     "cash", "human"),
    ("who settles decides", (said("demonstration", "cash", "ann"), said("demonstration", "loan", "bob"),
                             said("demonstration", "loan", "eve", 4.0, tags={"settles": "yes"})), "loan", "human"),
]  # fmt: skip


@pytest.mark.parametrize(("feedback", "label", "by"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_whose_word_counts(feedback, label, by):
    found = verdict(*feedback)
    assert (found.label, found.word.by, found.conflict) == (label, by, ())


def test_a_barred_label_is_never_learned():
    assert verdict(said("correct", False), answer="card").label == ""
    assert verdict(said("correct", False), answer="card").barred == ("card",)
    # The giant agrees with what a person called wrong: nobody knows better.
    assert verdict(said("correct", False), answer="card", giant="card").label == ""
    heard = hear(exchange("card", "cash"), [said("correct", False)], LABELS, METRICS)
    # What went out was the giant's answer; ours was another, but nobody trusts us here.
    assert judge(heard.words, TRUST).label == ""
    assert judge(heard.words, (*TRUST, "own")).label == "card"


def test_contradictions_decide_nothing():
    two = (said("demonstration", "cash", "ann"), said("demonstration", "loan", "bob"))
    assert {word.label for word in verdict(*two).conflict} == {"cash", "loan"}
    assert verdict(*two, giant="card").label == ""
    assert verdict(said("correct", True, "ann"), said("correct", False, "bob")).conflict
    # Senders without a name are not the same one.
    assert verdict(said("demonstration", "cash"), said("demonstration", "loan", at=3.0)).conflict


def test_models_count_where_nobody_spoke_and_our_own_only_when_asked_for():
    assert verdict(giant="cash").label == "cash"
    assert verdict(giant="cash").word.who == "giant:gpt-4"
    assert verdict(answer="card").label == ""
    assert verdict(answer="card", trust=(*TRUST, "own")).word.by == "own"


def test_what_is_no_label_is_told_and_old_names_follow_the_edits():
    heard = hear(exchange(), [said("demonstration", "crad"), said("demonstration", "visa", at=3.0)], LABELS, METRICS)
    assert heard.unknown == ("crad", "visa")
    assert judge(heard.words, ("human",)).label == ""
    edits = (Relabel(merge=("visa",), into=("card",)),)
    now = hear(exchange(), [said("demonstration", "visa")], LABELS, METRICS, edits)
    assert (judge(now.words, TRUST).label, now.unknown) == ("card", ())


def test_noise_is_measured_on_people_and_shrunk():
    draw, heard = random.Random(0), []
    for number in range(400):
        truth = LABELS[number % 3]
        giant = truth if draw.random() < 0.9 else LABELS[(number + 1) % 3]
        judged = draw.random() < 0.95
        feedback = [said("demonstration", truth, "ann")] if number < 300 else []
        feedback += [said("correct", (giant == truth) is judged, "j1", source="judge")]
        one = hear(exchange("card", giant, number), feedback, LABELS, METRICS)
        heard.append((one.words, judge(one.words, ("human", "outcome"))))
    found = estimate(heard)
    giant, judge_ = found["giant:gpt-4"], found["judge:j1"]
    assert giant.n == 300
    assert giant.basis == "all"
    assert giant.low < 0.9 < giant.high
    assert abs(giant.accuracy - 0.9) < 0.04
    assert judge_.informedness == pytest.approx(0.9, abs=0.1)
    assert found["human:ann"].basis == "prior"
    named, right = giant.by_label["card"]
    assert giant.sure("card") == pytest.approx((right + STRENGTH * giant.accuracy) / (named + STRENGTH))
    few = estimate(heard[:2])["giant:gpt-4"]
    assert few.n == 2
    assert 0.7 < few.accuracy < 0.9
    assert few.high - few.low > 0.3


def test_random_audits_alone_are_used_where_there_are_enough():
    heard = []
    for number in range(200):
        audit = number < ENOUGH_RANDOM
        # People look at what they doubt: outside the audit they only ever saw mistakes.
        truth = "cash" if not audit or number % 10 == 0 else "card"
        tags = {"sample": "random"} if audit else {}
        one = hear(exchange("loan", "card", number), [said("demonstration", truth, "ann", tags=tags)], LABELS, METRICS)
        heard.append((one.words, judge(one.words, ("human",))))
    found = estimate(heard)["giant:gpt-4"]
    assert (found.basis, found.n) == ("random", ENOUGH_RANDOM)
    assert found.accuracy > 0.8
    assert estimate(heard[10:])["giant:gpt-4"].accuracy < 0.4


def entries(count, source="human:ann", subject="", own=False, start=0):
    return [Entry(f"e{start + i}", own, source, subject) for i in range(count)]


def spec(**changes):
    return Harvest(**changes)


def test_shares_are_kept_and_the_choice_is_the_same_every_time():
    assert issubclass(Harvest, Section)
    rows = entries(300) + entries(100, "human:bob", start=300)
    capped = cap(rows, spec(source_share=0.5))
    assert len(capped.left_out) == 100
    assert set(capped.left_out.values()) == {"source_share"}
    assert capped.told["source_share"]["left_out"] == {"human:ann": 100}
    assert cap(rows[::-1], spec(source_share=0.5)).kept == capped.kept
    # Most of what stays out today stays out when more came in.
    more = cap([*rows, *entries(40, "human:cid", start=400)], spec(source_share=0.5))
    assert len(set(more.left_out) & set(capped.left_out)) == len(more.left_out)


def test_the_only_source_is_told_not_cut():
    capped = cap(entries(300), spec(source_share=0.5))
    assert not capped.left_out
    assert capped.told["source_share"] == {"only_source": "human:ann"}


def test_one_user_and_our_own_answers():
    rows = entries(200) + entries(100, subject="u", start=200)
    capped = cap(rows, spec(subject_share=0.1, source_share=1.0))
    assert len(capped.left_out) == 70
    assert set(capped.left_out.values()) == {"subject_share"}
    assert not cap(entries(LEAST, subject="u"), spec(subject_share=0.1)).left_out
    own = entries(80) + entries(60, "", own=True, start=80)
    assert len(cap(own, spec()).left_out) == 60
    kept = cap(own, spec(own_share=0.2)).kept
    assert sum(name in kept for name in (e.id for e in own if e.own)) == 20
