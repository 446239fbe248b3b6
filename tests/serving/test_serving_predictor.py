"""Variants and incumbents as Predictors, and the batcher between single callers and the fleet."""

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest
from serving_house import LABELS, TEXTS, House

from sartor.core.errors import AskError
from sartor.core.predict import Predictor, Request
from sartor.core.value import Confusion, Escalation, Value, choose, cost_matrix, target_costs
from sartor.serving.batcher import Batcher
from sartor.serving.engine import Work
from sartor.serving.fleet import Answered
from sartor.serving.incumbents import Person, Recorded, Rule
from sartor.serving.predictor import Answering, VariantPredictor

pytestmark = pytest.mark.anyio

VALUE = Value(
    wrong=2.0,
    confusions=(Confusion(true="money", answer="card", cost=50.0),),
    escalate=Escalation(price=0.3, error_rate=0.05),
)
MATRIX = cost_matrix(VALUE, LABELS)
TARGET = target_costs(VALUE, MATRIX)


@pytest.fixture
def linear(house: House, tiny_linear: Any) -> tuple[House, str]:
    return house, house.add("linear", tiny_linear.folder)


def requests(texts: list[str]) -> list[Request]:
    return [Request(text=text, id=str(i)) for i, text in enumerate(texts)]


async def test_answers_are_the_least_cost_choice_with_every_figure(linear: tuple[House, str]) -> None:
    house, variant = linear
    fleet = house.fleet()
    answers = await VariantPredictor(fleet, variant, Answering(LABELS, MATRIX, TARGET, unit_cost=0.01)).predict(
        requests([*TEXTS, "zzz"])
    )
    shares = np.stack([a.probabilities for a in fleet.probabilities([(variant, t) for t in [*TEXTS, "zzz"]])])
    choice = choose(shares, MATRIX, TARGET)
    assert [a.output for a in answers] == [LABELS[i] for i in choice.answer]
    assert [a.decision == "escalate" for a in answers] == choice.escalate.tolist()
    assert {a.decision for a in answers} == {"answer", "escalate"}
    for place, answer in enumerate(answers):
        assert answer.expected_cost == pytest.approx(choice.cost[place])
        assert answer.confidence == pytest.approx(shares[place, choice.answer[place]])
        assert answer.usage.cpu_seconds > 0
        assert answer.cost == pytest.approx(answer.usage.cpu_seconds * 0.01)
        (hop,) = answer.hops
        assert (hop.served_by, hop.output, hop.cost) == (variant, answer.output, answer.cost)
        assert isinstance(answer.out_of_scope, float)


async def test_where_nobody_can_be_asked_nothing_escalates(linear: tuple[House, str]) -> None:
    house, variant = linear
    predictor = VariantPredictor(house.fleet(), variant, Answering(LABELS, MATRIX))
    assert {a.decision for a in await predictor.predict(requests(TEXTS))} == {"answer"}
    assert await predictor.predict([]) == []
    (chunk,) = [c async for c in predictor.stream(Request(text="my card"))]
    assert chunk.final is not None
    assert chunk.text == chunk.final.output


async def test_the_loop_stays_free_while_a_model_computes(linear: tuple[House, str]) -> None:
    house, variant = linear
    predictor = VariantPredictor(house.fleet(), variant, Answering(LABELS, MATRIX))
    beats = 0

    async def heart() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.002)
            beats += 1

    task = asyncio.create_task(heart())
    await predictor.predict(requests(["where is my card"] * 8000))
    task.cancel()
    assert beats > 10


async def test_recorded_answers_that_are_no_label_are_no_answer() -> None:
    recorded = Recorded("gpt4", LABELS, "gpt-4", unit_cost=0.02)
    said = ["card", " money ", "Card", "", "i do not know"]
    rows = [Request(text="x", extra={"gpt4": answer}) for answer in said] + [Request(text="x")]
    answers = await recorded.predict(rows)
    assert [a.output for a in answers] == ["card", "money", None, None, None, None]
    assert {a.cost for a in answers} == {0.02}
    assert {a.served_by for a in answers} == {"gpt-4"}
    assert answers[2].hops[0].why == "'Card' is no label of the task"
    assert answers[3].hops[0].why == "no answer recorded"


async def test_a_rule_always_says_the_same_and_a_person_is_always_asked() -> None:
    for answer in await Rule("card").predict(requests(TEXTS)):
        assert (answer.output, answer.decision, answer.cost) == ("card", "answer", 0.0)
    for answer in await Person(VALUE).predict(requests(TEXTS)):
        assert (answer.output, answer.decision, answer.cost) == (None, "escalate", 0.0)
    with pytest.raises(AskError, match="escalate"):
        Person(Value())


def test_all_of_them_are_predictors(linear: tuple[House, str]) -> None:
    house, variant = linear
    for thing in (
        VariantPredictor(house.fleet(), variant, Answering(LABELS, MATRIX)),
        Recorded("gpt4", LABELS),
        Rule("card"),
        Person(VALUE),
    ):
        assert isinstance(thing, Predictor)


class Counting:
    """Answers with the text's number as its one probability, slowly; keeps the sizes of its batches."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.sizes: list[int] = []
        self.seconds = seconds
        self.threads: set[int] = set()

    def __call__(self, work: Work) -> list[Answered]:
        self.sizes.append(len(work))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        if any(text == "bad" for _, text in work):
            raise AskError("bad text")
        return [Answered(np.array([float(text)]), 0.0, np.array([0.0]), 0.0) for _, text in work]


async def test_single_callers_are_gathered_and_each_gets_their_own_answer() -> None:
    compute = Counting()
    batcher = Batcher(compute, max_batch=16)
    answers = await asyncio.gather(*(batcher.ask("v", str(i)) for i in range(100)))
    assert [a.probabilities[0] for a in answers] == list(range(100))
    assert max(compute.sizes) == 16
    assert len(compute.sizes) <= 8
    assert threading.get_ident() not in compute.threads


async def test_what_was_quick_is_computed_at_once_and_what_may_be_slow_in_a_thread() -> None:
    here, compute = threading.get_ident(), Counting(0.0)
    batcher = Batcher(compute)
    assert (await batcher.ask("v", "1")).probabilities[0] == 1.0
    assert here not in compute.threads  # not measured yet
    for number in range(1000):  # on a busy machine the first ones may have been slow
        assert (await batcher.ask("v", str(number))).probabilities[0] == number
        if here in compute.threads:
            break
    assert here in compute.threads
    compute.threads.clear()
    assert (await batcher.ask("v", "7" + " " * 5000)).probabilities[0] == 7.0
    assert here not in compute.threads
    compute.threads.clear()
    assert (await batcher.ask("another", "8")).probabilities[0] == 8.0
    assert here not in compute.threads


async def test_a_lone_caller_does_not_wait_for_company() -> None:
    batcher = Batcher(Counting(0.0), max_wait=5.0)
    begun = time.perf_counter()
    for i in range(3):
        await batcher.ask("v", str(i))
    assert time.perf_counter() - begun < 1.0


async def test_one_bad_question_fails_alone() -> None:
    batcher = Batcher(Counting(0.0))
    asked = (batcher.ask("v", text) for text in ["1", "bad", "2"])
    one, bad, two = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(bad, AskError)
    assert isinstance(one, Answered)
    assert isinstance(two, Answered)
    assert (one.probabilities[0], two.probabilities[0]) == (1.0, 2.0)


async def test_a_caller_who_leaves_disturbs_nobody() -> None:
    batcher = Batcher(Counting(0.05))
    leaver = asyncio.create_task(batcher.ask("v", "1"))
    stayer = asyncio.create_task(batcher.ask("v", "2"))
    await asyncio.sleep(0.01)
    leaver.cancel()
    assert (await stayer).probabilities[0] == 2.0
    assert (await batcher.ask("v", "3")).probabilities[0] == 3.0


async def test_variants_answer_through_a_batcher_as_without(linear: tuple[House, str]) -> None:
    house, variant = linear
    fleet = house.fleet()
    answering = Answering(LABELS, MATRIX, TARGET)
    batcher = Batcher(fleet.probabilities)
    gathered = VariantPredictor(fleet, variant, answering, ask=batcher.ask)
    answers = await asyncio.gather(*(gathered.predict([Request(text=text)]) for text in TEXTS))
    plain = await VariantPredictor(fleet, variant, answering).predict(requests(TEXTS))
    for (one,), two in zip(answers, plain, strict=True):
        assert (one.output, one.decision, one.confidence) == (two.output, two.decision, two.confidence)
