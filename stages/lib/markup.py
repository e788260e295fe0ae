"""HTML and SVG from Python values: all text is escaped, unless it is HTML already."""

import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template
from typing import Any

NOT_THERE = "–"


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


def number(value: Any) -> str:
    """A number as the page shows it: four decimals, or five digits of a large one."""
    if value is None:
        return NOT_THERE
    if isinstance(value, bool | int):
        return f"{value:,}"
    text = f"{value:.4f}" if abs(value) < 10 else f"{value:#,.5g}".rstrip(".")
    return text.replace("-", "−")


def table(header: Iterable[Any], rows: Iterable[Iterable[Any]], class_: str = "cards") -> Html:
    """A table whose rows become cards on a phone; the first cell of a row is its header."""
    names = list(header)
    body = []
    for row in rows:
        first, *cells = row
        body.append(
            tag(
                "tr",
                tag("th", first, scope="row"),
                *(
                    tag("td", cell, data_label=re.sub(r"<[^>]*>", "", name))
                    for name, cell in zip(names[1:], cells, strict=True)
                ),
            )
        )
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))
    return tag("table", head, tag("tbody", *body), class_=class_)


def section(title: str, *children: Any) -> Html:
    """A section with its headline; its id is the title in small letters."""
    return tag("section", tag("h2", title), *children, id=title.lower().replace(" ", "-"))


def folded(summary: Any, *children: Any, is_open: bool = False) -> Html:
    """What is shown on a click."""
    return tag("details", tag("summary", summary), *children, open=is_open)


def render(title: str, sections: Iterable[Html | None]) -> str:
    """The whole page from its template."""
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return template.substitute(title=join(title), body=join(*sections))
