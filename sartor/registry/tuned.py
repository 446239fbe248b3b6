"""Names of fine-tuned models, as OpenAI forms them: `ft:BASE:TENANT:SUFFIX:ID`. Set once; deleting one retires it.

Each stands at one variant under the decision that was taken on it, and answers its tenant alone, whatever is live.
"""

import re
from dataclasses import dataclass

TUNED = "ft:"
"""How every such name begins; no task's name has a colon."""
OTHER = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True)
class TunedName:
    """The parts of a name."""

    base: str
    """What it was made of: recipe and base."""
    tenant: str
    suffix: str
    """Of its owner's choice; may be empty."""
    ident: str

    @property
    def text(self) -> str:
        """The name."""
        return f"{TUNED}{self.base}:{self.tenant}:{self.suffix}:{self.ident}"

    @classmethod
    def read(cls, name: str) -> "TunedName | None":
        """The parts of a name; None where it is not of this form."""
        parts = name.split(":")
        return cls(*parts[1:]) if name.startswith(TUNED) and len(parts) == 5 else None


def is_tuned(name: str) -> bool:
    """Whether a name is a fine-tuned model's."""
    return name.startswith(TUNED)


def owns(tenant: str, name: str, every: str) -> bool:
    """Whether a tenant, or the one that is `every` tenant, may see a fine-tuned model."""
    found = TunedName.read(name)
    return found is not None and tenant in (found.tenant, every)


def slug(text: str) -> str:
    """A text as a part of a name: small letters, digits, '.', '_' and '-'."""
    return OTHER.sub("-", text.lower()).strip("-._")
