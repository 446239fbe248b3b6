"""What can be wrong where a language model is taught: rows too long, layers it lacks, answers that are labels."""

import json

import pytest
from golden_house import House, Said

from benchmarks._tiny_lm import write_tiny_lm

TASK = """\
name: sums
kind: generate
answer: {{instructions: Write the sum., max_tokens: 8}}
data:
  sources:
    - {{use: jsonl, path: sums.jsonl, licence: owned}}
candidates:
  - {{recipe: lora, name: small, base: 'folder:{base}', params: {{{params}}}}}
gate: {{min_rows: 2, floor: small}}
"""


def with_params(house: House, *each: str) -> list[Said]:
    """Run a task of sums on a model of two layers, once with each of these settings."""
    pytest.importorskip("transformers")
    base = house.folder / "small"
    write_tiny_lm(base)
    long = " They were hers." * 80
    rows = [
        {"text": f"Sally had {n} apples and gave 3 of them away." + (long if n % 10 == 9 else ""), "label": f"{n} - 3"}
        for n in range(20, 50)
    ]
    house.write("sums.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    found = []
    for params in each:
        house.write("sums.yaml", TASK.format(base=base, params=params))
        found.append(house.sartor("run", "sums.yaml"))
    return found


def rows_too_long_for_the_base(house: House) -> list[Said]:
    stopped = ("too_long: stop, epochs: 1", "max_row: 16, epochs: 1")
    return with_params(house, *stopped, "max_row: 1000", "targets: [query]", "four_bit: true")


def lora_where_answers_are_labels(house: House) -> Said:
    house.task(("recipe: linear", "recipe: lora"))
    return house.sartor("run", "task.yaml")


CASES = {
    "rows_too_long_for_the_base": rows_too_long_for_the_base,
    "lora_where_answers_are_labels": lora_where_answers_are_labels,
}
