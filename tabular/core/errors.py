"""The one exception that a command shows as a message and not as a traceback; texts of messages."""

from collections.abc import Iterable

MAX_TEXT = 80  # characters of a cell or a name in a message
MAX_LISTED = 20  # names


class UserError(Exception):
    """An error that the user can fix: where, what was found, what is allowed, what to do."""


def truncate(text: str, length: int = MAX_TEXT) -> str:
    """A text as a message shows it: a long one ends early."""
    return text if len(text) <= length else f"{text[:length]}..."


def quoted(text: str) -> str:
    """A cell between quotes as a message shows it."""
    return repr(truncate(text))


def listed(texts: Iterable[str]) -> str:
    """Texts with commas; of many the first ones, and how many more there are."""
    texts = list(texts)
    more = [f"and {len(texts) - MAX_LISTED} more"] if len(texts) > MAX_LISTED else []
    return ", ".join([*map(truncate, texts[:MAX_LISTED]), *more])


def align_columns(lines: list[list[str]]) -> str:
    """Cells below each other, for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in lines)
