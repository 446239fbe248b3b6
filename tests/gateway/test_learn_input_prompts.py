"""The prompt of an application, inferred from what it sent: found again where it is clear, refused where it is not."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import AskError, RefusedError
from sartor.core.task import Task
from sartor.gateway.learn_input import learn_input
from sartor.gateway.learn_pattern import learn_pattern, separators, shared_prefix
from sartor.gateway.unpack import find_input

SHOTS = "Query: where is my card\nIntent: card\n\nQuery: no money\nIntent: money"


def asking(*contents: str, system: str | None = None) -> dict[str, Any]:
    messages = [{"role": "user", "content": content} for content in contents]
    return {"model": "gpt", "messages": ([{"role": "system", "content": system}] if system else []) + messages}


def texts(count: int, seed: int = 0) -> list[str]:
    """Sentences that differ from their first word to their last."""
    rng = random.Random(seed)
    said = "my card was not there when I went to the bank and asked for money or a new one please tell me why"
    words = said.split()
    return [f"{' '.join(rng.choices(words, k=rng.randint(2, 15)))}{rng.choice('?.!')}" for _ in range(count)]


def traffic(count: int, write: Callable[[int, str], dict[str, Any]]) -> list[dict[str, Any]]:
    return [write(at, text) for at, text in enumerate(texts(count))]


def contents(lesson: Any) -> list[str]:
    return [message["content"] for message in lesson.best.declared()]


def test_few_shot_examples_stay_as_they_are_and_the_text_becomes_a_hole():
    chats = traffic(100, lambda _, t: asking(f"{SHOTS}\n\nQuery: {t}\nIntent:", system="Sort {json}."))
    lesson = learn_input(chats)
    assert contents(lesson) == ["Sort {{json}}.", f"{SHOTS}\n\nQuery: {{text}}\nIntent:"]
    assert (lesson.best.columns, lesson.best.coverage, lesson.strangers) == (("text",), 1.0, ())
    assert lesson.best.example["text"] in texts(100)
    assert lesson.chats == 100
    assert 10 < lesson.held_out < 30


def test_several_texts_are_told_apart_by_what_stands_between_them():
    others = texts(80, seed=1)
    chats = traffic(80, lambda at, t: asking(f"Sort.\nSubject: {t}\nBody: {others[at]}\nLabel:"))
    lesson = learn_input(chats)
    assert contents(lesson) == ["Sort.\nSubject: {subject}\nBody: {body}\nLabel:"]
    assert lesson.best.columns == ("subject", "body")


def test_letters_that_all_texts_share_by_accident_are_no_part_of_the_prompt():
    chats = traffic(60, lambda _, t: asking(f"Text: t{t}\n###"))
    assert contents(learn_input(chats)) == ["Text: {text}\n###"]


def test_the_same_text_twice_is_one_column():
    chats = traffic(60, lambda _, t: asking(f"<t>{t}</t> once more: <t>{t}</t> now"))
    assert contents(learn_input(chats)) == ["<t>{text}</t> once more: <t>{text}</t> now"]


def test_a_date_can_be_named_as_no_input():
    chats = traffic(90, lambda at, t: asking(t, system=f"Today is the {at % 28 + 1}. Sort."))
    assert learn_input(chats).best.columns == ("the", "text")
    lesson = learn_input(chats, columns=["_day", "text"])
    assert contents(lesson) == ["Today is the {_day}. Sort.", "{text}"]
    assert lesson.best.columns == ("text",)
    with pytest.raises(AskError, match="has 2 holes"):
        learn_input(chats, columns=["text"])


def test_completion_prompts_are_learned_too():
    chats = traffic(60, lambda _, t: {"model": "m", "prompt": f"Text: {t}\nLabel:"})
    assert contents(learn_input(chats)) == ["Text: {text}\nLabel:"]


def test_a_few_other_requests_are_counted_and_shown():
    def write(at: int, text: str) -> dict[str, Any]:
        if at % 40 == 7:
            return asking("hi", "there")
        return asking(f"Text: {text}\nLabel:")

    lesson = learn_input(traffic(400, write))
    assert contents(lesson) == ["Text: {text}\nLabel:"]
    assert 0.95 <= lesson.best.coverage < 1
    assert lesson.strangers[0] == (("user", "hi"), ("user", "there"))


@pytest.mark.parametrize(
    "write",
    [
        lambda at, t: asking(t, system=f"Sort. Version {1 + (at % 10 < 3)}."),
        lambda at, t: asking(f"Classify: {t}\nLabel:" if at % 10 < 7 else f"Please sort this customer text: {t}\nIs:"),
        lambda at, t: asking(f"Please sort this text of a customer: {t}" if at % 10 < 7 else t),
        lambda at, t: asking(
            f"{t}\n\nAnswer with exactly one of the labels." if at % 10 < 6 else f"{t}\n\nLabel, now!"
        ),
        lambda at, t: asking(t) if at % 10 < 6 else asking(t, t),
    ],
)
def test_versions_of_a_prompt_are_told_apart_and_not_guessed_between(write):
    chats = traffic(300, write)
    with pytest.raises(RefusedError, match="2 prompts are in this traffic") as caught:
        learn_input(chats)
    assert caught.value.code == "low_coverage"
    lesson = learn_input(chats, coverage=0.5)
    first, second = lesson.prompts
    assert 0.5 < first.coverage < 0.9
    assert first.coverage + second.coverage == pytest.approx(1)
    assert len(lesson.strangers) == 5


def test_a_lone_hole_does_not_swallow_another_prompt():
    chats = traffic(300, lambda at, t: asking(t if at % 10 < 7 else f"Please sort this text of a customer: {t}"))
    with pytest.raises(RefusedError, match="were sent with another one") as caught:
        learn_input(chats, coverage=0.5)
    assert caught.value.code == "too_wide"


@pytest.mark.parametrize(
    ("chats", "code"),
    [
        (traffic(29, lambda _, t: asking(f"Text: {t}")), "too_few_chats"),
        ([asking("Text: x")] * 100, "nothing_varies"),
        ([{"messages": "?"}] * 100, "too_few_chats"),
        ([{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}] * 100, "too_few_chats"),
        ([asking(*["x"] * (1 + at)) for at in range(60)], "nothing_varies"),
    ],
)
def test_too_little_is_refused_with_the_counts(chats, code):
    with pytest.raises(RefusedError) as caught:
        learn_input(chats)
    assert caught.value.code == code
    assert any(digit in caught.value.message for digit in "0123456789")


@pytest.fixture
def changing() -> Callable[[bool], list[dict[str, Any]]]:
    """Chats with examples that are drawn anew for each request, as many each time or not."""

    def make(same: bool) -> list[dict[str, Any]]:
        rng = random.Random(2)
        pool = [f"Query: {text}\nIntent: {label}" for text, label in zip(texts(50, 3), "abcde" * 10, strict=True)]
        joined = ["\n\n".join(rng.sample(pool, 2 if same else rng.randint(1, 4))) for _ in range(100)]
        return traffic(100, lambda at, t: asking(f"Examples:\n{joined[at]}\n\nQuery: {t}\nIntent:"))

    return make


def test_examples_that_change_in_number_are_not_taken_for_the_input(changing):
    with pytest.raises(RefusedError, match="examples that change") as caught:
        learn_input(changing(False))
    assert caught.value.code == "varying_examples"


def test_examples_that_change_can_be_named_as_no_input(changing):
    assert learn_input(changing(True)).best.columns == ("query", "intent", "query2", "intent2", "query3")
    lesson = learn_input(changing(True), columns=["_q1", "_i1", "_q2", "_i2", "text"])
    assert lesson.best.columns == ("text",)
    assert contents(lesson)[0].endswith("\n\nQuery: {text}\nIntent:")


def test_the_parts_of_learning_a_pattern():
    assert shared_prefix(["abc", "abd", "x"], 0.6) == "ab"
    assert shared_prefix(["abc", "abd", "x"], 1.0) == ""
    assert separators(["a || b", "cc || d", "eee || f"] * 10) == (" || ",)
    assert separators(["a b", "c d"] * 10) == ()
    assert separators([]) == ()
    pattern = learn_pattern([f"<{t}>" for t in texts(40)])
    assert (pattern.literals[0], pattern.holes) == ("<", ("0",))


LINES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs"), include_characters="{}"), max_size=30)
OPENINGS = st.builds(lambda line, end: line + end, LINES, st.sampled_from([": ", "\n", ' "', "> ", " - "]))
BETWEEN = st.builds(
    "".join, st.tuples(st.sampled_from(["\n", '" ', " <"]), LINES, st.sampled_from([":: ", "\n#\n", ' "']))
)
ENDINGS = st.builds(lambda start, line: start + line, st.sampled_from(["\n", '" ', " <"]), LINES)


@settings(max_examples=60, deadline=None)
@given(
    system=st.none() | LINES,
    ends=st.tuples(OPENINGS, ENDINGS),
    between=st.lists(BETWEEN, max_size=2),
    seed=st.integers(0, 10_000),
)
def test_a_template_is_found_again_and_gives_its_texts_back_exactly(system, ends, between, seed):
    rng = random.Random(seed)
    alphabet = "aA bB cCzZ 09.,?!\n\t-'äß漢字🙂{}\\"
    literals = [ends[0], *between, ends[1]]

    def text() -> str:
        return "".join(rng.choices(alphabet, k=rng.randint(1, 60)))

    filled = [tuple(text() for _ in literals[1:]) for _ in range(80)]
    chats = []
    for values in filled:
        parts = [literals[0]]
        for value, literal in zip(values, literals[1:], strict=True):
            parts += [value, literal]
        chats.append(asking("".join(parts), system=system))
    names = [f"c{at}" for at in range(len(literals) - 1)]
    lesson = learn_input(chats, columns=names)
    task = Task.model_validate(
        {
            "name": "t",
            "data": {"sources": [{"use": "csv"}]},
            "input": {"columns": names, "chat": "template", "prompt": lesson.best.declared()},
        }
    )
    for chat, values in zip(chats, filled, strict=True):
        found = find_input(chat, task, id="x", max_bytes=10_000)
        if found is None:
            # Only where a text holds what separates texts, or all of them are empty.
            assert len(values) > 1 or not "".join(values).strip()
        else:
            assert tuple(found.inputs[name] for name in names) == values
