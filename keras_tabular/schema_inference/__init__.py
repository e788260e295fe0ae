"""A first schema of a table, with questions to its owner.

This file reads `words.txt`: words of many languages that tell what a text in a table
means.
"""

import re
from pathlib import Path

TEXT = Path(__file__).with_name("words.txt").read_text(encoding="utf-8")


def list_words(role: str) -> list[str]:
    """Return the words of a role in all languages."""
    return re.findall(rf"^[a-z-]+\s+{role}\s+(.+)", TEXT, re.MULTILINE)


def word_pattern(role: str) -> str:
    """Return a regular expression that matches the words of a role."""
    words = map(re.escape, list_words(role))
    return f"({'|'.join(words)})"
