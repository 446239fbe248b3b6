"""A shelf is a folder whose every file is one plug-in, named by its file. Listing a shelf imports none of them.

Plug-ins of strangers come in through entry points of the group of the same name; they may not replace one
that stands here. A plug-in file defines exactly one object marked `@plugin` and, beside it, one frozen
`Params` class, from which CLI flags, JSON schema and docs are made.
"""

import ast
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sartor.core.errors import AskError, PluginError, boundary, nearest, unknown

T = TypeVar("T")


class Params(BaseModel):
    """What a plug-in can be told: frozen, unknown keys refused. Subclass it beside the plug-in."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def plugin(thing: T) -> T:
    """Mark the one object of its file that the shelf hands out."""
    thing.__sartor_plugin__ = True  # type: ignore[attr-defined]
    return thing


@dataclass(frozen=True)
class Plugin:
    """A plug-in taken from its shelf."""

    shelf: str
    name: str
    make: Callable[..., Any]
    """The marked function or class."""
    params: type[Params]
    module: str
    """Import name of the file it stands in."""

    def read(self, given: dict[str, Any]) -> Params:
        """The given settings as this plug-in's Params.

        Raises:
            AskError: a key is unknown (the nearest known one is named) or a value does not fit.
        """
        try:
            return self.params.model_validate(given)
        except ValidationError as error:
            where = f"{_one(self.shelf)} '{self.name}'"
            raise AskError(
                f"The settings of {where} don't fit: {explain(error, self.params)}.", code="bad_params"
            ) from error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the marked object; what it raises names this plug-in."""
        with boundary(self.shelf, self.name):
            return self.make(*args, **kwargs)


class Shelf:
    """The plug-ins of one folder package, e.g. `Shelf("sartor.training.recipes")`."""

    def __init__(self, package: str) -> None:
        self.package = package

    @cached_property
    def _own(self) -> dict[str, Path]:
        spec = importlib.util.find_spec(self.package)
        folders = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
        return {f.stem: f for folder in folders for f in sorted(folder.glob("*.py")) if not f.stem.startswith("_")}

    @cached_property
    def _strangers(self) -> dict[str, EntryPoint]:
        return {e.name: e for e in entry_points(group=self.package) if e.name not in self._own}

    def names(self) -> list[str]:
        """All names, without importing any plug-in."""
        return sorted({*self._own, *self._strangers})

    def own(self) -> list[str]:
        """Names of those that stand in the folder itself."""
        return sorted(self._own)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: str) -> bool:
        return name in self._own or name in self._strangers

    def summary(self, name: str) -> str:
        """First line of the plug-in's module docstring, read without importing it ('' for a stranger's)."""
        if name not in self._own:
            return ""
        doc = ast.get_docstring(ast.parse(self._own[name].read_text(encoding="utf-8")))
        return (doc or "").split("\n")[0]

    def take(self, name: str) -> Plugin:
        """Import one plug-in.

        Raises:
            NotFoundError: no such name; the known ones are listed.
            MissingExtraError: the plug-in needs a package that is not installed.
            PluginError: its file does not define exactly one plug-in.
        """
        if name not in self:
            raise unknown(_one(self.package), name, self.names())
        with boundary(self.package, name):
            if name in self._own:
                module = importlib.import_module(f"{self.package}.{name}")
            else:
                module = importlib.import_module(self._strangers[name].module)
        found = [
            v
            for v in vars(module).values()
            if getattr(v, "__sartor_plugin__", False) and v.__module__ == module.__name__
        ]
        if len(found) != 1:
            raise PluginError(
                self.package, name, TypeError(f"the file must define exactly one @plugin, found {len(found)}")
            )
        params = getattr(module, "Params", Params)
        return Plugin(self.package, name, found[0], params, module.__name__)


def _one(package: str) -> str:
    """What one plug-in of a shelf is called."""
    name = package.rsplit(".", 1)[-1]
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """A pydantic error in plain words: where, what, and for an unknown key the nearest known one."""
    parts = []
    for item in error.errors():
        where = ".".join(str(step) for step in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _keys_at(model, item["loc"][:-1])
            near = nearest(str(item["loc"][-1]), known)
            hint = f"did you mean '{near}'? " if near else ""
            parts.append(f"unknown key '{where}' ({hint}known: {', '.join(sorted(known))})")
        elif item["type"] == "missing":
            parts.append(f"'{where}' is missing")
        elif item["type"] == "value_error":
            said = item["msg"].removeprefix("Value error, ")
            parts.append(f"'{where}' (got {str(item['input'])[:60]!r}): {said}" if where else said)
        elif item["type"] == "string_type" and isinstance(item["input"], (bool, int, float)):
            parts.append(f"'{where}' must be text: put {str(item['input']).lower()} in quotes")
        else:
            parts.append(f"'{where}': {item['msg']} (got {str(item['input'])[:60]!r})")
    return "; ".join(parts)


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Field names of the nested model that a path of an error leads to."""
    for step in path:
        if not isinstance(step, str) or step not in model.model_fields:
            continue
        nested = _model_in(model.model_fields[step].annotation)
        if nested is None:
            return []
        model = nested
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (found := _model_in(inner)) is not None:
            return found
    return None
