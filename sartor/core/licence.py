"""Licences as obligations, and the union of obligations that a child carries from all its parents.

Not legal advice: a table of what well-known licences ask, so that a release can be stopped early. A licence
that is not in the table is *unknown*, and unknown stops a release unless the task's policy names it.
"""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

ATTRIBUTION = "attribution"
SHARE_ALIKE = "share_alike"
NO_COMMERCIAL = "no_commercial"
NO_TRAINING = "no_training"
"""The terms forbid training other models on this (the outputs of most hosted models)."""

KNOWN: dict[str, frozenset[str]] = {
    "owned": frozenset(),
    "public-domain": frozenset(),
    "CC0-1.0": frozenset(),
    "Unlicense": frozenset(),
    "Apache-2.0": frozenset({ATTRIBUTION}),
    "MIT": frozenset({ATTRIBUTION}),
    "BSD-2-Clause": frozenset({ATTRIBUTION}),
    "BSD-3-Clause": frozenset({ATTRIBUTION}),
    "ISC": frozenset({ATTRIBUTION}),
    "ODC-By-1.0": frozenset({ATTRIBUTION}),
    "CC-BY-3.0": frozenset({ATTRIBUTION}),
    "CC-BY-4.0": frozenset({ATTRIBUTION}),
    "CC-BY-SA-3.0": frozenset({ATTRIBUTION, SHARE_ALIKE}),
    "CC-BY-SA-4.0": frozenset({ATTRIBUTION, SHARE_ALIKE}),
    "ODbL-1.0": frozenset({ATTRIBUTION, SHARE_ALIKE}),
    "GPL-3.0": frozenset({ATTRIBUTION, SHARE_ALIKE}),
    "CC-BY-NC-4.0": frozenset({ATTRIBUTION, NO_COMMERCIAL}),
    "CC-BY-NC-SA-4.0": frozenset({ATTRIBUTION, SHARE_ALIKE, NO_COMMERCIAL}),
    "hosted-model-terms": frozenset({NO_TRAINING}),
}
"""Name (SPDX where there is one) -> what it asks."""


class Licence(BaseModel):
    """The licences that bear on an artifact and the union of what they ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    """Sorted names, one for each different licence met on the way."""
    obligations: tuple[str, ...]
    """Sorted union of their obligations."""
    unknown: tuple[str, ...] = ()
    """Names without an entry in the table."""

    @classmethod
    def of(cls, *names: str) -> "Licence":
        """The licence with these names; '' counts as the unknown name 'unstated'."""
        clean = sorted({name or "unstated" for name in names})
        asked = sorted({o for name in clean for o in KNOWN.get(name, frozenset())})
        return cls(names=tuple(clean), obligations=tuple(asked), unknown=tuple(n for n in clean if n not in KNOWN))

    @classmethod
    def union(cls, licences: Iterable["Licence"]) -> "Licence":
        """What a child of all these carries."""
        return cls.of(*(name for licence in licences for name in licence.names))
