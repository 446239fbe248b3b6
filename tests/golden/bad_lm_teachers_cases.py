"""What can be wrong with teachers: nobody to learn from, terms that forbid it, columns and files that are not there."""

import json

from golden_house import House, Said


def with_source(house: House, source: str) -> Said:
    """Run the task with one more source."""
    house.task(("sources:", f"sources:\n    - {source}"))
    return house.sartor("run", "task.yaml")


def taught(house: House, **more: str) -> str:
    """A file of rows that a teacher labelled."""
    rows = [{"text": f"my card came late, number {n}", "label": "card", **more} for n in range(3)]
    (house.folder / "taught.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return "{use: jsonl, path: taught.jsonl, licence: owned, split: train"


def teacher_whose_terms_forbid(house: House) -> Said:
    return with_source(house, taught(house) + ", labelled_by: gpt-4}")


def teacher_that_rows_name(house: House) -> Said:
    return with_source(house, taught(house, said_by="giant", by="someone's model") + "}")


def unknown_teacher(house: House) -> Said:
    return with_source(house, taught(house) + ", labelled_by: gtp-4}")


def student_of_nobody(house: House) -> Said:
    house.task(("recipe: linear", "recipe: student"))
    return house.sartor("run", "task.yaml")


def scores_that_are_none(house: House) -> Said:
    house.task(("sources:", f"scores: chances\n  sources:\n    - {taught(house, chances='0.9')}}}"))
    return house.sartor("run", "task.yaml")


def nothing_to_teach(house: House) -> Said:
    house.task()
    return house.sartor("data", "teach", "task.yaml", "--by", "gpt-4", "--out", "taught.jsonl")


def recorded_by_nobody(house: House) -> Said:
    taught(house)
    house.task()
    return house.sartor(
        "data", "teach", "task.yaml", "--rows", "taught.jsonl", "--by", "recorded:label", "--out", "new.jsonl"
    )


def teacher_that_is_not_declared(house: House) -> Said:
    taught(house)
    house.task()
    return house.sartor("data", "teach", "task.yaml", "--rows", "taught.jsonl", "--by", "gpt-4", "--out", "new.jsonl")


def taught_into_a_file_of_rows(house: House) -> Said:
    taught(house, gpt4="card")
    house.task()
    return house.sartor(
        "data", "teach", "task.yaml", "--rows", "taught.jsonl", "--by", "recorded:gpt4@gpt-4", "--out", "taught.jsonl"
    )


def made_up_by_nobody(house: House) -> Said:
    house.task()
    return house.sartor("data", "invent", "task.yaml", "--by", "gpt-4", "--out", "new.jsonl")


CASES = {
    name: case
    for name, case in vars().copy().items()
    if getattr(case, "__module__", "") == __name__ and name not in ("with_source", "taught")
}
