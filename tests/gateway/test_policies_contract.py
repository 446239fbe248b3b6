"""What holds for every policy of the shelf: it wraps models and is one; nothing that was asked for is forgotten."""

from typing import Any

import pytest
from policy_house import LABELS, SURE, UNSURE, Giant, House, Local, asked, down, linear, streamed

from sartor.core.errors import AskError, NotFoundError
from sartor.core.predict import Predictor
from sartor.gateway.policy import POLICIES, walk

pytestmark = pytest.mark.anyio

SETTINGS: dict[str, dict[str, Any]] = {
    "direct": {"to": "local@live"},
    "fallback": {"to": ["broken", "local@live"]},
    "split": {"arms": [{"to": "local@live", "share": 0.5, "name": "a"}, {"to": "giant", "share": 0.5, "name": "b"}]},
    "cascade": {"local": "careful@live", "to": "giant"},
    "router": {"cheap": "local@live", "dear": "giant", "by": "right@live"},
    "canary": {"live": "local@live", "canary": "giant", "share": 0.5},
    "shadow": {"of": "local@live", "beside": "giant"},
    "cache": {"of": "giant"},
    "budget": {"of": "giant", "then": "local@live", "money": 1.2, "set_aside": 0.6},
}
TEXTS = [SURE, UNSURE, "where is my money", "close the account", SURE]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def house(tiny_linear: Any) -> House:
    router = {text: ("right" if len(text) > 12 else "wrong", 0.9, "answer") for text in TEXTS}
    models: dict[str, Predictor] = {
        "local@live": linear(tiny_linear),
        "careful@live": linear(tiny_linear, price=0.05),
        "giant": Giant("giant", lambda request: "Money." if "money" in request.text else '{"label": "other"}'),
        "broken": Giant("broken", fails=down()),
        "right@live": Local(router),
    }
    return House(models)


def test_every_policy_of_the_shelf_is_held_to_this():
    assert sorted(SETTINGS) == POLICIES.own()
    for name in SETTINGS:
        assert POLICIES.summary(name)


@pytest.mark.parametrize("name", sorted(SETTINGS))
async def test_a_policy_is_a_predictor_whose_hops_add_up(house, name):
    policy = house.build(name, **SETTINGS[name])
    assert isinstance(policy, Predictor)
    requests = [asked(text, str(at)) for at, text in enumerate(TEXTS)]
    answers = await policy.predict(requests)
    assert len(answers) == len(TEXTS)
    for answer in answers:
        assert answer.output in LABELS
        assert answer.hops
        assert answer.cost == pytest.approx(sum(hop.cost for hop in answer.hops))
        assert answer.usage.input_tokens == sum(hop.usage.input_tokens for hop in answer.hops)
        # What served the answer is among those that were asked.
        assert answer.served_by in {hop.served_by for hop in answer.hops}
        assert (answer.arm == "") == (answer.propensity is None)
    assert await policy.predict([]) == []
    for task in house.running:
        await task


@pytest.mark.parametrize("name", sorted(SETTINGS))
async def test_a_stream_ends_with_the_same_prediction(house, name):
    one = house.build(name, **SETTINGS[name])
    other = house.build(name, **SETTINGS[name])
    house.purse.held.clear()
    for at, text in enumerate(TEXTS[:-1]):
        (whole,) = await one.predict([asked(text, str(at))])
        if name == "budget":
            house.purse.held.clear()
        chunks, final = await streamed(other, asked(text, str(at)))
        if name == "budget":
            house.purse.held.clear()
        assert (final.output, final.served_by, final.arm) == (whole.output, whole.served_by, whole.arm)
        assert [hop.served_by for hop in final.hops] == [hop.served_by for hop in whole.hops]
        assert [hop.why for hop in final.hops] == [hop.why for hop in whole.hops]
        raws = [chunk.raw for chunk in chunks]
        assert raws in ([b""], [b"data: begun\n\n", b"data: text\n\n", b"data: [DONE]\n\n"])
    for task in house.running:
        await task


@pytest.mark.parametrize("name", sorted(SETTINGS))
async def test_a_stream_that_is_left_lets_the_upstream_go(house, name):
    house.models = dict.fromkeys(house.models, Giant("giant")) | {"right@live": house.models["right@live"]}
    if name in ("cascade", "fallback"):
        house.models["careful@live"] = Local({SURE: ("card", 0.1, "escalate")})
    giant = house.models["giant"]
    policy = house.build(name, **SETTINGS[name])
    stream = policy.stream(asked(SURE))
    await anext(stream)
    assert giant.closed == 0
    await stream.aclose()
    assert giant.closed == 1


@pytest.mark.parametrize("name", sorted(SETTINGS))
async def test_a_policy_nests_in_another(house, name):
    outer = house.build("fallback", to=["broken", {"use": name, **SETTINGS[name]}])
    (answer,) = await outer.predict([asked(SURE)])
    assert answer.output in LABELS
    assert answer.hops[0].served_by == "broken"
    assert answer.hops[0].why == "failed: connect_timeout"
    assert answer.cost == pytest.approx(sum(hop.cost for hop in answer.hops))
    assert len(list(walk(outer))) > 2
    for task in house.running:
        await task


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_names_and_settings_are_checked_when_it_is_declared(house, name):
    with pytest.raises(AskError, match="unknown key 'nonsense'"):
        house.build(name, **SETTINGS[name], nonsense=1)
    gone = dict.fromkeys(house.models)
    house.models.clear()
    with pytest.raises(NotFoundError):
        house.build(name, **SETTINGS[name])
    assert gone


def test_an_unknown_policy_is_named(house):
    with pytest.raises(NotFoundError, match=r"no policy 'cascad'.*Did you mean 'cascade'"):
        house.build("cascad")
