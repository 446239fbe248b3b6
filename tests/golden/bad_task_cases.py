"""Bad input on the way in: task files, rows, plug-in names, costs."""

from golden_house import TASK, House, Said, write_rows

DEEP = "deep: " + "[" * 30 + "]" * 30 + "\n"
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nname: *c\n"


def run(house: House) -> Said:
    return house.sartor("run", "task.yaml")


def no_task_file(house: House) -> Said:
    return house.sartor("run", "tsak.yaml")


def no_rows_file(house: House) -> Said:
    house.task(("rows.csv", "row.csv"))
    return run(house)


def empty_file(house: House) -> Said:
    house.write("rows.csv", "")
    return run(house)


def header_only(house: House) -> Said:
    house.write("rows.csv", "text,label\n")
    return run(house)


def empty_task_file(house: House) -> Said:
    house.write("task.yaml", "")
    return run(house)


def wrong_encoding(house: House) -> Said:
    (house.folder / "rows.csv").write_bytes("text,label\nKarte gestohlen für Müller,card\n".encode("latin-1"))
    return run(house)


def task_not_utf8(house: House) -> Said:
    (house.folder / "task.yaml").write_bytes((TASK + "description: für Müller\n").encode("latin-1"))
    return run(house)


def missing_column(house: House) -> Said:
    house.task(("data:\n", "data:\n  label: lable\n"))
    return run(house)


def ragged_row(house: House) -> Said:
    house.write("rows.csv", "text,label\nhello,card\nhello, world,card\n")
    return run(house)


def not_json_lines(house: House) -> Said:
    house.write("rows.jsonl", '{"text": "hello", "label": "card"}\n{"text": "hello"\n')
    house.task(("use: csv, path: rows.csv", "use: jsonl, path: rows.jsonl"))
    return run(house)


def not_parquet(house: House) -> Said:
    house.task(("use: csv", "use: parquet"))
    return run(house)


def one_label(house: House) -> Said:
    house.write("rows.csv", "text,label\n" + "".join(f"my card {n} is lost,card\n" for n in range(40)))
    return run(house)


def label_with_two_rows(house: House) -> Said:
    with (house.folder / "rows.csv").open("a", encoding="utf-8") as file:
        file.write("close my account,close\ni want to close it,close\n")
    return house.sartor("task", "check", "task.yaml")


def label_without_rows(house: House) -> Said:
    house.task(more="labels: [card, transfer, adress]\n")
    return run(house)


def yaml_bomb(house: House) -> Said:
    house.write("task.yaml", BOMB)
    return run(house)


def yaml_too_deep(house: House) -> Said:
    house.task(more=DEEP)
    return run(house)


def yaml_double_key(house: House) -> Said:
    house.task(more="name: another\n")
    return run(house)


def not_yaml(house: House) -> Said:
    house.task(more="gate: {min_rows: 10\n")
    return run(house)


def not_a_mapping(house: House) -> Said:
    house.write("task.yaml", "- triage\n- rows.csv\n")
    return run(house)


def task_file_too_big(house: House) -> Said:
    house.task(more="# " + "x" * (1 << 20) + "\n")
    return run(house)


def unknown_key(house: House) -> Said:
    house.task(("gate: {min_rows", "gate: {minrows"))
    return run(house)


def unknown_key_of_value(house: House) -> Said:
    house.task(("wrong: 5", "wrnog: 5"))
    return run(house)


def nan_costs(house: House) -> Said:
    house.task(("wrong: 5", "wrong: .nan"))
    return run(house)


def costs_that_cannot_be_meant(house: House) -> Said:
    house.task(("price: 2", "price: 9"))
    return house.sartor("task", "check", "task.yaml")


def confusion_of_unknown_label(house: House) -> Said:
    house.task(("wrong: 5", "wrong: 5, confusions: [{true: card, answer: transfr, cost: 9}]"))
    return run(house)


def unknown_level(house: House) -> Said:
    house.task(("wrong: 5", "wrong: 5, levels: {department: 1}"))
    return run(house)


def unknown_recipe(house: House) -> Said:
    house.task(("recipe: linear", "recipe: liner"))
    return run(house)


def unknown_recipe_setting(house: House) -> Said:
    house.task(("size: small", "size: small, params: {lerning_rate: 1}"))
    return run(house)


def unknown_base(house: House) -> Said:
    house.task(("recipe: linear, size: small", "recipe: head, base: minlm"))
    return run(house)


def recipe_without_its_base(house: House) -> Said:
    house.task(("recipe: linear, size: small", "recipe: head"))
    return run(house)


def unknown_source(house: House) -> Said:
    house.task(("use: csv", "use: cvs"))
    return run(house)


def unknown_curator(house: House) -> Said:
    house.task(("data:\n", "data:\n  curate: [{use: normalize}]\n"))
    return run(house)


def unknown_metric(house: House) -> Said:
    house.task(("gate: {", "gate: {guards: {acuracy: 0.01}, "))
    return run(house)


def unknown_floor(house: House) -> Said:
    house.task(("gate: {", "gate: {floor: liner, "))
    return house.sartor("task", "check", "task.yaml")


def blend_of_itself(house: House) -> Said:
    house.task(("recipe: linear, size: small", "recipe: blend, of: [blend]"))
    return run(house)


def blend_of_unknown(house: House) -> Said:
    house.task(("size: small}", "size: small}\n  - {recipe: blend, of: [linear, head]}"))
    return run(house)


def two_candidates_of_one_name(house: House) -> Said:
    house.task(("size: small}", "size: small}\n  - {recipe: linear, size: medium}"))
    return run(house)


def task_name_with_slash(house: House) -> Said:
    house.task(("name: triage", "name: ../triage"))
    return run(house)


def test_rows_in_training(house: House) -> Said:
    lines = (house.folder / "rows.csv").read_text(encoding="utf-8").splitlines()
    house.write("test.csv", "\n".join([lines[0], *lines[1:4]]) + "\n")
    source = "    - {use: csv, path: test.csv, licence: owned, split: test}\n"
    house.task(("licence: owned}\n", "licence: owned}\n" + source))
    return run(house)


def hierarchy_with_two_parents(house: House) -> Said:
    write_rows(house.folder / "rows.csv", team=lambda number: "front" if number % 2 else "back")
    house.task(("data:\n", "data:\n  levels: [team]\n"))
    return run(house)


def no_recorded_answers(house: House) -> Said:
    house.task(more="incumbent: {kind: recorded, column: gpt4}\n")
    return run(house)


def gate_not_passed(house: House) -> Said:
    house.task(("min_rows: 10", "min_rows: 100000"))
    return house.sartor("--json", "run", "task.yaml")


def licence_unknown(house: House) -> Said:
    house.task((", licence: owned", ""), ("name: triage", "name: unlicensed"))
    return house.sartor("--json", "run", "task.yaml")


def draft_over_a_file(house: House) -> Said:
    return house.sartor("init", "rows.csv", "--owned")


def draft_without_labels(house: House) -> Said:
    house.write("texts.csv", "text\nhello\nworld\n")
    return house.sartor("init", "texts.csv", "--owned", "-o", "new.yaml")


def bad_setting(house: House) -> Said:
    return house.sartor("run", "task.yaml", SARTOR_THREADS="many")


CASES = {name: case for name, case in vars().copy().items() if getattr(case, "__module__", "") == __name__}
del CASES["run"]
