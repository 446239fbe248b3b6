"""A Python without Sartor, and what an export answers there beside what it answers here.

`borrowed` makes an environment that reuses the packages installed here, Sartor itself left out, in a second; `clean`
installs the export's own pins from the package index into an empty one, which takes minutes where torch is among them.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.records import Variant
from sartor.pipeline.export import task_of
from sartor.pipeline.serve import answering_of, fleet_of
from sartor.pipeline.workshop import Workshop
from sartor.serving.predictor import VariantPredictor


@dataclass(frozen=True)
class Outside:
    """A Python that has no Sartor."""

    python: Path

    def run(self, script: Path, *arguments: str, lines: Sequence[str] = ()) -> str:
        """What a script prints; nothing of this machine's environment reaches it.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        said = "".join(json.dumps(line) + "\n" for line in lines)
        done = subprocess.run(
            [self.python, "-I", script, *arguments],
            input=said,
            capture_output=True,
            text=True,
            check=False,
            cwd=script.parent,
            env=SMALL,
        )
        if done.returncode:
            raise RuntimeError(f"{script} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def answers(self, export: Path, texts: Sequence[str]) -> list[dict[str, Any]]:
        """The export's answers, one a text."""
        return [json.loads(line) for line in self.run(export / "predict.py", "--jsonl", lines=texts).splitlines()]

    def every(self, exports: Sequence[Path], texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        """The answers of several exports from one process: torch starts once for all of them."""
        with tempfile.TemporaryDirectory() as temp:
            script = Path(temp) / "every.py"
            script.write_text(EVERY, encoding="utf-8")
            found = self.run(script, *(str(export) for export in exports), lines=texts)
        return [json.loads(line) for line in found.splitlines()]

    def has_no_sartor(self) -> bool:
        """Whether importing it fails there."""
        tried = [self.python, "-I", "-c", "import sartor"]
        done = subprocess.run(tried, capture_output=True, text=True, check=False, cwd="/", env=SMALL)
        return done.returncode != 0 and "No module named 'sartor'" in done.stderr


EVERY = """
import importlib.util, json, sys
from pathlib import Path
texts = [json.loads(line) for line in sys.stdin]
for number, folder in enumerate(map(Path, sys.argv[1:])):
    spec = importlib.util.spec_from_file_location(f"predict_{number}", folder / "predict.py")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print(json.dumps(module.OPENED(folder)(texts)), flush=True)
assert not [name for name in sys.modules if name.partition(".")[0] == "sartor"]
"""
"""Opens each export as its own script would."""
SMALL = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def borrowed(folder: Path) -> Outside:
    """An environment with all packages that are installed here but Sartor."""
    venv.create(folder, with_pip=False, symlinks=True)
    outside = Outside(folder / "bin" / "python")
    # The folder is named as a plain path: its own .pth files, by which Sartor is found, are not read then.
    (_site(folder) / "public.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return outside


def clean(folder: Path, requirements: Path) -> Outside:
    """An empty environment, into which pip installs an export's own pins."""
    venv.create(folder, with_pip=True, symlinks=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements]
    subprocess.run(pip, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return Outside(folder / "bin" / "python")


def _site(folder: Path) -> Path:
    return folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def inside(shop: Workshop, variant: Variant, texts: Sequence[str]) -> list[dict[str, Any]]:
    """What the variant answers here, in the form of an export's answers."""
    answering = answering_of(shop, task_of(shop, variant), variant)
    found = VariantPredictor(fleet_of(shop, None), variant.digest, answering).answer(list(texts))
    return [
        {
            "label": one.output,
            "confidence": one.confidence,
            "escalate": one.decision == "escalate",
            "expected_cost": one.expected_cost,
            "scores": {}
            if one.probabilities is None
            else dict(zip(one.labels, np.asarray(one.probabilities).tolist(), strict=True)),
        }
        for one in found
    ]


@dataclass(frozen=True)
class Held:
    """Answers outside held against those inside."""

    rows: int
    same: int
    """Rows with the same label and the same decision to escalate."""
    furthest: float
    """Greatest difference of any label's probability."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {"rows": self.rows, "same": self.same, "furthest": self.furthest}


def held(here: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]]) -> Held:
    """Compare answers, row by row."""
    same = sum(a["label"] == b["label"] and a["escalate"] == b["escalate"] for a, b in zip(here, there, strict=True))
    far = [abs(a["scores"][name] - b["scores"][name]) for a, b in zip(here, there, strict=True) for name in a["scores"]]
    return Held(len(here), same, max(far, default=0.0))
