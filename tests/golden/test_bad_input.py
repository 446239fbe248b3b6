"""Bad input, case by case: exit code and message as written down, and what was stored before still stands.

The texts lie in `bad_input/`. `SARTOR_WRITE_GOLDEN=1` writes them anew; read the difference before you commit it.
"""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest
from golden_house import House, Said, compare_with_golden, normal

GOLDEN = Path(__file__).parent / "bad_input"
FILES = sorted(file.stem for file in Path(__file__).parent.glob("bad_*_cases.py"))
CASES = {name: case for file in FILES for name, case in import_module(file).CASES.items()}
TELLS_WHAT_TO_DO = re.compile(r"([.?!]|: (sartor|pip|chmod) \S.*)$")
"""A message is a sentence, or ends in a command to copy."""
CODES = {0, 1, 2, 3, 4, 5, 7, 75, 400, 404, 403, 413, 507}


def shown(said: Said, house: House) -> str:
    """What a person sees; of a verdict the reasons only, since tables hold measured times."""
    out = said.out
    if "--json" in said.command:
        found = json.loads(out)
        out = "\n".join([found["verdict"], *(f"  {reason}" for reason in found["reasons"])]) + "\n"
    return normal(f"$ {said.command}\n{out}{said.err}=> {said.code}\n", house)


@pytest.mark.parametrize("name", sorted(CASES))
def test_bad_input(name: str, house: House) -> None:
    before = house.kept()
    found = CASES[name](house)
    answers = found if isinstance(found, list) else [found]

    compare_with_golden(GOLDEN / f"{name}.txt", "\n".join(shown(said, house) for said in answers))
    for said in answers:
        assert "Traceback" not in said.err
        assert "not foreseen" not in said.err
        assert said.code in CODES or "warning" in said.out
        if said.err:
            last = said.err.strip().splitlines()[-1]
            assert TELLS_WHAT_TO_DO.search(last) or last.startswith("Error: "), last

    for repair in reversed(house.undo):
        repair()
    after = house.kept()
    for what, stood in before.items():
        assert {key: after[what].get(key) for key in stood} == stood, what
    assert not list((house.home / "temp").iterdir()), "unfinished work was left behind"
    assert house.sartor("registry", "verify", "triage@v1").code == 0


def test_every_golden_file_is_tested() -> None:
    assert sorted(file.stem for file in GOLDEN.glob("*.txt")) == sorted(CASES)
    assert len(CASES) >= 80
