"""Joins files of this folder into one script that needs none of the others. Reads source, runs none of it."""

import ast
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
OURS = "sartor"


def assembled(names: Sequence[str], about: str, ending: str) -> str:
    """One script of these files, in this order: their imports together, then what each defines.

    Args:
        about: its docstring.
        ending: what it does when it is run.
    """
    imports: dict[str, None] = {}
    bodies = []
    for name in names:
        found, body = _taken_apart((HERE / f"{name}.py").read_text(encoding="utf-8"))
        imports |= dict.fromkeys(found)
        bodies.append(body)
    head = "\n".join(sorted(imports, key=lambda line: (line.startswith("from"), line)))
    return f'"""{about}"""\n\n{head}\n\n' + "\n\n\n".join(bodies) + f"\n\n\n{ending}\n"


def _taken_apart(source: str) -> tuple[list[str], str]:
    """The imports of a file, those of this house aside, and the rest without its docstring."""
    lines = source.splitlines()
    imports = []
    for node in ast.parse(source).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not isinstance(node, ast.Import | ast.ImportFrom) and not is_docstring:
            continue
        if not is_docstring and not ast.unparse(node).startswith(f"from {OURS}"):
            imports.append(ast.unparse(node))
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[number] = ""
    return imports, "\n".join(lines).strip("\n")
