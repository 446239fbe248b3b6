"""Small jobs with written answers: arithmetic in words, with a reason for each answer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sartor.core.shelf import Shelf
from sartor.training.job import Draft, Job, Writing

RECIPES = Shelf("sartor.training.recipes")
INSTRUCTIONS = "Write the sum."
NAMES = ("apples", "steel bolts", "rolls of copper wire", "friends")


def rows(count: int) -> list[tuple[str, str, str]]:
    """Texts of uneven length, answers, reasons."""
    found = []
    for place in range(count):
        first, second, name = place % 7 + 1, place % 3 + 2, NAMES[place % 4]
        text = f"Sally had {first} {name} and {second} more." + " They are hers." * (place % 5)
        found.append((text, f"{first} + {second}", f"She had {first}, then {second} more."))
    return found


def job_on(base: Path, folder: Path, *, count: int = 12, why: bool = False, **more: Any) -> Job:
    """A job on the first rows, validated on the same."""
    texts, answers, reasons = zip(*rows(count), strict=True)
    folder.mkdir(parents=True, exist_ok=True)
    writing = Writing("generate", answers, answers, instructions=INSTRUCTIONS, rationales=reasons if why else ())
    job = Job(
        labels=(),
        train_texts=texts,
        train_targets=(),
        validation_texts=texts,
        validation_targets=(),
        folder=folder,
        base=base,
        writing=writing,
    )
    return replace(job, **more)


def make(name: str, job: Job, **params: Any) -> Draft:
    """Run a recipe."""
    recipe = RECIPES.take(name)
    return recipe(job, recipe.read(params))
