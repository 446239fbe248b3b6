"""What can be asked for as `model` of a fine-tuning job, how OpenAI's numbers become a recipe's, and draft tasks.

A draft task is made where no task is named: every error costs 1, and nothing of it can go live by itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sartor.core.errors import AskError, unknown
from sartor.core.task import Candidate, DataSpec, Incumbent, InputSpec, SourcePick, Task
from sartor.core.value import Value
from sartor.gateway.tuning_forms import AUTO, Hyperparameters
from sartor.pipeline.make import RECIPES
from sartor.registry.tuned import slug

MODELS: Mapping[str, Candidate] = {
    "linear": Candidate(recipe="linear"),
    "static": Candidate(recipe="head", base="static-minilm"),
    "minilm": Candidate(recipe="tune", base="minilm"),
    "mpnet": Candidate(recipe="adapter", base="mpnet"),
    "head:static-minilm": Candidate(recipe="head", base="static-minilm"),
    "head:minilm": Candidate(recipe="head", base="minilm"),
    "head:mpnet": Candidate(recipe="head", base="mpnet"),
    "adapter:minilm": Candidate(recipe="adapter", base="minilm"),
    "adapter:mpnet": Candidate(recipe="adapter", base="mpnet"),
    "tune:minilm": Candidate(recipe="tune", base="minilm"),
    "tune:mpnet": Candidate(recipe="tune", base="mpnet"),
}
"""Name of a model -> how it is made. Beside them `auto`: all of a ladder, of which validation rows pick one."""
LADDER = (MODELS["linear"], MODELS["static"], MODELS["head:minilm"])
"""What `auto` makes for a draft task."""
NUMBERS: Mapping[str, tuple[str, ...]] = {
    "n_epochs": ("epochs",),
    "batch_size": ("batch",),
    "learning_rate_multiplier": ("rate", "head_rate"),
}
"""OpenAI's number -> settings of a recipe that has it."""
TRAINED = ("tune", "adapter")
"""Recipes that have them."""
LICENCE = "owned"
"""Of rows that somebody sent: theirs, unless they say otherwise."""
MOST_NAME = 128


def candidates_for(model: str, task: Task | None, numbers: Hyperparameters) -> tuple[Candidate, ...]:
    """What is made for a model's name.

    Args:
        task: that is named; `auto` then makes its own candidates, and each can be asked for by its title.

    Raises:
        NotFoundError: there is no such model; those that there are get listed.
        AskError: a number has no meaning for it.
    """
    told = numbers.told()
    if model == AUTO:
        if told:
            raise _no_number(next(iter(told)), "'auto' makes several models and picks one")
        return task.candidates if task else LADDER
    own = {candidate.title: candidate for candidate in task.candidates if not candidate.of} if task else {}
    known = {**MODELS, **own}
    if model not in known:
        raise unknown("model to start from", model[:80], [AUTO, *known], param="model", code="model_not_found")
    chosen = known[model]
    if told and chosen.recipe not in TRAINED:
        raise _no_number(next(iter(told)), f"the recipe '{chosen.recipe}' has nothing of the kind")
    return (chosen,)


def with_numbers(candidate: Candidate, told: Mapping[str, int | float]) -> Candidate:
    """The candidate with OpenAI's numbers as settings of its recipe. Loads the recipe: for workers."""
    if not told:
        return candidate
    usual = {name: field.default for name, field in RECIPES.take(candidate.recipe).params.model_fields.items()}
    params: dict[str, Any] = {**usual, **candidate.params}
    changed = {
        setting: value * params[setting] if number == "learning_rate_multiplier" else value
        for number, value in told.items()
        for setting in NUMBERS[number]
    }
    return candidate.model_copy(update={"params": {**candidate.params, **changed}})


def _no_number(number: str, why: str) -> AskError:
    having = ", ".join(name for name, made in MODELS.items() if made.recipe in TRAINED)
    return AskError(
        f"'{number}' can only be 'auto' here: {why}. It can be said for {having}.",
        code="unsupported_parameter",
        param="hyperparameters",
    )


def draft_task(
    tenant: str, suffix: str, file: str, content: str, *, currency: str, licence: str, of: Task | None = None
) -> Task:
    """The task of a file that names none, or whose sender may not change the one that it names.

    Args:
        suffix: name of the model, where its sender gave one.
        file: name of the file.
        content: digest of the file.
        of: the task whose costs, gate, input and labels apply.
    """
    name = f"draft-{tenant}-{slug(suffix) or slug(file.rpartition('.')[0]) or 'file'}"[:MOST_NAME].rstrip("-._")
    source = SourcePick.model_validate({"use": "chat_logs", "licence": licence, "path": f"{content[:16]}.jsonl"})
    data = DataSpec(sources=(source,), on_leak="drop_train")
    if of is None:
        return Task(name=name, input=InputSpec(), data=data, value=Value(currency=currency), candidates=LADDER)
    # What rests on columns that a chat has not is left out: levels, slices, recorded answers.
    data = data.model_copy(update={"curate": of.data.curate})
    value = of.value.model_copy(update={"levels": {}})
    changed = {"name": name, "data": data, "value": value, "incumbent": Incumbent(), "relabel": (), "judges": ()}
    return of.model_copy(update=changed)


def base_of(titles: Sequence[str], model: str) -> str:
    """How a model's name calls what it was made of: what was asked for, or what was picked."""
    return slug((titles[0] if model == AUTO and titles else model).replace(":", "-"))
