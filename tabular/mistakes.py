"""Mistakes in YAML files, in words: the key, what was found, what is allowed, the nearest name."""

import difflib
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel


def explain(mistake: Any, kind: type[BaseModel]) -> str:
    """One line for one of the errors that pydantic finds in a section of this `kind`."""
    location = [str(part) for part in mistake["loc"]]
    key, found = ".".join(location), mistake["input"]
    match mistake["type"]:
        case "extra_forbidden":
            allowed = sorted(_fields(location[:-1], kind))
            return f"{key}: unknown key (found {found!r}).{nearest(location[-1], allowed)}"
        case "missing":
            return f"{key}: this key is missing"
        case "value_error":
            problem = str(mistake["ctx"]["error"])
            return problem if problem.startswith(key) else f"{key}: found {found!r}; {problem}"
        case "literal_error":
            allowed = mistake["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            return f"{key}: found {found!r}.{nearest(str(found), allowed)}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            ((bound, limit),) = mistake["ctx"].items()
            words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
            return f"{key}: found {found!r}; expected a number {words[bound]} {limit}"
    expected = mistake["msg"].removeprefix("Input should be ").replace("tuple", "list")
    return f"{key}: found {found!r}; expected {expected}"


def nearest(found: str, allowed: Iterable[str]) -> str:
    """The allowed names, and the one that was probably meant."""
    allowed = list(allowed)
    return f"{suggestion(found, allowed)} Allowed: {', '.join(allowed)}"


def suggestion(found: str, allowed: Iterable[str]) -> str:
    """The allowed name that was probably meant, as a question; empty if none is near."""
    near = difflib.get_close_matches(found, list(allowed), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _fields(location: list[str], kind: type[BaseModel]) -> dict[str, Any]:
    """The keys of the section at `location`, each with its pydantic field."""
    section: Any = kind
    for part in location:
        fields = _by_key(section)
        if part not in fields:  # the name of a column, whose section the step before it found
            continue
        candidates = [fields[part].annotation, *get_args(fields[part].annotation)]
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return _by_key(section)


def _by_key(section: Any) -> dict[str, Any]:
    return {field.alias or name: field for name, field in section.model_fields.items()}
