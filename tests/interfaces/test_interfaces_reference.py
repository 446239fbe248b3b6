"""The reference is what the code says now, and leaves nothing undescribed."""

import json
from pathlib import Path

import pytest
from typer.main import get_command

from sartor.core.task import Task
from sartor.gateway.bounds import Limits
from sartor.interfaces import reference
from sartor.interfaces.cli.main import app
from sartor.interfaces.described import field_docs, models_in, task_schema
from sartor.interfaces.settings import VARIABLES
from sartor.pipeline.gateway_file import GatewayFile

ROOT = Path(__file__).parents[2]


def test_the_reference_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"]) == 0, capsys.readouterr().out


def test_a_stale_file_is_found_and_written_anew(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(reference, "FOLDER", tmp_path / "reference")
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "reference" / "cli.md").write_text("old")
    (tmp_path / "reference" / "more.md").write_text("nobody wrote this")
    assert reference.main(["--check"]) == 1
    assert "cli.md, more.md" in capsys.readouterr().out


@pytest.mark.parametrize(("file", "least"), [(Task, 13), (GatewayFile, 9)])
def test_every_key_of_a_file_is_described(file, least) -> None:
    models = dict(models_in(file))
    assert len(models) >= least
    missing = [f"{where}.{name}" for where, m in models.items() for name in set(m.model_fields) - set(field_docs(m))]
    assert not missing
    assert set(field_docs(Limits)) == set(Limits.__dataclass_fields__)


def test_every_command_and_option_is_described() -> None:
    commands = list(reference._commands(get_command(app), "sartor"))
    assert len(commands) >= 30
    assert not [path for path, command in commands if not command.help]
    assert not [f"{path} {p.name}" for path, command in commands for p in command.params if not p.help]


def test_the_schema_knows_each_key_and_describes_it() -> None:
    schema = task_schema()
    assert json.loads((ROOT / "docs" / "reference" / "task.schema.json").read_text(encoding="utf-8")) == schema
    assert set(schema["properties"]) == set(Task.model_fields)
    assert schema["additionalProperties"] is False
    for part in [schema, *schema["$defs"].values()]:
        assert not [name for name, field in part["properties"].items() if "description" not in field]


def test_variables_that_are_read_are_those_that_are_listed() -> None:
    import re

    from sartor.pipeline.notify import SMTP

    source = (ROOT / "sartor" / "interfaces" / "settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r'(?:get\(|_number\()"(SARTOR_\w+)"', source))
    assert read | {SMTP} == set(VARIABLES)  # a secret, looked up when it is needed
