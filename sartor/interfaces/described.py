"""Puts settings into words: what a field is for, what it takes, and a JSON Schema that says so.

What a field is for stands as a string below it in the source; nothing of that is read while models are made or served.
"""

import ast
import types
from collections.abc import Iterator
from inspect import getsource
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sartor.core.task import Task

PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path", type(None): "null"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤"}


def field_docs(model: type) -> dict[str, str]:
    """Field -> the string below it, of the class and those that it inherits from."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if cls.__module__.startswith("sartor.") or cls is model:
            (tree,) = ast.parse(dedent(getsource(cls))).body
            found |= _strings_below(tree)
    return found


def _strings_below(tree: ast.stmt) -> dict[str, str]:
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            found[field.target.id] = " ".join(below.value.value.split())
    return found


def methods(cls: type) -> Iterator[tuple[str, str]]:
    """How each public method and property of a class is written, and what it says of itself."""
    (tree,) = ast.parse(dedent(getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _public(node.name):
            name = cls.__name__ if node.name == "__init__" else node.name
            taken = ast.unparse(node.args).removeprefix("self").removeprefix(", ")
            call = name if _is_property(node) else f"{name}({taken})"
            gives = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
            begins = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
            yield f"{begins}{call}{gives}".replace("'", ""), ast.get_docstring(node) or ""


def _public(name: str) -> bool:
    return name == "__init__" or not name.startswith("_")


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id in ("property", "cached_property") for d in node.decorator_list)


def words_of(field: FieldInfo) -> tuple[str, str]:
    """What a field takes, and its default."""
    takes = _type(field.annotation) + _bounds(field.metadata)
    if field.is_required():
        return takes, "required"
    return takes, f"`{_value(field.get_default(call_default_factory=True))}`"


def _type(annotation: Any) -> str:
    """A type in words that fit a YAML file."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in PLAIN:
        return PLAIN[annotation]
    if origin is Annotated:
        metadata = inner[1].metadata if isinstance(inner[1], FieldInfo) else list(inner[1:])
        return _type(inner[0]) + _bounds(metadata)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in inner)
    if origin in (tuple, list):
        return "list of " + " and ".join(dict.fromkeys(_type(part) for part in inner if part is not Ellipsis))
    if origin is dict:
        return f"mapping of {_type(inner[0])} to {_type(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return "anything"


def _bounds(metadata: list[Any]) -> str:
    said = [f"{sign} {getattr(m, name):g}" for m in metadata for name, sign in BOUNDS.items() if hasattr(m, name)]
    return f" ({', '.join(said)})" if said else ""


def _value(value: Any) -> str:
    if isinstance(value, BaseModel):
        shown = value.model_dump(mode="json", exclude_defaults=True)
        return str(shown) if shown else "{}"
    if isinstance(value, tuple):
        return f"[{', '.join(_value(v) for v in value)}]"
    plain = {None: "null", True: "true", False: "false", "": '""'}
    return plain[value] if isinstance(value, (bool, str, type(None))) and value in plain else str(value)


def models_in(model: type[BaseModel], where: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """A model and those inside it, each with the path that leads to it (`data.split`, `candidates[]`)."""
    yield where, model
    for name, field in model.model_fields.items():
        for inner, many in _inner_models(field.annotation):
            path = f"{where}.{name}" if where else name
            yield from models_in(inner, f"{path}[]" if many else path)


def _inner_models(annotation: Any, *, many: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, many
    for part in get_args(annotation):
        yield from _inner_models(part, many=many or get_origin(annotation) in (tuple, list))


def task_schema() -> dict[str, Any]:
    """The JSON Schema of a task file, with what each key is for."""
    schema = Task.model_json_schema()
    for _, model in models_in(Task):
        section = schema if model is Task else schema["$defs"][model.__name__]
        for name, says in field_docs(model).items():
            if name in section["properties"]:
                section["properties"][name]["description"] = says
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
