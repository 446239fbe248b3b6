"""A giant's documents: read in any form that holds one; what can't be read is no answer, streamed or not."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from policy_house import Giant, House, Local, asked, down, streamed

from sartor.core.claims import as_text, parse, tidy
from sartor.core.predict import Request
from sartor.gateway.policy import Tools

pytestmark = pytest.mark.anyio

TABLE = {"dear": ('{"brand":"ours"}', 0.2, "escalate"), "sure": ('{"brand":"ours"}', 0.9, "answer")}
GOOD = json.dumps({"brand": " Acme ", "weight": "n/a"}, indent=1)
READ = '{"brand":"Acme"}'


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def reads(text: str) -> str:
    return as_text(tidy(parse(text), {}, ("n/a",)))


@dataclass
class Shop(House):
    """Tools of a task whose answers are documents."""

    labels: tuple[str, ...] = ()

    def tools(self) -> Tools:
        return replace(super().tools(), reads=reads)


def shop(says: str | Callable[[Request], str] = GOOD, **giant: Any) -> Shop:
    return Shop({"l@live": Local(TABLE), "giant": Giant("giant", says, **giant)})


@pytest.mark.parametrize("says", [GOOD, f"```json\n{GOOD}\n```", f"```\n{GOOD}\n```"])
async def test_a_document_is_brought_to_its_one_form(says: str) -> None:
    policy = shop(says).build("direct", to="giant")
    (answer,) = await policy.predict([asked("dear")])
    assert (answer.output, answer.reply) == (READ, None)
    assert [hop.output for hop in answer.hops] == [READ]
    chunks, final = await streamed(policy, asked("dear"))
    assert [chunk.text for chunk in chunks] == [READ]
    assert final.output == READ


@pytest.mark.parametrize("says", ["I can't say.", '["Acme"]', '{"brand": '])
async def test_what_cannot_be_read_is_no_answer(says: str) -> None:
    house = shop(says)
    cascade = house.build("cascade", local="l@live", to="giant")
    (answer,) = await cascade.predict([asked("dear")])
    _, final = await streamed(cascade, asked("dear"))
    for found in (answer, final):
        assert found.output == '{"brand":"ours"}'
        assert [hop.why for hop in found.hops] == ["escalated", "no valid answer"]
        assert found.cost == pytest.approx(0.501), "what was paid for is booked"
    (answer,) = await house.build("fallback", to=["giant", "l@live"]).predict([asked("sure")])
    assert answer.output == '{"brand":"ours"}'
    (answer,) = await house.build("direct", to="giant").predict([asked("sure")])
    assert answer.output is None
    assert answer.reply is not None, "asked for by name, it is passed on as it is"


async def test_a_stream_that_breaks_off_leaves_the_best_guess() -> None:
    policy = shop(cut=True).build("cascade", local="l@live", to="giant")
    _, final = await streamed(policy, asked("dear"))
    assert final.output == '{"brand":"ours"}'
    policy = shop(fails=down()).build("cascade", local="l@live", to="giant")
    assert (await policy.predict([asked("dear")]))[0].output == '{"brand":"ours"}'
