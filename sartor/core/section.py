"""What the parts of a task file share: frozen sections that refuse unknown keys, and the choice of a plug-in."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the task file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Pick(BaseModel):
    """A plug-in by name (`use`) with its settings beside it; the plug-in's own Params check them."""

    model_config = ConfigDict(frozen=True, extra="allow")

    use: str
    """Name of the plug-in."""

    @property
    def settings(self) -> dict[str, Any]:
        """All keys but `use`."""
        return dict(self.model_extra or {})
