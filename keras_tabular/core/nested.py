"""Conversion between nested mappings, as in JSON and YAML, and values by dotted key."""

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(nested: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings with their keys, which are joined by dots as in DVC.

    Lists and empty mappings are leaves.
    """
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Build nested mappings from values by dotted key."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        parent = nested
        for name in path:
            parent = parent.setdefault(name, {})
        parent[last] = value
    return nested
