"""What can be wrong where made variants are cut, merged and quantised."""

import json

from golden_house import House, Said

from benchmarks._tiny_encoder import FRAMES, SUBJECTS, write_encoder

TASK = """\
name: desk
data:
  sources: [{use: jsonl, path: desk.jsonl, licence: owned}]
value: {wrong: 5}
gate: {min_rows: 10, floor: first}
candidates:
"""


def run_with(house: House, *candidates: str) -> Said:
    """The task of a desk with these candidates, the first of them one that others are made of."""
    rows = [
        {"text": f"{frame.format(word)} {mark}", "label": label}
        for label, words in SUBJECTS.items()
        for word in words
        for frame in FRAMES
        for mark in ("a", "b", "c")
    ]
    house.write("desk.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    house.write("desk.yaml", TASK + "".join(f"  - {candidate}\n" for candidate in candidates))
    return house.sartor("run", "desk.yaml")


def tuned(house: House, name: str, layers: int = 2, kind: str = "bert") -> str:
    """A candidate that fits a head to a random encoder; that of the same shape is the same."""
    folder = house.folder / f"{kind}-{layers}"
    if not folder.is_dir():
        write_encoder(folder, kind, layers=layers)
    return f"{{recipe: tune, name: {name}, base: 'folder:{folder}', params: {{epochs: 0}}}}"


def surgery_of_nothing(house: House) -> Said:
    return run_with(house, "{recipe: linear, name: first}", "{recipe: quantise}")


def surgery_of_what_has_no_weights(house: House) -> Said:
    return run_with(house, "{recipe: linear, name: first}", "{recipe: prune, of: [first]}")


def merging_different_shapes(house: House) -> Said:
    return run_with(
        house, tuned(house, "first"), tuned(house, "other", layers=3), "{recipe: merge, of: [first, other]}"
    )


def merging_different_architectures(house: House) -> Said:
    other = tuned(house, "other", kind="mpnet")
    return run_with(house, tuned(house, "first"), other, "{recipe: merge, of: [first, other]}")


def merging_by_unknown_method(house: House) -> Said:
    return run_with(
        house,
        tuned(house, "first"),
        tuned(house, "other"),
        "{recipe: merge, of: [first, other], params: {method: slerpp}}",
    )


def pruning_to_more_layers(house: House) -> Said:
    return run_with(house, tuned(house, "first"), "{recipe: prune, of: [first], params: {layers: 9}}")


def lower_rank_of_no_adapter(house: House) -> Said:
    base = f"folder:{house.folder / 'bert-2'}"
    return run_with(house, tuned(house, "first"), f"{{recipe: low_rank, of: [first], base: '{base}'}}")


def parity_of_what_no_surgery_made(house: House) -> Said:
    return house.sartor("registry", "parity", "triage@v1")


CASES = {
    "surgery_of_nothing": surgery_of_nothing,
    "surgery_of_what_has_no_weights": surgery_of_what_has_no_weights,
    "merging_different_shapes": merging_different_shapes,
    "merging_different_architectures": merging_different_architectures,
    "merging_by_unknown_method": merging_by_unknown_method,
    "pruning_to_more_layers": pruning_to_more_layers,
    "lower_rank_of_no_adapter": lower_rank_of_no_adapter,
    "parity_of_what_no_surgery_made": parity_of_what_no_surgery_made,
}
