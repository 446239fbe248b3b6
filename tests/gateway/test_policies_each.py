"""What each policy does that no other does."""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from policy_house import SURE, TASK, UNSURE, Giant, House, Local, Money, asked, completion, down, linear, streamed

from sartor.core.errors import AskError, RateError, UpstreamError
from sartor.core.predict import Prediction
from sartor.core.value import Value
from sartor.gateway.policy import draw
from sartor.gateway.remembered import Kept, Recent

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def many(count: int, **more: Any) -> list[Any]:
    return [asked(SURE, f"r{at}", sticky=f"user{at}", **more) for at in range(count)]


# labels


async def test_a_giants_answer_is_read_in_the_form_that_was_asked_for():
    house = House({"giant": Giant("giant", '{"why": "late", "intent": "Money"}')})
    schema = {"properties": {"why": {"type": ["string", "null"]}, "intent": {"type": "string"}}}
    schema |= {"required": ["why", "intent"]}
    chat = {"messages": [], "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    policy = house.build("direct", to="giant")
    (answer,) = await policy.predict([asked(chat=chat)])
    assert answer.output == answer.hops[-1].output == "money"
    assert json.loads(answer.reply)["choices"][0]["message"]["content"].startswith('{"why"')
    house.labels, house.task = (), None
    (answer,) = await house.build("direct", to="giant").predict([asked(chat=chat)])
    assert answer.output == '{"why": "late", "intent": "Money"}'


# fallback


async def test_fallback_goes_on_after_errors_and_answers_that_are_none():
    models = {"a": Giant("a", fails=down("timeout")), "b": Giant("b", "no idea", cost=0.2), "c": Giant("c", "card")}
    policy = House(models).build("fallback", to=["a", "b", "c"])
    (answer,) = await policy.predict([asked()])
    assert answer.output == "card"
    assert [(hop.served_by, hop.why) for hop in answer.hops] == [
        ("a", "failed: timeout"),
        ("b", "no valid answer"),
        ("c", ""),
    ]
    assert answer.cost == pytest.approx(0.7)


async def test_fallback_gives_the_poor_answer_if_there_is_no_better_and_the_error_if_there_is_none():
    models = {"poor": Giant("poor", "no idea"), "down": Giant("down", fails=down())}
    (answer,) = await House(models).build("fallback", to=["poor", "down"]).predict([asked()])
    assert (answer.output, answer.served_by) == (None, "poor")
    assert [hop.why for hop in answer.hops] == ["no valid answer", "failed: connect_timeout"]
    policy = House(models).build("fallback", to=["down", {"use": "fallback", "to": ["down", "down"]}])
    for asking in (policy.predict([asked()]), streamed(policy, asked())):
        with pytest.raises(UpstreamError) as caught:
            await asking
        assert [hop.served_by for hop in caught.value.hops] == ["down"] * 3
        models["down"].fails = down()


async def test_fallback_does_not_take_back_what_has_begun_to_stream():
    models = {"cut": Giant("cut", cut=True), "down": Giant("down", fails=down()), "good": Giant("good", "money")}
    stream = House(models).build("fallback", to=["down", "cut", "good"]).stream(asked())
    assert (await anext(stream)).raw == b"data: begun\n\n"
    with pytest.raises(UpstreamError, match="cut"):
        await anext(stream)
    assert models["good"].asked == []
    _, final = await streamed(House(models).build("fallback", to=["down", "good"]), asked())
    assert [hop.why for hop in final.hops] == ["failed: connect_timeout", ""]


async def test_fallback_goes_on_where_one_refuses_the_request():
    models = {"a": Giant("a", fails=AskError("can't be said in its protocol", code="bad_request")), "b": Giant("b")}
    policy = House(models).build("fallback", to=["a", "b"])
    for answer in ((await policy.predict([asked()]))[0], (await streamed(policy, asked()))[1]):
        assert [hop.why for hop in answer.hops] == ["failed: bad_request", ""]


# split


async def test_split_keeps_whoever_asks_on_one_side_and_says_the_chance():
    models = {"a": Giant("a"), "b": Giant("b"), "c": Giant("c")}
    arms = [{"to": n, "share": s, "name": n.upper()} for n, s in (("a", 0.6), ("b", 0.3), ("c", 0.1))]
    policy = House(models).build("split", arms=arms)
    answers = await policy.predict(many(2000))
    shares = {arm: np.mean([a.arm == arm for a in answers]) for arm in "ABC"}
    assert shares["A"] == pytest.approx(0.6, abs=0.05)
    assert shares["C"] == pytest.approx(0.1, abs=0.03)
    assert {(a.arm, a.served_by, a.propensity) for a in answers} == {("A", "a", 0.6), ("B", "b", 0.3), ("C", "c", 0.1)}
    again = await policy.predict([asked("x", "another", sticky=f"user{at}") for at in range(2000)])
    assert [a.arm for a in again] == [a.arm for a in answers]


def test_split_refuses_shares_that_do_not_fit():
    arm = {"to": "a", "share": 0.5, "name": "x"}
    with pytest.raises(AskError, match=r"add up to 0\.5"):
        House({"a": Giant("a")}).build("split", arms=[arm])
    with pytest.raises(AskError, match="same name"):
        House({"a": Giant("a")}).build("split", arms=[arm, arm])


def test_draws_of_two_routes_are_independent_and_even():
    one, two = (np.array([draw(salt, f"u{i}") for i in range(4000)]) for salt in ("a", "b"))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.06
    assert np.histogram(one, 4, (0, 1))[0] == pytest.approx(1000, abs=150)


# cascade


TABLE = {"sure": ("card", 0.95, "answer"), "dear": ("card", 0.8, "escalate"), "odd": ("money", 0.4, "answer")}


def cascade(giant: Giant, **settings: Any) -> Any:
    return House({"l@live": Local(TABLE), "giant": giant}).build("cascade", local="l@live", to="giant", **settings)


async def test_cascade_by_value_asks_for_what_the_value_function_would_rather_have_asked():
    giant = Giant("giant", "other")
    policy = cascade(giant)
    answers = await policy.predict([asked(text) for text in TABLE])
    assert giant.asked == ["dear"]
    assert [(a.output, a.decision) for a in answers] == [("card", "answer"), ("other", "answer"), ("money", "answer")]
    assert [(h.served_by, h.output, h.why) for h in answers[1].hops] == [
        ("local", "card", "escalated"),
        ("giant", "other", ""),
    ]
    assert answers[1].cost == pytest.approx(0.501)


async def test_cascade_by_threshold_asks_for_what_is_below_it():
    giant = Giant("giant", "other")
    policy = cascade(giant, by="threshold", threshold=0.5, certificate="ab" * 32)
    answers = await policy.predict([asked(text) for text in TABLE])
    assert giant.asked == ["odd"]
    assert [(a.output, a.decision) for a in answers] == [("card", "answer"), ("card", "answer"), ("other", "answer")]


async def test_cascade_asks_for_what_is_out_of_scope():
    giant = Giant("giant", "other")
    answers = await cascade(giant, out_of_scope=3.5).predict([asked(text) for text in TABLE])
    assert giant.asked == ["sure", "dear"]
    assert [a.hops[0].why for a in answers] == ["escalated: out of scope", "escalated: out of scope", ""]


@pytest.mark.parametrize("giant", [Giant("giant", fails=down()), Giant("giant", "what?")])
async def test_cascade_gives_its_best_guess_where_the_second_has_no_answer(giant):
    (answer,) = await cascade(giant).predict([asked("dear")])
    assert (answer.output, answer.decision, answer.served_by, answer.reply) == ("card", "escalate", "local", None)
    assert answer.hops[1].why in ("failed: connect_timeout", "no valid answer")
    assert answer.cost == pytest.approx(sum(hop.cost for hop in answer.hops))
    if giant.fails:
        _, final = await streamed(cascade(giant), asked("dear"))
        assert (final.output, final.decision) == ("card", "escalate")


async def test_cascade_asks_the_second_where_the_first_fails():
    models = {"l@live": Giant("l", fails=RuntimeError("broken")), "giant": Giant("giant", "other")}
    policy = House(models).build("cascade", local="l@live", to="giant")
    for answer in (*await policy.predict([asked("a"), asked("b")]), (await streamed(policy, asked("c")))[1]):
        assert answer.output == "other"
        assert [(h.served_by, h.kind, h.why) for h in answer.hops] == [
            ("l@live", "local", "failed: RuntimeError"),
            ("giant", "upstream", ""),
        ]
    for asking in (policy.predict([asked("a")]), streamed(policy, asked("a"))):
        models["giant"].fails = down()
        with pytest.raises(UpstreamError) as caught:
            await asking
        assert [hop.why for hop in caught.value.hops] == ["failed: RuntimeError", "failed: connect_timeout"]


async def test_cascade_with_a_real_variant_asks_local_ones_in_one_batch(tiny_linear):
    giant = Giant("giant", "other")
    house = House({"l@live": linear(tiny_linear, price=0.2), "giant": giant})
    texts = [SURE, UNSURE, "the transfer is pending", "zzz"]
    answers = await house.build("cascade", local="l@live", to="giant").predict([asked(text) for text in texts])
    assert [a.output for a in answers] == ["card", "other", "money", "other"]
    assert giant.asked == [UNSURE, "zzz"]
    assert (answers[0].probabilities is not None, answers[1].probabilities is None) == (True, True)


def test_cascade_by_value_needs_a_value_function_that_escalates():
    mute = TASK.model_copy(update={"value": Value()})
    with pytest.raises(AskError, match="never escalates"):
        House({"l@live": Local(TABLE), "g": Giant("g")}, task=mute).build("cascade", local="l@live", to="g")


def test_cascade_wants_a_threshold_exactly_where_one_is_used():
    for settings in ({"by": "threshold"}, {"threshold": 0.5}):
        with pytest.raises(AskError, match="'threshold' is given with"):
            cascade(Giant("giant"), **settings)


# router


async def test_router_asks_one_of_both_by_what_is_expected_of_the_cheap_one():
    guesses = {"easy": ("right", 0.9, "answer"), "even": ("right", 0.6, "answer"), "hard": ("wrong", 0.9, "answer")}
    models = {"by@live": Local(guesses), "cheap": Giant("cheap", cost=0.1), "dear": Giant("dear", cost=1.0)}
    policy = House(models).build("router", cheap="cheap", dear="dear", by="by@live", threshold=0.7)
    answers = await policy.predict([asked(text) for text in guesses])
    assert [a.served_by for a in answers] == ["cheap", "dear", "dear"]
    assert [a.hops[0].why for a in answers] == ["routed: cheap", "routed: dear", "routed: dear"]
    assert models["cheap"].asked == ["easy"]
    assert answers[0].cost == pytest.approx(0.101)


async def test_router_weighs_what_a_dear_call_gains():
    def who(cheap, dear):
        return Prediction("both", "who", probabilities=np.array([cheap, dear]), labels=("cheap", "dear"))

    class Who:
        asks = ()

        async def predict(self, requests):
            return [{"gain": who(0.1, 0.4), "even": who(0.2, 0.2)}[request.text] for request in requests]

    models = {"who@live": Who(), "cheap": Giant("cheap"), "dear": Giant("dear")}
    house = House(models)
    policy = house.build(
        "router", cheap="cheap", dear="dear", by="who@live", counts={"cheap": 1, "dear": -1}, threshold=-0.1
    )
    answers = await policy.predict([asked("gain"), asked("even")])
    assert [answer.served_by for answer in answers] == ["dear", "cheap"]


async def test_router_asks_the_dear_one_where_it_has_no_advice():
    models = {"by@live": Giant("by", fails=ValueError("x")), "cheap": Giant("cheap"), "dear": Giant("dear")}
    policy = House(models).build("router", cheap="cheap", dear="dear", by="by@live")
    (answer,) = await policy.predict([asked()])
    assert [(hop.served_by, hop.why) for hop in answer.hops] == [("by@live", "failed: ValueError"), ("dear", "")]
    models["dear"].fails = down()
    with pytest.raises(UpstreamError) as caught:
        await policy.predict([asked()])
    assert [hop.served_by for hop in caught.value.hops] == ["by@live", "dear"]


async def test_router_reads_what_the_user_said_last_where_no_task_says_where_the_input_is():
    models = {"by@live": Local({SURE: ("right", 0.9, "answer")}), "cheap": Giant("cheap"), "dear": Giant("dear")}
    policy = House(models, labels=(), task=None).build("router", cheap="cheap", dear="dear", by="by@live")
    (answer,) = await policy.predict([replace(asked(SURE), text="")])
    assert answer.served_by == "cheap"
    assert models["cheap"].asked == [""]


# canary


def canary(live: Any, new: Any, **settings: Any) -> tuple[House, Any]:
    house = House({"live": live, "new": new})
    return house, house.build("canary", live="live", canary="new", **settings)


async def test_canary_draws_sticky_sides_that_only_grow_with_the_share():
    answers = {}
    for share in (0.1, 0.4):
        _, policy = canary(Giant("live"), Giant("new"), share=share)
        answers[share] = await policy.predict(many(1500))
        drawn = np.mean([a.arm == "canary" for a in answers[share]])
        assert drawn == pytest.approx(share, abs=0.05)
    small, large = ({a for a, p in enumerate(answers[s]) if p.arm == "canary"} for s in (0.1, 0.4))
    assert small < large
    assert {(p.arm, p.served_by, p.propensity) for p in answers[0.1]} == {
        ("canary", "new", 0.1),
        ("control", "live", 0.9),
    }


async def test_canary_that_fails_is_answered_by_the_live_one_and_stopped():
    house, policy = canary(Giant("live"), Giant("new", fails=down()), share=0.5, guards={"min_requests": 10})
    answers = [(await policy.predict([request]))[0] for request in many(200)]
    assert {a.served_by for a in answers} == {"live"}
    drawn = [a for a in answers if a.arm == "canary"]
    assert len(drawn) == 10
    assert all([h.why for h in a.hops] == ["failed: connect_timeout", ""] for a in drawn)
    assert policy.tripped.startswith("error_rate: 100.0%")
    assert (answers[-1].arm, answers[-1].propensity) == ("", None)
    assert len(house.models["new"].asked) == 10
    policy.reset()
    assert policy.tripped == ""
    assert {a.arm for a in await policy.predict(many(9))} == {"canary", "control"}


async def test_canary_guards_streams_too():
    _, policy = canary(Giant("live"), Giant("new", fails=down()), share=0.5, guards={"min_requests": 10})
    finals = [(await streamed(policy, request))[1] for request in many(60)]
    assert {f.served_by for f in finals} == {"live"}
    assert sum(f.arm == "canary" for f in finals) == 10
    assert policy.tripped
    _, policy = canary(Giant("live"), Giant("new", cut=True), share=0.5, guards={"min_requests": 10})
    cut = 0
    for request in many(60):
        try:
            await streamed(policy, request)
        except UpstreamError:
            cut += 1
    assert cut == 10
    assert policy.tripped


async def test_canary_is_not_stopped_by_chance_but_soon_by_a_share_of_failures():
    class Flaky(Giant):
        share = 0.0

        async def predict(self, requests: Any) -> Any:
            self.fails = down() if draw(self.name, requests[0].id) < self.share else None
            return await super().predict(requests)

    async def stopped_after(failing: float, count: int) -> int:
        live, new = Flaky("live"), Flaky("new")
        live.share, new.share = 0.05, failing
        _, policy = canary(live, new, share=0.2)
        for at, request in enumerate(many(count)):
            with suppress(UpstreamError):
                await policy.predict([request])
            if policy.tripped:
                return at
        return count

    assert await stopped_after(0.05, 3000) == 3000
    assert 100 <= await stopped_after(0.3, 3000) < 600


async def test_canary_is_not_blamed_for_what_the_asker_did_wrong():
    wrong = UpstreamError("'temperature' is too high", retryable=False, status=400)
    _, policy = canary(Giant("live"), Giant("new", fails=wrong), share=0.5, guards={"min_requests": 5})
    refused = 0
    for request in many(40):
        for asking in (policy.predict([request]), streamed(policy, request)):
            try:
                await asking
            except UpstreamError as error:
                refused += error is wrong
    assert refused > 20
    assert policy.tripped == ""


async def test_canary_is_not_blamed_for_what_fails_on_both_sides():
    _, policy = canary(Giant("live", "what?"), Giant("new", "what?"), share=0.5, guards={"min_requests": 10})
    await policy.predict(many(200))
    assert policy.tripped == ""
    _, policy = canary(Giant("live"), Giant("new", "what?"), share=0.5, guards={"min_requests": 10})
    await policy.predict(many(200))
    assert policy.tripped.startswith("error_rate")


async def test_canary_that_is_slow_is_stopped():
    house, policy = canary(Local({SURE: ("card", 1.0, "answer")}), None, share=0.5, guards={"min_requests": 10})

    class Slow(Giant):
        async def predict(self, requests: Any) -> Any:
            house.now += 0.5
            return await super().predict(requests)

    class Quick(Giant):
        async def predict(self, requests: Any) -> Any:
            house.now += 0.1
            return await super().predict(requests)

    house.models |= {"live": Quick("live"), "new": Slow("new")}
    policy = house.build("canary", live="live", canary="new", share=0.5, guards={"min_requests": 10})
    for request in many(100):
        await policy.predict([request])
    assert policy.tripped.startswith("latency: a median of 0.5 s, 0.1 s")
    guards = {"min_requests": 10, "latency_seconds": 0.41}
    policy = house.build("canary", live="live", canary="new", share=0.5, guards=guards)
    for request in many(100):
        await policy.predict([request])
    assert policy.tripped == ""


# shadow


async def test_shadow_never_delays_and_its_counts_reconcile_at_every_moment():
    gate = asyncio.Event()
    house = House({"live": Giant("live"), "new": Giant("new", "money", hold=gate)}, room=30)
    policy = house.build("shadow", of="live", beside="new", share=0.5)

    def reconciled() -> Any:
        c = policy.counts
        assert c.wanted == c.sent + c.dropped
        assert c.sent == c.received + c.failed + c.in_flight
        return c

    for request in many(50):
        (answer,) = await policy.predict([request])
        assert (answer.served_by, len(answer.hops)) == ("live", 1)
        reconciled()
    for request in many(50)[:10]:
        _, final = await streamed(policy, request)
        assert final.served_by == "live"
    counts = reconciled()
    assert (counts.sent, counts.received) == (30, 0) or counts.dropped == 0
    assert 10 < counts.sent == counts.in_flight
    await asyncio.sleep(0)
    house.running[0].cancel()
    gate.set()
    await asyncio.gather(*house.running, return_exceptions=True)
    counts = reconciled()
    assert (counts.in_flight, counts.failed, counts.received) == (0, 1, counts.sent - 1)
    assert len(house.shadowed) == counts.received
    assert all(isinstance(said, Prediction) and said.output == "money" for _, said in house.shadowed)


async def test_shadow_books_its_failures_and_what_found_no_room():
    house = House({"live": Giant("live"), "new": Giant("new", fails=down())}, room=3)
    policy = house.build("shadow", of="live", beside="new")
    await policy.predict(many(5))
    await asyncio.gather(*house.running)
    counts = policy.counts
    assert (counts.wanted, counts.sent, counts.dropped, counts.failed, counts.in_flight) == (5, 3, 2, 3, 0)
    assert all(isinstance(said, UpstreamError) for _, said in house.shadowed)


async def test_a_live_answer_that_fails_is_not_shadowed():
    house = House({"live": Giant("live", fails=down()), "new": Giant("new")})
    policy = house.build("shadow", of="live", beside="new")
    with pytest.raises(UpstreamError):
        await policy.predict([asked()])
    assert policy.counts.wanted == 0


# cache


async def test_cache_gives_the_same_body_the_same_answer_for_nothing():
    giant = Giant("giant")
    house = House({"giant": giant})
    policy = house.build("cache", of="giant", seconds=60)
    (first,) = await policy.predict([asked()])
    chat = {"messages": [{"content": SURE, "role": "user"}], "model": "triage", "user": "u", "metadata": {"a": "b"}}
    (again,) = await policy.predict([asked(chat=chat)])
    assert (first.cost, again.cost, again.usage.input_tokens) == (0.5, 0.0, 0)
    assert (again.reply, again.output, again.served_by) == (first.reply, "card", "giant")
    (hop,) = again.hops
    assert (hop.kind, hop.served_by, hop.cost) == ("cache", "giant", 0.0)
    for other in (asked("another"), asked(chat=chat | {"temperature": 0.5}), asked(tenant="b")):
        await policy.predict([other])
    assert len(giant.asked) == 4
    house.now = 60
    await policy.predict([asked()])
    assert len(giant.asked) == 5
    assert (policy.counts.hits, policy.counts.misses) == (1, 5)


async def test_cache_replays_a_stream_as_it_came():
    giant = Giant("giant")
    policy = House({"giant": giant}).build("cache", of="giant")
    first, _ = await streamed(policy, asked())
    again, final = await streamed(policy, asked())
    assert [chunk.raw for chunk in again] == [chunk.raw for chunk in first]
    assert (final.cost, final.hops[0].kind, len(giant.asked)) == (0.0, "cache", 1)
    await policy.predict([asked()])
    assert len(giant.asked) == 2


@pytest.mark.parametrize(
    "giant",
    [
        Giant("giant", reason="length"),
        Giant("giant", "what?"),
        Giant("giant", fails=down()),
        Giant("giant", cut=True),
        Local({SURE: ("card", 0.5, "escalate")}),
    ],
)
async def test_cache_keeps_only_whole_good_answers(giant):
    policy = House({"giant": giant}).build("cache", of="giant")
    for _ in range(2):
        for asking in (policy.predict([asked()]), streamed(policy, asked())):
            try:
                await asking
            except UpstreamError:
                continue
    # The stream of a giant that is only cut when it streams is the one case in which one kind is kept.
    kept = isinstance(giant, Giant) and giant.cut
    assert policy.counts.hits == int(kept)


async def test_cache_is_bounded_in_number_and_size():
    giant = Giant("giant")
    policy = House({"giant": giant}).build("cache", of="giant", entries=3)
    for text in ("a", "b", "c", "a", "d", "a", "b"):
        await policy.predict([asked(text)])
    # `a` was used again, so `b` made room for `d`.
    assert giant.asked == ["a", "b", "c", "d", "b"]
    recent = Recent(100, 10_000, 60)
    big = Prediction(None, "x", reply=b"x" * 4000)
    for at in range(5):
        recent.put(bytes([at]), Kept(big), 0)
    assert len(recent) == 2
    recent.put(b"huge", Kept(Prediction(None, "x", reply=b"x" * 20_000)), 0)
    assert len(recent) == 2
    assert recent.get(b"huge", 0) is None


async def _letters(base: str, texts: Any) -> Any:
    """Counts of letters: a real embedding, if a poor one."""
    assert base == "minilm"
    counts = np.array([[text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts])
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


async def test_cache_by_meaning_finds_near_questions_of_the_same_tenant_and_measures_its_errors():
    giant = Giant("giant", lambda request: "money" if "money" in request.text else "card")
    house = House({"giant": giant}, embed=_letters)
    policy = house.build("cache", of="giant", by="meaning", distance=0.05, check_share=0.0)
    await policy.predict([asked("where is my card")])
    (hit,) = await policy.predict([asked("Where IS my card??")])
    assert (hit.output, hit.reply, hit.hops[0].kind, hit.cost) == ("card", None, "cache", 0.0)
    await policy.predict([asked("send money abroad")])
    await policy.predict([asked("where is my card", tenant="b")])
    assert len(giant.asked) == 3
    _, final = await streamed(policy, asked("my card is where"))
    assert final.hops[0].kind == "cache"
    house.now = 3600
    await policy.predict([asked("where is my card")])
    assert len(giant.asked) == 4
    assert (policy.counts.hits, policy.counts.misses) == (2, 4)


async def test_cache_by_meaning_asks_some_hits_anyway():
    giant = Giant("giant", "card")
    policy = House({"giant": giant}, embed=_letters).build("cache", of="giant", by="meaning", check_share=1.0)
    await policy.predict([asked("abc")])
    (checked,) = await policy.predict([asked("cba")])
    assert [(hop.kind, hop.why) for hop in checked.hops] == [("cache", "checked"), ("upstream", "")]
    assert checked.cost == 0.5
    giant.says = "money"
    (checked,) = await policy.predict([asked("bca")])
    assert checked.output == "money"
    assert (policy.counts.agree, policy.counts.disagree) == (1, 1)


async def test_cache_by_meaning_is_bounded_too():
    giant = Giant("giant")
    house = House({"giant": giant}, embed=_letters)
    policy = house.build("cache", of="giant", by="meaning", entries=100, distance=1e-6, check_share=0)
    words = [f"{'a' * i}{'b' * j}" for i in range(1, 16) for j in range(1, 16) if np.gcd(i, j) == 1]
    assert len(words) > 110
    for word in words:
        await policy.predict([asked(word)])
    assert len(policy._near) == 100
    await policy.predict([asked(words[-1])])
    assert policy.counts.hits == 1
    await policy.predict([asked(words[0])])
    assert policy.counts.hits == 1


async def test_cache_by_meaning_needs_a_task_and_does_without_its_base():
    with pytest.raises(AskError, match="texts of a task"):
        House({"giant": Giant("giant")}, task=None).build("cache", of="giant", by="meaning")

    async def gone(base: str, texts: Any) -> Any:
        raise UpstreamError(f"no {base}", retryable=True)

    policy = House({"giant": Giant("giant")}, embed=gone).build("cache", of="giant", by="meaning")
    (answer,) = await policy.predict([asked()])
    assert answer.output == "card"


def test_a_reply_of_an_embedding_is_whole():
    from sartor.gateway.remembered import complete

    assert complete(b'{"object": "list", "data": []}')
    assert not complete(b"<html>")
    assert not complete(completion("x", "content_filter"))


# budget


async def test_budget_refuses_when_the_money_is_gone_and_says_when_to_come_again():
    giant = Giant("giant")
    house = House({"giant": giant})
    policy = house.build("budget", of="giant", money=1.2, set_aside=0.6, holder="tenant")
    await policy.predict([asked(tenant="a")])
    await policy.predict([asked(tenant="a")])
    with pytest.raises(RateError) as caught:
        await policy.predict([asked(tenant="a")])
    assert 0 < caught.value.retry_after <= 86_400
    assert caught.value.code == "budget_spent"
    await policy.predict([asked(tenant="b")])
    assert house.purse.held == {("triage/tenant/a", "day"): 1.0, ("triage/tenant/b", "day"): 0.5}


async def test_budget_holds_under_many_requests_at_once():
    gate = asyncio.Event()
    house = House({"giant": Giant("giant", hold=gate), "small@live": Local({SURE: ("card", 0.9, "answer")})})
    policy = house.build("budget", of="giant", then="small@live", money=3.0, set_aside=0.5, period="month")
    under_way = asyncio.gather(*(policy.predict([request]) for request in many(20)))
    await asyncio.sleep(0)
    gate.set()
    answers = [answer for (answer,) in await under_way]
    assert sum(a.served_by == "giant" for a in answers) == 6
    cheap = [a for a in answers if a.served_by == "local"]
    assert {a.hops[0].why for a in cheap} == {"budget spent"}
    assert house.purse.held == {("triage/route/", "month"): pytest.approx(3.0)}


async def test_budget_gives_back_what_a_failure_did_not_spend_and_keeps_what_a_cut_may_have():
    purse = Money()
    giant = Giant("giant", fails=down())
    house = House({"giant": giant}, purse=purse)
    policy = house.build("budget", of="giant", money=10, set_aside=1, holder="key")
    with pytest.raises(UpstreamError):
        await policy.predict([asked(key="k")])
    with pytest.raises(UpstreamError):
        await streamed(policy, asked(key="k"))
    assert purse.held == {("triage/key/k", "day"): 0.0}
    giant.fails = None
    await streamed(policy, asked(key="k"))
    assert purse.held == {("triage/key/k", "day"): 0.5}
    stream = policy.stream(asked(key="k"))
    await anext(stream)
    await stream.aclose()
    assert purse.held == {("triage/key/k", "day"): 1.5}


def test_budget_refuses_to_set_aside_more_than_there_is():
    with pytest.raises(AskError, match="nothing could ever be asked"):
        House({"giant": Giant("giant")}).build("budget", of="giant", money=1, set_aside=2)
