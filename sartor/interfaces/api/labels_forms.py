"""What the addresses for labelling take. What they do not name is refused."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sartor.interfaces.api.endpoint import Fields

Who = Annotated[str, StringConstraints(max_length=100)]
"""Who labels; several people may use one key, so nobody is taken for granted."""
Word = Annotated[str, StringConstraints(max_length=1000)]


class NextRows(Fields):
    """Whose next rows, and how many."""

    who: Who
    size: Annotated[int, Field(ge=1, le=500)] = 20
    focus: tuple[Word, ...] = ()
    sitting: Word = ""


class Said(Fields):
    """What somebody said of a row; an empty label: they can't tell."""

    who: Who
    item: Word
    label: Word = ""
    picked: Literal["value", "random", "double", "adjudicate", "import"] = "value"
    sitting: Word = ""
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.0


class TakenBack(Fields):
    """Whose word on which row."""

    who: Who
    item: Word


class Leaving(Fields):
    """Who ends which sitting."""

    who: Who
    sitting: Word = ""
