"""What can be wrong around rules, prompts, preferences and sweeps."""

import json

from golden_house import House, Said

TASK = """\
name: sums
kind: generate
data:
  sources: [{use: jsonl, path: sums.jsonl, licence: owned}]
  label: answer
candidates:
"""


def run_with(house: House, candidate: str) -> Said:
    """A task of sums with one candidate."""
    rows = [json.dumps({"text": f"Ann has {n} and Bo {n + 2}.", "answer": f"{n + 2} - {n}"}) for n in range(1, 60)]
    house.write("sums.jsonl", "\n".join(rows) + "\n")
    house.write("sums.yaml", TASK + f"  - {candidate}\n")
    return house.sartor("run", "sums.yaml")


def sweep_with(house: House, text: str, *options: str) -> Said:
    """The small task with something to search through."""
    house.task(more=text)
    return house.sartor("sweep", "task.yaml", *options)


def rule_that_is_code(house: House) -> Said:
    return run_with(house, "{recipe: rules, params: {say: [{say: '{= open(n1)}'}]}}")


def rule_with_a_hole_that_is_none(house: House) -> Said:
    return run_with(house, "{recipe: rules, params: {say: [{say: '{bigger} - {smaller}'}]}}")


def rule_that_is_no_expression(house: House) -> Said:
    return run_with(house, "{recipe: rules, params: {say: [{say: '{1}', when: '(('}]}}")


def prompt_for_nobody(house: House) -> Said:
    return run_with(house, "{recipe: prompt}")


def prompt_for_an_unknown_upstream(house: House) -> Said:
    return run_with(house, "{recipe: prompt, params: {upstream: gpt-5}}")


def preferences_without_a_variant_to_go_on_from(house: House) -> Said:
    return run_with(house, "{recipe: dpo}")


def recipe_that_trains_on_no_gpu(house: House) -> Said:
    return run_with(house, "{recipe: rules, device: cuda}")


def sweep_of_nothing(house: House) -> Said:
    return sweep_with(house, "")


def sweep_of_an_unknown_candidate(house: House) -> Said:
    return sweep_with(house, "sweep: {of: lora, space: {rank: [4]}}\n")


def sweep_over_an_unknown_setting(house: House) -> Said:
    return sweep_with(house, "sweep: {of: linear, space: {rank: [4]}}\n")


def sweep_over_a_range_without_samples(house: House) -> Said:
    return sweep_with(house, "sweep: {of: linear, space: {folds: {low: 2, high: 5}}}\n")


def sweep_somewhere_else(house: House) -> Said:
    return sweep_with(house, "sweep: {of: linear, space: {folds: [2, 3]}}\n", "--on", "slurm")


CASES = {
    name: case
    for name, case in vars().copy().items()
    if getattr(case, "__module__", "") == __name__ and name not in ("run_with", "sweep_with")
}
