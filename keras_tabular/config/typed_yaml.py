"""YAML files that are checked against a typed section, and what is said of their mistakes."""

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keras_tabular.core.errors import UserError, truncate


def explain_all(mistakes: list[Any], kind: type[BaseModel]) -> list[str]:
    """A line for each of the errors that pydantic finds in a section of this `kind`.

    Where a key may also be one word, such as `auto`, what is wrong with another value is one
    mistake, not two.
    """
    words = {mistake["loc"][:-1]: word for mistake in mistakes if (word := _word(mistake))}
    lines = []
    for mistake in mistakes:
        location = mistake["loc"]
        key = next((key for key in words if location[: len(key)] == key), None)
        if key is None:
            lines.append(explain(mistake, kind))
        elif not _word(mistake):
            inside = key + location[len(key) + 1 :]  # without pydantic's name of the alternative
            line = explain(mistake | {"loc": inside}, kind)
            lines.append(f"{line}, or {words[key]}" if inside == key else line)
    return lines


def _word(mistake: Any) -> str:
    """The one word that a value could have been, by pydantic's name of that alternative."""
    literal = (
        re.fullmatch(r"literal\['(\w+)'\]", str(mistake["loc"][-1])) if mistake["loc"] else None
    )
    return literal[1] if literal else ""


def explain(mistake: Any, kind: type[BaseModel]) -> str:
    """One line for one of the errors that pydantic finds in a section of this `kind`."""
    location = [str(part) for part in mistake["loc"]]
    key, value = ".".join(map(truncate, location)), truncate(repr(mistake["input"]))
    match mistake["type"]:
        case "extra_forbidden":
            allowed = sorted(_fields(location[:-1], kind))
            return f"{key}: unknown key (found {value}).{nearest(location[-1], allowed)}"
        case "missing":
            return f"{key}: this key is missing"
        case "value_error":
            problem = str(mistake["ctx"]["error"])
            return problem if problem.startswith(key) else f"{key}: found {value}; {problem}"
        case "literal_error":
            allowed = mistake["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            return f"{key}: found {value}.{nearest(str(mistake['input']), allowed)}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            ((bound, limit),) = mistake["ctx"].items()
            words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
            return f"{key}: found {value}; expected a number {words[bound]} {limit}"
    expected = mistake["msg"].removeprefix("Input should be ").replace("tuple", "list")
    return f"{key}: found {value}; expected {expected}"


def nearest(key: str, allowed: Iterable[str]) -> str:
    """Return the allowed names, and the one that was probably meant."""
    allowed = list(allowed)
    return f"{suggestion(key, allowed)} Allowed: {', '.join(allowed)}"


def suggestion(key: str, allowed: Iterable[str]) -> str:
    """Return the allowed name that was probably meant, as a question; empty if none is near."""
    near = difflib.get_close_matches(key, list(allowed), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _fields(location: list[str], kind: type[BaseModel]) -> dict[str, Any]:
    """The keys of the section at `location`, each with its pydantic field."""
    section: Any = kind
    for part in location:
        fields = _by_key(section)
        if part not in fields:  # the name of a column, whose section the step before it found
            continue
        section = next(_sections(fields[part].annotation))
    return _by_key(section)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections in a type such as `dict[str, Section] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)


def _by_key(section: Any) -> dict[str, Any]:
    return {field.alias or name: field for name, field in section.model_fields.items()}


Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Value = bool | int | float | str
Share = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A part of a file: no unknown keys, nothing changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SectionT = TypeVar("SectionT", bound=Section)


def read_yaml(path: Path) -> Any:
    """Read a YAML file with the fast safe loader; an empty file is an empty mapping.

    Raises:
        UserError: The file is missing or is not YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader) or {}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; run from the project's folder") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None


def parse_section(content: Any, kind: type[SectionT], path: Path) -> SectionT:
    """Return the content of a file as a typed section.

    Raises:
        UserError: a key or value is wrong. One line for each mistake: the key, the value found,
            what is allowed and the nearest right name.
    """
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {content!r:.60}; expected keys with values")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        lines = [f"{path}: {line}" for line in explain_all(error.errors(), kind)]
        raise UserError("\n".join(lines)) from None
