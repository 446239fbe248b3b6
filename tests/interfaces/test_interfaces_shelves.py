"""What every shelf promises, whoever put something on it."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from sartor.core.errors import AskError, NotFoundError
from sartor.core.shelf import Params, Plugin, Shelf
from sartor.interfaces.described import field_docs
from sartor.interfaces.reference import SHELVES

ROOT = Path(__file__).parents[2]
AT_LEAST = {
    "sartor.data.sources": 7,
    "sartor.data.curators": 8,
    "sartor.hub.catalogue": 5,
    "sartor.training.recipes": 20,
    "sartor.training.strategies": 5,
    "sartor.serving.engines": 10,
    "sartor.evaluation.metrics": 12,
    "sartor.evaluation.kinds": 3,
    "sartor.evaluation.scorers": 8,
    "sartor.data.kinds": 3,
    "sartor.gateway.policies": 9,
    "sartor.gateway.protocols": 3,
    "sartor.feedback.judges": 3,
    "sartor.pipeline.exporters": 6,
}
PLUGINS = [(package, name) for package in SHELVES for name in Shelf(package).own()]


@pytest.fixture(params=PLUGINS, ids=[f"{package.split('.')[-1]}/{name}" for package, name in PLUGINS])
def taken(request: pytest.FixtureRequest) -> Plugin:
    package, name = request.param
    return Shelf(package).take(name)


def test_each_shelf_has_what_it_had() -> None:
    assert set(AT_LEAST) == set(SHELVES)
    for package, least in AT_LEAST.items():
        assert len(Shelf(package).own()) >= least, package
    assert len(PLUGINS) >= sum(AT_LEAST.values())


def test_every_shelf_that_the_code_opens_is_described() -> None:
    import re

    opened = {
        package
        for path in (ROOT / "sartor").rglob("*.py")
        for package in re.findall(r'= Shelf\("([\w.]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert opened == set(SHELVES)


def test_listing_imports_no_plugin() -> None:
    code = (
        "import sys\n"
        "from sartor.core.shelf import Shelf\n"
        f"for package in {sorted(SHELVES)!r}:\n"
        "    shelf = Shelf(package)\n"
        "    said = [shelf.summary(name) for name in shelf]\n"
        "    assert all(said), package\n"
        "    assert not [m for m in sys.modules if m.startswith(package + '.')], package\n"
        "assert not {'numpy', 'sklearn', 'torch', 'pyarrow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_plugin_can_be_taken_and_says_what_it_is(taken: Plugin) -> None:
    assert callable(taken.make)
    assert taken.module == f"{taken.shelf}.{taken.name}"
    first = (inspect.getdoc(sys.modules[taken.module]) or "").split("\n")[0]
    assert len(first) > 20
    assert first[-1] in ".:"
    assert inspect.getdoc(taken.make)


def test_its_settings_are_frozen_closed_and_described(taken: Plugin) -> None:
    assert issubclass(taken.params, Params)
    assert taken.params.model_config["frozen"] is True
    assert set(taken.params.model_fields) == set(field_docs(taken.params)), "a string below each field says what it is"
    with pytest.raises(AskError, match="unknown key 'colour'"):
        taken.read({"colour": "red"})


@pytest.mark.parametrize("package", SHELVES)
def test_an_unknown_name_is_answered_with_the_known_ones(package: str) -> None:
    shelf = Shelf(package)
    known = shelf.own()[0]
    with pytest.raises(NotFoundError, match=f"Did you mean '{known}'") as caught:
        shelf.take(known + "x")
    assert all(name in caught.value.message for name in shelf.own()[:20])
