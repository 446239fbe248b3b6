"""What is particular about a kind of task stands on its shelves: nobody else asks a task of which kind it is."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELVES = ("data/kinds", "evaluation/kinds")
KINDS = {path.stem for path in (ROOT / "sartor/data/kinds").glob("*.py")} - {"__init__"}
PLUGINS = ("training/recipes", "serving/engines", "registry/exporters", "pipeline/exporters")
"""Shelves whose plug-ins say themselves which kinds they serve."""
FITS = {"training/claims.py", "pipeline/outside/stating.py"}
"""What a score means is fitted for values of objects or for whole texts; the predictor of an export knows no shelf."""


def _asks(node: ast.AST) -> bool:
    """Whether something called `kind` is compared with the name of a kind of task."""
    if not isinstance(node, ast.Compare):
        return False
    sides = [node.left, *node.comparators]
    named = any(isinstance(side, ast.Constant) and side.value in KINDS for side in sides) or any(
        isinstance(one, ast.Constant) and one.value in KINDS
        for side in sides
        if isinstance(side, ast.Tuple | ast.Set | ast.List)
        for one in side.elts
    )
    kind = any(
        (isinstance(side, ast.Attribute) and side.attr == "kind")
        or (isinstance(side, ast.Name) and side.id == "kind")
        or (isinstance(side, ast.Subscript) and getattr(side.slice, "value", "") == "kind")
        for side in sides
    )
    return named and kind


def test_there_are_kinds_on_both_shelves():
    assert {"classify", "extract", "generate"} <= KINDS
    assert {path.stem for path in (ROOT / "sartor/evaluation/kinds").glob("[a-z]*.py")} == KINDS


def test_nobody_but_the_shelves_asks_for_the_kind_of_a_task():
    found = []
    for path in sorted((ROOT / "sartor").rglob("*.py")):
        name = path.relative_to(ROOT / "sartor").as_posix()
        if name.startswith((*SHELVES, *PLUGINS)) or name in FITS:
            continue
        found += [f"{name}:{node.lineno}" for node in ast.walk(ast.parse(path.read_text())) if _asks(node)]
    assert not found
