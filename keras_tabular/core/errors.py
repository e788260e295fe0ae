"""The one exception that a command shows as a message and not as a traceback; texts of messages."""

from collections.abc import Iterable

MAX_TEXT = 80  # characters of a cell or a name in a message
MAX_LISTED = 20  # names


class UserError(Exception):
    """An error that the user can fix: where, what was found, what is allowed, what to do."""


def truncate(text: str, length: int = MAX_TEXT) -> str:
    """Shorten a long text, as a message shows it."""
    return text if len(text) <= length else f"{text[:length]}..."


def quote(text: str) -> str:
    """Put a cell between quotes, as a message shows it."""
    return repr(truncate(text))


def format_list(texts: Iterable[str]) -> str:
    """Join texts with commas; if they are many, the first ones and the number of the others."""
    texts = list(texts)
    more = [f"and {len(texts) - MAX_LISTED} more"] if len(texts) > MAX_LISTED else []
    return ", ".join([*map(truncate, texts[:MAX_LISTED]), *more])


def align_columns(lines: list[list[str]]) -> str:
    """Align the cells of lines below each other, for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in lines)
