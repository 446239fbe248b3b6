"""HTML and SVG that cannot be broken by what is put in: every string is escaped unless `tag` made it.

Knows elements and attributes, nothing of reports.
"""

import html
import re

NAME = re.compile(r"^[A-Za-z][A-Za-z0-9:-]*$")
VOID = frozenset({"meta", "br", "hr", "wbr"})
"""HTML elements without an end; those of SVG are always closed."""
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""Characters that no HTML document may hold; they are shown as the replacement character."""


BREAKS = re.compile(r"(?<=[_/:.-])(?=[^\s\d_/:.;-])")
"""Places in a long name where a line may end; never inside an escaped character, which ends in a semicolon."""


class Safe(str):
    """Markup that is known to be well formed. Only this file makes it."""

    __slots__ = ()


Child = str | int | None
"""What may stand inside an element: markup, text (escaped), a whole number, or nothing."""


def escape(text: str) -> Safe:
    """Text as it must stand in a document: no character of it can end an element or an attribute."""
    return Safe(html.escape(CONTROL.sub("\ufffd", text), quote=True))


def join(*children: Child) -> Safe:
    """The children side by side; plain strings are escaped."""
    return Safe("".join(c if isinstance(c, Safe) else escape(str(c)) for c in children if c is not None))


def soft(child: Child) -> Safe:
    """Text that may be broken after the marks inside long names (`card_payment_not_recognised`); markup as it is."""
    if child is None or isinstance(child, Safe):
        return join(child)
    return Safe(BREAKS.sub("<wbr>", escape(str(child))))


def tag(name: str, *children: Child, **attributes: str | int | float | bool | None) -> Safe:
    """One element.

    Args:
        children: markup or text; text is escaped.
        attributes: `class_` writes `class`, other underscores become hyphens; True writes the bare name, None and
            False leave it out. Floats are written with at most two decimals.

    Raises:
        ValueError: a name is no plain word, or an event handler or inline style is asked for.
    """
    parts = [name]
    for key, value in attributes.items():
        word = key.rstrip("_").replace("_", "-")
        if not NAME.match(word) or word.lower().startswith("on") or word.lower() == "style":
            raise ValueError(f"the attribute {word!r} may not be written")
        if value is None or value is False:
            continue
        if value is True:
            parts.append(word)
        else:
            shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
            parts.append(f'{word}="{escape(shown)}"')
    if not NAME.match(name) or name.lower() == "script":
        raise ValueError(f"the element {name!r} may not be written")
    opening = " ".join(parts)
    return Safe(f"<{opening}>") if name in VOID and not children else Safe(f"<{opening}>{join(*children)}</{name}>")
