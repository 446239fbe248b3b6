"""Finds a base by name: in the catalogue, or as one described by the name itself.

`folder:/path` is a model folder that is there, `hf:org/name@commit` a repository on Hugging Face,
`recorded:column@model` answers that stand in the rows. Knows nothing of fetching.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

from sartor.core.errors import AskError, unknown
from sartor.core.licence import KNOWN
from sartor.core.shelf import Shelf
from sartor.hub.entry import Entry, Folder, HuggingFace, Recorded, Tier
from sartor.hub.safety import check_safetensors

CATALOGUE = Shelf("sartor.hub.catalogue")
SMALL, MEDIUM = 60_000_000, 130_000_000
"""Parameters up to which an open model counts as small, or medium."""


def entries() -> list[Entry]:
    """All entries of the catalogue, by name."""
    found = [entry for family in CATALOGUE for entry in CATALOGUE.take(family)()]
    return sorted(found, key=lambda entry: entry.name)


def entry(name: str) -> Entry:
    """The entry of that name.

    Raises:
        NotFoundError: no such base; the known ones are listed.
        AskError: a name that describes a base is not written as it must be.
    """
    scheme, colon, rest = name.partition(":")
    if colon and scheme in SCHEMES:
        return SCHEMES[scheme](name, rest)
    known = {found.name: found for found in entries()}
    if name not in known:
        raise unknown(
            "base", name, [*known, "folder:/path", "hf:org/name@commit", "recorded:column@model"], param="base"
        )
    return known[name]


def described(found: Entry, folder: Path) -> Entry:
    """A described entry, completed by what its fetched folder says of itself; one of the catalogue stays as it is."""
    if not isinstance(found.home, Folder | HuggingFace) or not (folder / "config.json").is_file():
        return found
    config = json.loads((folder / "config.json").read_bytes())
    parameters = sum(check_safetensors(file) for file in folder.rglob("*.safetensors"))
    facts = {
        "dimension": config.get("hidden_dim") or config.get("hidden_size") or config.get("dim"),
        "parameters": parameters,
        "max_tokens": config.get("max_position_embeddings"),
    }
    tier: Tier = "small" if parameters <= SMALL else "medium" if parameters <= MEDIUM else "large"
    return replace(
        found, tier=tier, engine=_engine(config), licence=stated_licence(folder), facts={**found.facts, **facts}
    )


def stated_licence(folder: Path) -> str:
    """The licence in the front matter of the model card, as its SPDX name where it is a known one; '' if none."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace")[:20_000] if card.is_file() else ""
    head = text.split("\n---", 1)[0] if text.startswith("---") else ""
    stated = re.search(r"^license:\s*['\"]?([\w.+-]+)", head, re.MULTILINE)
    if stated is None:
        return ""
    spelled = {name.lower(): name for name in KNOWN}
    return spelled.get(stated[1].lower(), stated[1])


def _engine(config: dict[str, object]) -> str:
    if config.get("model_type") == "model2vec":
        return "static"
    architectures = config.get("architectures")
    causal = isinstance(architectures, list) and any("CausalLM" in str(name) for name in architectures)
    return "lm" if causal else "encoder"


def _folder(name: str, path: str) -> Entry:
    if not path:
        raise AskError("A base in a folder is written 'folder:/path/to/model'.", param="base", code="bad_base")
    return described(Entry(name, "small", "encoder", "", Folder(path)), Path(path))


def _hugging_face(name: str, rest: str) -> Entry:
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})", rest)
    if match is None:
        raise AskError(
            f"'{name}' is not pinned: write 'hf:org/name@COMMIT' with all 40 digits of the commit. A branch or tag can "
            "move, and the model with it.",
            param="base",
            code="bad_base",
        )
    return Entry(name, "small", "encoder", "", HuggingFace(match[1], match[2]), {"commit": match[2]})


def _recorded(name: str, rest: str) -> Entry:
    column, _, model = rest.partition("@")
    if not column:
        raise AskError(
            "Recorded answers are written 'recorded:column' or 'recorded:column@model'.", param="base", code="bad_base"
        )
    facts = {"column": column, "model": model}
    return Entry(name, "hosted", "recorded", "hosted-model-terms" if model else "", Recorded(column, model), facts)


SCHEMES = {"folder": _folder, "hf": _hugging_face, "recorded": _recorded}
