"""The exception that is shown as a message without a traceback, and functions that format texts."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

MAX_TEXT = 80  # characters of a cell or a name in a message
MAX_LISTED = 20  # names in a message
MAX_MISTAKES_SHOWN = 5


class UserError(Exception):
    """Mistake that the user can fix: where it is, what is expected, what was found, what to do."""


@contextmanager
def code_of_project(where: str) -> Iterator[None]:
    """Raise `RuntimeError` in place of an error in the block, so that its traceback is shown.

    Args:
        where: The file of the project and the name of its check or metric.
    """
    try:
        yield
    except Exception as error:
        raise RuntimeError(f"{where} raised {error!r}") from error


def truncate(text: str, length: int = MAX_TEXT) -> str:
    """Shorten a long text for a message."""
    return text if len(text) <= length else f"{text[:length]}..."


def quote(text: str) -> str:
    """Put a text between quotes for a message, and shorten it."""
    return repr(truncate(text))


def format_list(texts: Iterable[str]) -> str:
    """Join texts with commas; of a long list, show the first ones and the number of the others."""
    texts = list(texts)
    more = [f"and {len(texts) - MAX_LISTED} more"] if len(texts) > MAX_LISTED else []
    return ", ".join([*map(truncate, texts[:MAX_LISTED]), *more])


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """Ask whether the closest allowed name was meant. The text is empty if none is close."""
    names = {each.casefold(): each for each in allowed}
    close = difflib.get_close_matches(name.casefold(), names, n=1)
    return f" Did you mean {names[close[0]]!r}?" if close else ""


def join_mistakes(mistakes: Iterable[str]) -> str:
    """Return the first mistakes of a file, each in a line."""
    lines = list(islice(mistakes, MAX_MISTAKES_SHOWN))
    if len(lines) == MAX_MISTAKES_SHOWN:
        lines.append("There may be more.")
    return "\n".join(lines)


def align_columns(lines: list[list[str]]) -> str:
    """Format the cells of lines as a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(map(str.ljust, cells, widths)).rstrip() for cells in lines
    )
