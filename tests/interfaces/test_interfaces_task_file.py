"""A task file may say anything: it is read as its writer meant it, or refused in words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import AskError
from sartor.core.task import Task
from sartor.pipeline.task_file import parse_task

WHOLE = """\
name: t
description: "2024-13-45"
labels: [yes, no, 'true', off]
data: {sources: [{use: csv, path: a.csv}], split: {test: 0.2}}
value: {confusions: [{true: no, answer: yes, cost: 2}]}
candidates: [{recipe: linear, value_weights: true}]
"""
PIECES = st.sampled_from(
    [
        "!!int x",
        "!!python/object:os.system",
        "? [a]",
        ": ",
        "- ",
        "{",
        "]",
        "&a",
        "*a",
        "<<",
        "2024-13-45",
        ".nan",
        "\t",
    ]
)


def test_keys_labels_and_dates_are_text_whatever_yaml_makes_of_them() -> None:
    task = parse_task(WHOLE.replace('"2024-13-45"', "2024-12-31"))
    assert task.labels == ("yes", "no", "true", "off")
    assert (task.value.confusions[0].true, task.value.confusions[0].answer) == ("no", "yes")
    assert task.candidates[0].value_weights is True
    assert task.description == "2024-12-31"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("seed: !!int ten", "is not YAML: invalid literal for int"),
        ("? [a, b]\n: c", "line 3: a key must be plain text"),
        ("seed: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("<<: {seed: 1}", "unknown key '<<'"),
        ("description: \x07", "special characters are not allowed"),
        ("labels: [1, 2]", "'labels.0' must be text: put 1 in quotes"),
        ("seed: &x 1", "line 3: anchors and aliases are not read"),
    ],
)
def test_odd_lines_are_refused_in_words(line: str, says: str) -> None:
    with pytest.raises(AskError) as caught:
        parse_task("name: t\ndata: {sources: [{use: csv, path: a.csv}]}\n" + line)
    assert says in caught.value.message
    assert "\n" not in caught.value.message


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(WHOLE)), st.integers(0, 12), st.one_of(PIECES, st.text(max_size=8)))
def test_no_text_is_answered_with_anything_but_words(at: int, gone: int, put: str) -> None:
    read: Task | str
    try:
        read = parse_task(WHOLE[:at] + put + WHOLE[at + gone :])
    except AskError as error:
        read = error.message
    assert isinstance(read, Task) or read.endswith(".")
