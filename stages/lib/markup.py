"""HTML and SVG from Python values: all text is escaped, unless it is HTML already."""

from html import escape
from typing import Any


class Html(str):
    """Text that is HTML, to be left as it is."""

    __slots__ = ()


def join(*children: Any) -> Html:
    """The children one after the other; text and numbers are escaped, None is nothing."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape(str(child))
            for child in children
            if child is not None
        )
    )


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """An element. Attributes that are None or False are left out; `class_` is `class`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape("" if value is True else str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{written}>{join(*children)}</{name}>")
