"""Where else a base of the catalogue can be had: its repository on Hugging Face, for those who leave.

Apart from the catalogue, whose entries are part of every base's digest. A revision is not named for bases that came
in packages: their files are pinned by their digests, which say more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HUB_IDS: Mapping[str, str] = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "mpnet": "sentence-transformers/all-mpnet-base-v2",
}
"""Catalogue name -> repository of the same bytes. What was restored from fewer bits is had nowhere else."""


@dataclass(frozen=True)
class Elsewhere:
    """A repository, and the commit where it is known."""

    repo: str = ""
    revision: str = ""


def elsewhere(name: str, facts: Mapping[str, Any]) -> Elsewhere:
    """Where a base can be had, by its catalogue name and its facts; empty where nobody knows."""
    home = facts.get("home") or {}
    if facts.get("home_kind") == "HuggingFace":
        return Elsewhere(str(home["repo"]), str(home["revision"]))
    return Elsewhere(HUB_IDS.get(name, ""))
