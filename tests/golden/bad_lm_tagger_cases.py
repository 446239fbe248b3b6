"""What can be wrong where values are found in texts word by word."""

import json
from typing import Any

from golden_house import House, Said

TASK = """\
name: orders
kind: extract
answer:
  json_schema: {type: object, properties: {firm: {type: string}, count: {type: integer}}}
data:
  sources: [{use: jsonl, path: orders.jsonl, licence: owned}]
  label: answer
candidates:
"""
FIRMS = ("alder", "birch", "cedar")


def run_with(house: House, candidate: str, answer: Any = None) -> Said:
    """The task of orders with one candidate; `answer` changes what the rows say of themselves."""
    rows = []
    for number in range(60):
        firm = FIRMS[number % 3]
        right = {"firm": firm, "count": number} if answer is None else answer
        rows.append(json.dumps({"text": f"{number} pens for {firm}, order {number}", "answer": right}) + "\n")
    house.write("orders.jsonl", "".join(rows))
    house.write("orders.yaml", TASK + f"  - {candidate}\n")
    return house.sartor("run", "orders.yaml")


def tagger_without_a_base(house: House) -> Said:
    return run_with(house, "{recipe: tagger}")


def tagger_of_values_that_no_text_has(house: House) -> Said:
    return run_with(house, "{recipe: tagger}", {"firm": "somebody else"})


def tagger_with_a_context_that_is_no_expression(house: House) -> Said:
    return run_with(house, "{recipe: tagger, params: {context: '(['}}")


def tagger_taught_by_rules(house: House) -> Said:
    return run_with(house, "{recipe: rules}\n  - {recipe: tagger, of: [rules]}")


def tagger_for_labels(house: House) -> Said:
    house.task(("recipe: linear, size: small", "recipe: tagger"))
    return house.sartor("run", "task.yaml")


CASES = {
    name: case
    for name, case in vars().copy().items()
    if getattr(case, "__module__", "") == __name__ and name != "run_with"
}
