"""Records, licences, the shelf, errors, the task contract."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from sartor.core.canonical import canonical, digest
from sartor.core.errors import AskError, MissingExtraError, NotFoundError, PluginError, boundary, unknown
from sartor.core.licence import NO_COMMERCIAL, Licence
from sartor.core.records import KINDS, Decision, Evidence, Run, Variant
from sartor.core.shelf import Params, Shelf, explain
from sartor.core.task import Task

OWNED = Licence.of("owned")


def variant(**changes):
    fields = {"name": "v", "licence": OWNED, "task": "t", "recipe": "linear", "engine": "linear", "labels": ("a", "b")}
    return Variant(**(fields | changes))


def test_content_digest_leaves_out_times_and_costs_but_the_seal_covers_them():
    one, two = variant(measured={"seconds": 1}, created="x"), variant(measured={"seconds": 2}, created="y")
    assert one.digest == two.digest
    assert one.seal != two.seal
    assert variant(seed=1).digest != one.digest


def test_kinds_with_the_same_fields_have_different_digests():
    assert len({digest({"kind": kind}) for kind in KINDS}) == len(KINDS)


def test_canonical_refuses_nan():
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical({"x": float("nan")})


def test_records_are_frozen_and_refuse_unknown_fields():
    with pytest.raises(ValidationError):
        variant(colour="red")
    with pytest.raises(ValidationError):
        variant().task = "other"


def test_edges_of_records():
    assert variant(parents={"data": "d" * 64}).edges() == {"data": "d" * 64}
    assert Run(verb="make", key="k", inputs={"data": "1"}, outputs={"variant": "2"}).edges() == {
        "in:data": "1",
        "out:variant": "2",
    }
    decision = Decision(
        task="t",
        contract="c",
        candidate="v",
        incumbent="i",
        verdict="ship",
        evidence={"report": Evidence(digest="r", seal="s")},
    )
    assert decision.edges()["evidence:report"] == "r"


def test_licence_union_keeps_every_obligation_and_every_unknown_name():
    both = Licence.union([Licence.of("Apache-2.0"), Licence.of("CC-BY-NC-4.0"), Licence.of("Acme"), Licence.of("")])
    assert NO_COMMERCIAL in both.obligations
    assert both.unknown == ("Acme", "unstated")


def test_shelf_lists_without_importing():
    code = (
        "import sys; from sartor.core.shelf import Shelf; names = Shelf('sartor.training.recipes').names();"
        "assert 'linear' in names, names; assert not any(m.startswith('sartor.training.recipes.') for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_plugin_names_the_known_ones():
    with pytest.raises(NotFoundError, match=r"no recipe 'linaer'.*Did you mean 'linear'"):
        Shelf("sartor.training.recipes").take("linaer")


def test_boundary_names_the_plugin_and_the_missing_extra():
    with pytest.raises(PluginError, match="recipes plug-in 'x' failed: ZeroDivisionError"), boundary("recipes", "x"):
        _ = 1 / 0
    with pytest.raises(MissingExtraError, match=r"pip install 'sartor\[train\]'"), boundary("recipes", "x"):
        raise ModuleNotFoundError(name="torch")


def test_unknown_says_nearest():
    assert "Did you mean 'tune'" in unknown("recipe", "tun", ["tune", "head"]).message


def test_params_explain_unknown_keys():
    class Sample(Params):
        size: int = 1

    with pytest.raises(ValidationError) as caught:
        Sample.model_validate({"sice": 3})
    assert "did you mean 'size'" in explain(caught.value, Sample)


MINIMAL = {"name": "demo", "data": {"sources": [{"use": "csv", "path": "x.csv"}]}}


def test_task_defaults_and_source_settings():
    task = Task.model_validate(MINIMAL)
    assert task.data.sources[0].settings == {"path": "x.csv"}
    assert task.candidates[0].title == "linear"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "../x"}, "a task name is"),
        ({"valeu": {}}, "did you mean 'value'"),
        ({"value": {"wrnog": 1}}, "did you mean 'wrong'"),
        ({"value": {"wrong": float("nan")}}, "finite"),
        ({"candidates": [{"recipe": "linear"}, {"recipe": "linear"}]}, "give one of them a 'name'"),
        ({"candidates": [{"recipe": "blend", "of": ["x"]}]}, "which is none of"),
        ({"data": {"sources": []}}, "at least 1"),
    ],
)
def test_task_says_what_is_wrong(change, says):
    with pytest.raises(ValidationError) as caught:
        Task.model_validate(MINIMAL | change)
    assert says in explain(caught.value, Task)


def test_input_template_fills_columns():
    task = Task.model_validate(MINIMAL | {"input": {"columns": ["title", "body"], "template": "{title}: {body}"}})
    assert task.input.render({"title": "a", "body": "b"}) == "a: b"


def test_params_of_a_plugin_are_checked():
    with pytest.raises(AskError, match="settings of recipe 'linear'"):
        Shelf("sartor.training.recipes").take("linear").read({"siez": "small"})
