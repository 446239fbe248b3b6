"""`sartor gateway import`: what it says it declares is declared; a dry run declares nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CONFIG = """
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}
general_settings: {master_key: os.environ/MASTER}
"""


def sartor(home: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "--json", "--home", str(home / "store"), *arguments]
    keys = {"SARTOR_KEY": str(home / "signing.key"), "SARTOR_RATES": "USD=0.9"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | keys, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_declares_what_a_dry_run_only_says(tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    planned = sartor(tmp_path, "gateway", "import", str(config), "--dry-run")
    assert planned["declared"] is False
    assert not (tmp_path / "store").exists()
    done = sartor(tmp_path, "gateway", "import", str(config))
    assert done == planned | {"declared": True}
    assert [route["name"] for route in done["routes"]] == ["gpt-4o"]
    listed = sartor(tmp_path, "route", "list")
    assert "gpt-4o" in json.dumps(listed)
