"""Joins files of this folder into one script, and copies the modules of pure words that it answers by beside it.

Imports of this folder fall away, since all stands in one file; imports of other rooms become imports of a folder of
copies, whose name is not Sartor's. Reads source, runs none of it.
"""

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OURS = "sartor"
OUTSIDE = f"{OURS}.pipeline.outside"
COPIES = "answer_words"
"""Folder of copied modules in an export."""
NOTE = "# Copied from Sartor (Apache-2.0), so that it answers in the same words without it.\n"
FIND = f"sys.path.insert(0, str(Path(__file__).parent))  # for {COPIES}/\n"


def bundle(names: Sequence[str], about: str, ending: str, script: str = "predict.py") -> dict[str, str]:
    """Path in the export -> source: the script, and the copies that it needs.

    Their folder is named by what is in it, so that exports of several days can be opened in one process.
    """
    made = {script: assembled(names, about, ending), **copies(names)}
    mark = hashlib.sha256("".join(made[path] for path in sorted(made)).encode()).hexdigest()[:8]
    own = f"{COPIES}_{mark}"
    return {path.replace(COPIES, own): source.replace(COPIES, own) for path, source in made.items()}


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
    own = [line for line in imports if f" {COPIES}." in line]
    public = [line for line in imports if line not in own] + (["import sys", "from pathlib import Path"] if own else [])
    found = ["", FIND, *(f"{line}  # noqa: E402" for line in _merged(own))] if own else []
    head = "\n".join([*_merged(public), *found])
    return f'"""{about}"""\n\n{head}\n\n' + "\n\n\n".join(bodies) + f"\n\n\n{ending}\n"


def copies(names: Sequence[str]) -> Mapping[str, str]:
    """Path in the export -> source of every module of other rooms that these files need, and that those need."""
    waiting = [found for name in names for found in _needs(HERE / f"{name}.py") if not found.startswith(OUTSIDE)]
    made: dict[str, str] = {}
    while waiting:
        module = waiting.pop()
        path = ROOT.joinpath(*module.split(".")[1:])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        target = file.relative_to(ROOT).as_posix()
        if f"{COPIES}/{target}" not in made:
            made[f"{COPIES}/{target}"] = NOTE + _renamed(file.read_text(encoding="utf-8"))
            waiting += _needs(file)
    for target in list(made):
        for folder in Path(target).parents:
            if folder.name:
                made.setdefault(f"{folder.as_posix()}/__init__.py", "")
    return made


def packages(sources: Mapping[str, str]) -> frozenset[str]:
    """Top names of what copied modules import at their top, the standard library aside."""
    import sys

    found = set()
    for source in sources.values():
        for node in ast.parse(source).body:
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return frozenset(found - set(sys.stdlib_module_names) - {COPIES})


def _taken_apart(source: str) -> tuple[list[str], str]:
    """The imports of a file, those of its neighbours aside, and the rest without its docstring."""
    lines = source.splitlines()
    imports = []
    for node in ast.parse(source).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not isinstance(node, ast.Import | ast.ImportFrom) and not is_docstring:
            continue
        if not is_docstring and not ast.unparse(node).startswith(f"from {OUTSIDE}"):
            imports.append(_renamed(ast.unparse(node)))
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[number] = ""
    return imports, _renamed("\n".join(lines).strip("\n"))


def _merged(lines: Sequence[str]) -> list[str]:
    """Imports in order, one line a module."""
    plain, names = set(), dict[str, set[str]]()
    for line in lines:
        if line.startswith("import "):
            plain.add(line)
            continue
        module, _, what = line.removeprefix("from ").partition(" import ")
        names.setdefault(module, set()).update(what.split(", "))
    return [*sorted(plain), *(f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names))]


def _needs(file: Path) -> Iterator[str]:
    """Modules of this house that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{OURS}."):
            yield node.module


def _renamed(source: str) -> str:
    return re.sub(rf"^(\s*from ){OURS}\.", rf"\1{COPIES}.", source, flags=re.MULTILINE)
