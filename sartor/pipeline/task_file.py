"""Read a task file: YAML made safe (no aliases, bounded, no double keys), then the contract, errors in plain words.

Only `true` and `false` as values are booleans: `yes`, `no` and `on` stay the labels that they are, and a key is text.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sartor.core.errors import AskError, NotFoundError
from sartor.core.shelf import explain
from sartor.core.task import Task

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
TEXT, BOOLEAN, TIMESTAMP = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "bool", "timestamp"))


def read_task(path: Path) -> Task:
    """The task in a YAML file.

    Raises:
        NotFoundError: there is no such file.
        AskError: it is no YAML, too big or too deep, has aliases or double keys, or does not fit the contract.
    """
    if not path.is_file():
        raise NotFoundError(
            f"There is no task file '{path}'. Draft one from your rows with: sartor init rows.csv",
            code="file_not_found",
        )
    if path.stat().st_size > MAX_BYTES:
        raise AskError(
            f"'{path}' has {path.stat().st_size:,} bytes; a task file has at most {MAX_BYTES:,}. "
            "Rows belong in files of their own, under 'data.sources'.",
            code="too_big",
        )
    return parse_task(read_text(path), str(path))


def parse_task(text: str, name: str = "the task") -> Task:
    """The task in a YAML text; `name` is how messages call it."""
    loaded = load_yaml(text, name)
    if not isinstance(loaded, dict):
        raise AskError(f"{name} is no task: it must be a mapping with at least 'name' and 'data'.", code="bad_task")
    try:
        return Task.model_validate(loaded)
    except ValidationError as error:
        raise AskError(f"{name} is no valid task: {explain(error, Task)}.", code="bad_task") from error


def read_text(path: Path) -> str:
    """The text of a small UTF-8 file.

    Raises:
        NotFoundError: there is no such file.
        AskError: it is too big, or not UTF-8.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no file '{path}'.", code="file_not_found")
    if path.stat().st_size > MAX_BYTES:
        raise AskError(f"'{path}' has more than {MAX_BYTES:,} bytes.", code="too_big")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise AskError(f"'{path}' is not UTF-8 (byte {error.start}): save it as UTF-8.", code="bad_encoding") from error


def load_yaml(text: str, name: str) -> Any:
    """A YAML text made of mappings, lists and scalars.

    Raises:
        AskError: it is no YAML, too deep, or has aliases or double keys; the line is named.
    """
    import yaml

    try:
        for depth, token in _depths(yaml.scan(text), yaml):
            if isinstance(token, yaml.AliasToken | yaml.AnchorToken):
                where = token.start_mark.line + 1
                raise AskError(
                    f"{name}, line {where}: anchors and aliases are not read. Write it out.", code="yaml_alias"
                )
            if depth > MAX_DEPTH:
                raise AskError(f"{name} is nested deeper than {MAX_DEPTH} levels. Flatten it.", code="yaml_depth")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return None
        _settle(node, name, yaml)
        return yaml.SafeLoader("").construct_document(node)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, OverflowError) as error:
        # The plain errors are of scalars under an explicit tag, such as `!!int ten`.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise AskError(
            f"{name}{where} is not YAML: {problem}. Look there for a missing quote, bracket or indent.", code="bad_yaml"
        ) from error


def _depths(tokens: Any, yaml: Any) -> Any:
    """Each token with how deep it is nested."""
    depth = 0
    opening = (
        yaml.BlockMappingStartToken,
        yaml.BlockSequenceStartToken,
        yaml.FlowMappingStartToken,
        yaml.FlowSequenceStartToken,
    )
    closing = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
    for token in tokens:
        depth += isinstance(token, opening)
        depth -= isinstance(token, closing)
        yield depth, token


def _settle(node: Any, name: str, yaml: Any) -> None:
    """Refuse double keys; read keys and dates as text, and only true and false as truth values.

    YAML 1.1, which the parser reads, would take the key of `{true: card}` and the labels of `[yes, no]` for truth
    values, and some version numbers for dates.
    """
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise AskError(f"{name}, line {line}: a key must be plain text.", code="yaml_key")
            if key.value in seen:
                raise AskError(
                    f"{name}, line {line}: the key '{key.value}' stands twice. Keep one.", code="yaml_double_key"
                )
            seen.add(key.value)
            key.tag = TEXT
            _settle(value, name, yaml)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _settle(value, name, yaml)
    elif (node.tag == BOOLEAN and node.value.lower() not in ("true", "false")) or node.tag == TIMESTAMP:
        node.tag = TEXT
