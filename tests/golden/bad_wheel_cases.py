"""What can be wrong around the wheel: schedules, edits of labels, jobs, recalls, labels in files."""

import re

from golden_house import House, Said


def run_with(house: House, more: str) -> Said:
    house.task(more=more)
    return house.sartor("run", "task.yaml")


def schedule_of_no_time(house: House) -> Said:
    return run_with(house, "wheel: {schedule: every night}\n")


def schedule_that_never_comes(house: House) -> Said:
    return run_with(house, "wheel: {schedule: '0 0 31 2 *'}\n")


def news_without_a_secret(house: House) -> Said:
    return run_with(house, "wheel: {notify: [{webhook: 'https://ops.example.org/x'}]}\n")


def edit_of_two_kinds(house: House) -> Said:
    return run_with(house, "relabel: [{add: refund, retire: fax}]\n")


def split_into_one(house: House) -> Said:
    return run_with(house, "relabel: [{split: card, into: [card_lost]}]\n")


def unknown_strategy(house: House) -> Said:
    return run_with(house, "learn: {strategies: [{use: warmer}]}\n")


def unknown_judge_plugin(house: House) -> Said:
    return run_with(house, "judges: [{use: oracle, name: o}]\n")


def learn_unknown_task(house: House) -> Said:
    return house.sartor("learn", "triagee")


def learn_with_a_file_of_another_task(house: House) -> Said:
    house.task(("name: triage", "name: other"))
    return house.sartor("learn", "triage", "--file", "task.yaml")


def wheel_of_unknown_task(house: House) -> Said:
    return house.sartor("wheel", "status", "--task", "triagee")


def nothing_to_approve(house: House) -> Said:
    return house.sartor("approvals", "approve", "triage")


def unknown_job(house: House) -> Said:
    return house.sartor("jobs", "show", "job-0123456789abcdef")


def unknown_kind_of_job(house: House) -> Said:
    return house.sartor("jobs", "submit", "lern")


def two_cancels(house: House) -> list[Said]:
    asked = house.sartor("learn", "triage", "--submit")
    found = re.search(r"job-[0-9a-f]+", asked.out)
    assert found, asked
    return [house.sartor("jobs", "cancel", found[0]) for _ in range(2)]


def job_for_a_retired_task(house: House) -> list[Said]:
    house.sartor("registry", "retire", "triage")
    said = house.sartor("learn", "triage")
    house.sartor("registry", "rollback", "triage")
    return [said]


def recall_of_unknown_source(house: House) -> Said:
    return house.sartor("recall", "source", "ticketz.csv", "--plan")


def recall_of_unknown_base(house: House) -> Said:
    return house.sartor("recall", "base", "minilmm", "--plan")


def recall_of_unknown_row(house: House) -> Said:
    return house.sartor("recall", "row", "no-such-row", "--plan")


def recall_of_unknown_person(house: House) -> Said:
    return house.sartor("recall", "subject", "nobody@example.org", "--plan")


def label_unknown_task(house: House) -> Said:
    return house.sartor("label", "triagee")


def labels_file_with_a_bad_line(house: House) -> Said:
    house.write("labels.csv", "item,label,who\nrow:one,card,anna\nrow:two,,anna\n")
    return house.sartor("labels", "import", "triage", "labels.csv")


def labels_file_that_is_not_there(house: House) -> Said:
    return house.sartor("labels", "import", "triage", "nowhere.csv")


def harvest_of_unknown_task(house: House) -> Said:
    return house.sartor("data", "harvest", "triagee")


def drift_of_unknown_task(house: House) -> Said:
    return house.sartor("drift", "triagee")


def unknown_judge(house: House) -> Said:
    return house.sartor("judge", "measure", "triage", "oracle")


def campaign_to_unknown_base(house: House) -> Said:
    return house.sartor("campaign", "plan", "--from-base", "minilm", "--to-base", "minilmm")


def fine_tune_of_unknown_file(house: House) -> Said:
    return house.post("/v1/fine_tuning/jobs", {"model": "linear", "training_file": "file-nothing"})


def fine_tune_by_reward(house: House) -> Said:
    body = {"model": "linear", "training_file": "file-nothing", "method": {"type": "reinforcement"}}
    return house.post("/v1/fine_tuning/jobs", body)


CASES = {
    name: case
    for name, case in vars().copy().items()
    if getattr(case, "__module__", "") == __name__ and name != "run_with"
}
