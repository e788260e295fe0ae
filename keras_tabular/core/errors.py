"""The exception that is shown without a traceback, and the format of messages."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

MAX_TEXT = 80  # characters of a cell or a name in a message
MAX_LISTED = 20  # names in a message
MAX_MISTAKES_SHOWN = 5  # lines of a message


class UserError(ValueError):
    """Mistake that the user can fix.

    The message says where it is, what is expected, what was found and what to do.
    """


@contextmanager
def code_of_project(where: str) -> Iterator[None]:
    """Raise `RuntimeError` for an error in the block, so that its traceback is shown.

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
    """Join texts with commas; of a long list, name the first and count the rest."""
    texts = list(texts)
    listed = [truncate(text) for text in texts[:MAX_LISTED]]
    if len(texts) > MAX_LISTED:
        listed.append(f"and {len(texts) - MAX_LISTED} more")
    return ", ".join(listed)


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """Ask whether the closest allowed name was meant; return "" if none is close."""
    by_lower_case = {allowed_name.casefold(): allowed_name for allowed_name in allowed}
    matches = difflib.get_close_matches(name.casefold(), by_lower_case, n=1)
    return f" Did you mean {by_lower_case[matches[0]]!r}?" if matches else ""


def join_mistakes(mistakes: Iterable[str]) -> str:
    """Return the first mistakes of a file, each in a line."""
    lines = list(islice(mistakes, MAX_MISTAKES_SHOWN))
    if len(lines) == MAX_MISTAKES_SHOWN:
        lines.append("There may be more.")
    return "\n".join(lines)


def align_columns(lines: list[list[str]]) -> str:
    """Format the cells of lines as a table for a terminal."""
    columns = zip(*lines, strict=True)
    widths = [max(len(cell) for cell in column) for column in columns]
    texts = []
    for cells in lines:
        padded = map(str.ljust, cells, widths)
        texts.append("  ".join(padded).rstrip())
    return "\n".join(texts)
