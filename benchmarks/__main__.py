"""Run one benchmark by name."""

import argparse
import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

NAMES = sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if not m.name.startswith("_"))


def main() -> int:
    """Print the benchmark's table, then its result as one line of JSON; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON, without the table")
    given, rest = parser.parse_known_args()
    sys.argv = [given.name, *rest]
    if given.json:
        # Tables are for people: with --json they go to stderr, so that stdout is one object.
        from rich import reconfigure

        reconfigure(file=sys.stderr)
    result = importlib.import_module(f"benchmarks.{given.name}").run()
    print(json.dumps(result, allow_nan=False))
    return 0 if result["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
