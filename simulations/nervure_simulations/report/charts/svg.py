"""Markup built from function calls: every text and attribute is escaped, so no data can break the page.

>>> tag("p", "a < b", class_="note")
'<p class="note">a &lt; b</p>'
>>> tag("line", x1=0, y2=1.25)
'<line x1="0" y2="1.25"/>'
"""

from __future__ import annotations

from html import escape

VOID = frozenset({"line", "rect", "circle", "path", "polyline", "polygon", "meta", "br", "link", "stop", "use"})


class Markup(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Escape a value into markup."""
    return value if isinstance(value, Markup) else Markup(escape(str(value), quote=False))


def number(value: float) -> str:
    """Write a coordinate: at most two decimals, no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Build one element.

    Args:
        name: Element name.
        children: Markup as it is; everything else is escaped; None is left out.
        attributes: ``class_`` and the like lose the underscore, other underscores become hyphens; None is left out.
    """
    written: list[str] = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = number(value) if isinstance(value, float | int) and not isinstance(value, bool) else str(value)
        attribute = key.rstrip("_").replace("_", "-") if key != "viewBox" else key
        written.append(f' {attribute}="{escape(shown)}"' if value is not True else f" {attribute}")
    inner = "".join(text(child) for child in children if child is not None)
    if not inner and name in VOID:
        return Markup(f"<{name}{''.join(written)}/>")
    return Markup(f"<{name}{''.join(written)}>{inner}</{name}>")


def join(*parts: object) -> Markup:
    """Put parts one after another."""
    return Markup("".join(text(part) for part in parts if part is not None))
