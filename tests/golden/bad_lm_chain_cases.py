"""What can be wrong behind a task whose answers are written: drift, labels, judges and corrections of documents."""

import json

from golden_house import House, Said

TASK = """\
name: orders
kind: extract
answer:
  json_schema: {type: object, properties: {firm: {type: string}, count: {type: string}}}
data:
  sources: [{use: jsonl, path: orders.jsonl, licence: owned}]
  label: answer
value: {wrong: 1, missed: 0.6, invented: 0.6}
incumbent: {kind: none}
candidates: [{recipe: rules}]
judges: [{use: llm, name: big, model: giant}]
gate: {floor: rules, guards: {}, max_calibration_error: 1, min_rows: 20}
"""
FIRMS = ("alder", "birch", "cedar")


def released(house: House) -> None:
    """The task of orders, live."""
    rows = []
    for number in range(200):
        firm = FIRMS[number % 3]
        text, answer = f"order {number}: {number} pens for {firm}", {"firm": firm, "count": str(number)}
        rows.append(json.dumps({"text": text, "answer": answer}) + "\n")
    house.write("orders.jsonl", "".join(rows))
    house.write("orders.yaml", TASK)
    done = house.sartor("run", "orders.yaml")
    assert done.code == 0, done.out + done.err


def documents_have_no_shares_of_labels(house: House) -> Said:
    released(house)
    return house.sartor("drift", "orders", "--correct")


def documents_are_not_looked_for_by_label(house: House) -> Said:
    released(house)
    return house.sartor("label", "orders", "--of", "alder", "--who", "ann")


def large_model_asked_to_label_documents(house: House) -> Said:
    released(house)
    return house.sartor("judge", "run", "orders", "big")


CASES = {
    name: case
    for name, case in vars().copy().items()
    if getattr(case, "__module__", "") == __name__ and name != "released"
}
