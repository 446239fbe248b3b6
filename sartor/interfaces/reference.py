"""Writes `docs/reference` from the code: commands, plug-ins, the task file, settings, errors.

    python -m sartor.interfaces.reference [--check]

`--check` writes nothing and fails if a file is not what it would be. Needs all extras: every plug-in is imported.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from inspect import cleandoc, getdoc, getmodule
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import sartor
from sartor.core import errors
from sartor.core.shelf import Shelf
from sartor.core.task import Task
from sartor.interfaces.described import field_docs, methods, models_in, task_schema, words_of

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
SHELVES = {
    "sartor.data.sources": "Where rows come from: `data.sources` in the task file.",
    "sartor.data.curators": "What is done to rows: `data.curate` in the task file.",
    "sartor.hub.catalogue": "Families of base models: `base` of a candidate; `sartor hub list` has the entries.",
    "sartor.training.recipes": "How variants are made: `recipe` of a candidate, settings under its `params`.",
    "sartor.training.strategies": "How a variant goes on from the live one: `learn.strategies` in the task file.",
    "sartor.serving.engines": "What runs variants; a variant's recipe decides which.",
    "sartor.data.kinds": "What rows hold as their answer: `kind` of the task.",
    "sartor.evaluation.kinds": "How answers are judged: `kind` of the task.",
    "sartor.evaluation.scorers": "What a text can be asked to fulfil: `use` of a criterion under `value.rubric`.",
    "sartor.evaluation.metrics": "Figures of every report; their names stand in `gate.guards`.",
    "sartor.gateway.policies": "What answers a route: `use` of its policy, settings beside it.",
    "sartor.gateway.protocols": "How upstreams are spoken to: `protocol` of an upstream.",
    "sartor.feedback.judges": "Who else says whether an answer was right: `use` of a judge under `judges`.",
    "sartor.pipeline.exporters": "Where a variant can go: `--to` of `sartor export`, settings by `--set key=value`.",
}
"""Package -> what stands on that shelf."""
NOTE = "<!-- Made by `python -m sartor.interfaces.reference` from the code: edit the code. -->"


def main(arguments: Sequence[str]) -> int:
    """Write all files, or with --check say which differ; the exit code."""
    made = {name: text.rstrip() + "\n" for name, text in pages().items()}
    if "--check" not in arguments:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (FOLDER / name).write_text(text, encoding="utf-8")
        return 0
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.*")}
    stale = sorted(name for name in {*made, *there} if made.get(name) != there.get(name))
    if stale:
        print(f"Not as the code has it: {', '.join(stale)}. Run: python -m sartor.interfaces.reference")
    return 1 if stale else 0


def pages() -> dict[str, str]:
    """Every file by name."""
    return {
        "README.md": _index(),
        "cli.md": _page("Commands", _cli()),
        "python.md": _page("Python", _python()),
        "plugins.md": _page("Plug-ins", _plugins()),
        "task.md": _page("The task file", _task()),
        "gateway.md": _page("The gateway file", _gateway()),
        "settings.md": _page("Settings", _settings()),
        "control-plane.md": _page("The control plane", _control_plane()),
        "errors.md": _page("Errors", _errors()),
        "task.schema.json": json.dumps(task_schema(), indent=1, ensure_ascii=False),
    }


def _index() -> str:
    lines = [
        "* [Commands](cli.md): everything that `sartor` can be told",
        "* [Python](python.md): what `from sartor import …` gives",
        "* [Plug-ins](plugins.md): sources, curators, bases, recipes, engines, metrics, policies, protocols",
        "* [The task file](task.md), and its [JSON Schema](task.schema.json)",
        "* [The gateway file](gateway.md): upstreams and routes",
        "* [Settings](settings.md): environment variables, limits of a request",
        "* [The control plane](control-plane.md): every address with its permission",
        "* [Errors](errors.md): exit codes and HTTP statuses",
    ]
    return _page("Reference", lines)


def _page(title: str, lines: Iterable[str]) -> str:
    text = "\n".join([f"# {title}", "", NOTE, "", *lines])
    return re.sub(r"\n{3,}", "\n\n", text)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table and an empty line; nothing where there are no rows."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    if cells:
        yield f"| {' | '.join(columns)} |"
        yield f"|{' --- |' * len(columns)}"
        yield from (f"| {' | '.join(row)} |" for row in cells)
        yield ""


# Commands


def _cli() -> Iterator[str]:
    from typer.main import get_command

    from sartor.interfaces.cli.main import app

    yield "Every command takes `--json` and `--quiet` before or after its name. Exit codes: [errors](errors.md)."
    yield ""
    for path, command in _commands(get_command(app), "sartor"):
        yield from (f"## {path}", "", cleandoc(command.help or ""), "")
        if not hasattr(command, "commands"):
            yield from ("```", _usage(path, command), "```", "")
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
        yield from table(
            ["argument", "what", "default"], [(f"`{p.name}`", p.help or "", _default(p)) for p in arguments]
        )
        yield from table(["option", "what", "default"], [(_flags(p), p.help or "", _default(p)) for p in options])


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{path} {name}")


def _usage(path: str, command: Any) -> str:
    parts = [path]
    for p in command.params:
        if p.param_type_name == "argument":
            name = p.name.upper() + ("..." if p.nargs == -1 else "")
            parts.append(name if p.required else f"[{name}]")
    return " ".join([*parts, "[OPTIONS]"] if any(p.param_type_name == "option" for p in command.params) else parts)


def _flags(option: Any) -> str:
    return ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))


def _default(param: Any) -> str:
    if param.required:
        return "required"
    return "" if param.default in (None, "", False) else f"`{str(param.default).lower()}`"


# Python


def _python() -> Iterator[str]:
    yield "What `from sartor import …` gives; all of it is typed. Nothing is imported before it is used."
    yield ""
    for name in sartor.__all__:
        thing = getattr(sartor, name)
        yield from (f"## {name}", "", getdoc(thing) or "", "")
        if isinstance(thing, type):
            yield from _members(thing)


def _members(cls: type) -> Iterator[str]:
    for written, says in methods(cls):
        yield from ("```python", written, "```", "", says, "")
    if cls.__module__ in (Task.__module__, sartor.Value.__module__):
        yield from ("Its fields are the keys of [the task file](task.md).", "")
    elif is_dataclass(cls):
        docs = field_docs(cls)
        yield from table(["field", "what"], [(f"`{f.name}`", docs.get(f.name, "")) for f in dataclass_fields(cls)])


# Plug-ins


def _plugins() -> Iterator[str]:
    yield (
        "A file in a shelf's folder is a plug-in, named by the file. A package of your own adds one by an entry point "
        "in the group of the shelf's name; it can't replace one that stands here. Settings that are not known are "
        "refused."
    )
    yield ""
    for package, what in SHELVES.items():
        shelf = Shelf(package)
        yield from (f"## {package}", "", what, "")
        for name in shelf.own():
            plugin = shelf.take(name)
            yield from (f"### {name}", "", getdoc(sys.modules[plugin.module]) or "", "")
            yield from _fields(plugin.params)


def _fields(model: type[BaseModel]) -> Iterator[str]:
    """A table of a model's fields."""
    docs = field_docs(model)
    rows = [(f"`{name}`", *words_of(field), docs.get(name, "")) for name, field in model.model_fields.items()]
    return table(["key", "takes", "default", "what"], rows)


# The task file


def _task() -> Iterator[str]:
    yield (
        "One YAML file, UTF-8, at most 1 MiB, no anchors or aliases; unknown keys are refused. Only `true` and `false` "
        "are truth values. `sartor task schema` prints its [JSON Schema](task.schema.json); `sartor task check` reads "
        "a file against its rows. [Explained with examples](../task-yaml.md)."
    )
    yield ""
    for where, model in models_in(Task):
        yield from (f"## {where or 'The file'}", "", getdoc(model) or "", "")
        yield from _fields(model)


# The gateway file


def _gateway() -> Iterator[str]:
    from sartor.pipeline.gateway_file import GatewayFile

    yield (
        "YAML for `sartor route apply FILE`: what it declares is kept as records; names that it does not mention stay "
        "as they are. The same objects are taken and given by the control plane."
    )
    yield ""
    for where, model in models_in(GatewayFile):
        yield from (f"## {where or 'The file'}", "", getdoc(model) or "", "")
        yield from _fields(model)


# Settings and errors


def _settings() -> Iterator[str]:
    from sartor.gateway.bounds import Limits
    from sartor.interfaces.settings import VARIABLES

    yield from ("Environment variables; nothing else is read from the environment.", "")
    yield from table(["variable", "what"], [(f"`{name}`", what) for name, what in VARIABLES.items()])
    docs = field_docs(Limits)
    yield from ("## Limits of a request", "", getdoc(Limits) or "", "")
    rows = [(f"`{field.name}`", f"{field.default:,}", docs.get(field.name, "")) for field in dataclass_fields(Limits)]
    yield from table(["limit", "value", "what"], rows)


REACH = {"own": "its own tenant's", "house": "tenants `default` and `*`", "all": "tenant `*`"}


def _control_plane() -> Iterator[str]:
    from sartor.interfaces.api.table import ENDPOINTS

    yield (
        "The verbs of the command line over HTTP, on a port of its own (`sartor serve --admin-port`): the same JSON as "
        "`--json`, the same [errors](errors.md). Send `Authorization: Bearer sartor_…`. Without any key it listens on "
        "loopback only, and whoever reaches it may do everything. Every change is in the audit log. As OpenAPI: "
        "`GET /api/v1/openapi.json`."
    )
    rows = []
    for endpoint in ENDPOINTS:
        model = endpoint.body or endpoint.query
        takes = ", ".join(f"`{name}`" for name in model.model_fields) if model else ""
        whose = "" if endpoint.permission == "anyone" else REACH[endpoint.reach]
        says = _first_line(endpoint.function).partition("\n")[0]
        rows.append((f"`{endpoint.name}`", endpoint.permission, whose, takes, says))
    yield ""
    yield from table(["address", "permission", "for", "takes", "what"], rows)


def _errors() -> Iterator[str]:
    yield (
        "An error says what was tried, what is wrong and what to do, in the same words on the command line and over "
        "HTTP. With `--json`, and over HTTP, it is one object in OpenAI's form:"
    )
    example = errors.NotFoundError("There is no model 'triag'. …", code="model_not_found", param="model")
    yield from ("", "```json", json.dumps(example.envelope(), indent=1, ensure_ascii=False), "```", "")
    rows = [
        (f"`{cls.__name__}`", str(cls.exit_code), str(cls.http_status), f"`{cls.error_type}`", _first_line(cls))
        for cls in _error_classes()
    ]
    yield from table(["error", "exit code", "HTTP status", "type", "when"], rows)
    yield from ("## Other exit codes", "")
    yield from table(
        ["exit code", "when"],
        [
            ("0", "done"),
            ("1", "what nobody has put into words (`--traceback` shows where), or the reader of the output is gone"),
            ("2", "the command line itself is wrong, or `task check` found an error"),
            ("7", "`run`: the gate did not pass; `decide --replay`: the verdict is another one"),
            ("130", "stopped by Ctrl-C; what was finished is kept"),
        ],
    )


def _error_classes() -> list[type[errors.SartorError]]:
    found = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.SartorError)]
    return [cls for cls in found if getmodule(cls) is errors]


def _first_line(thing: object) -> str:
    return (getdoc(thing) or "").split("\n\n")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
