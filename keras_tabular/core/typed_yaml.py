"""Read and write YAML, and check the content of files against typed sections.

Each mistake becomes one line of a `UserError`: the key, what is expected there and what
the file contains. For a misspelt name, the line suggests the closest correct one.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keras_tabular.core.errors import UserError, format_list, suggestion, truncate
from keras_tabular.core.removed import REMOVED_IN, REPLACEMENTS

Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Value = bool | int | float | str
Share = Annotated[float, Field(gt=0, lt=1)]
# What a value has to be, by the first word of the type of pydantic's error.
EXPECTED_TYPES = {
    "bool": "true or false",
    "date": "a day such as 2024-01-31",
    "dict": "keys with values",
    "float": "a number",
    "int": "an integer",
    "invalid": "a name, in quotes if it is a number or a word such as true",
    "model": "keys with values",
    "string": "a text",
    "tuple": "a list",
}
# How a limit of a number is called, by its name in pydantic.
BOUNDS = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}
BOOLEAN = "tag:yaml.org,2002:bool"
INTEGER = "tag:yaml.org,2002:int"


class Section(BaseModel):
    """A part of a file, without unknown keys. Values cannot be assigned later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SectionT = TypeVar("SectionT", bound=Section)


class OneLineDumper(yaml.SafeDumper):
    r"""Writes texts without quotes or in double quotes, with `\n` for a line break."""

    def choose_scalar_style(self) -> str:
        """Return the style of a text: double quotes in place of single ones."""
        style: str = super().choose_scalar_style()
        return '"' if style == "'" else style


class Loader(yaml.CSafeLoader):
    """Reads yes, no, on, off and 12:30 as texts.

    So does YAML 1.2, in which DVC writes params.yaml.
    """


Loader.yaml_implicit_resolvers = {}
for first_character, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items():
    Loader.yaml_implicit_resolvers[first_character] = [
        (tag, pattern) for tag, pattern in resolvers if tag not in (BOOLEAN, INTEGER)
    ]
Loader.add_implicit_resolver(
    BOOLEAN,
    re.compile("(true|True|TRUE|false|False|FALSE)$"),
    list("tTfF"),
)
Loader.add_implicit_resolver(
    INTEGER,
    re.compile("[-+]?(0|[1-9][0-9_]*|0b[01_]+|0[0-7_]+|0x[0-9a-fA-F_]+)$"),
    list("-+0123456789"),
)


def parse_yaml(text: str) -> Any:
    """Read a text in YAML as stages, other revisions and lock files are read.

    Raises:
        yaml.YAMLError, ValueError: It is not valid YAML.
    """
    return yaml.load(text, Loader)


def read_yaml(path: Path) -> Any:
    """Read a YAML file with a safe loader. An empty file is an empty mapping.

    Raises:
        UserError: The file is missing or is not valid YAML.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}. Run this in the project folder.",
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None


def format_yaml(value: Any) -> str:
    """Return a value in one line of YAML, with the quotes that it needs there."""
    text: str = yaml.dump(
        [value],
        Dumper=OneLineDumper,
        width=math.inf,
        sort_keys=False,
        default_flow_style=True,
        allow_unicode=True,
    )
    return text[1:-2]  # without the brackets of the list and the line break


def parse_section(
    content: Any,
    section_type: type[SectionT],
    source: Path | str,
) -> SectionT:
    """Convert the content of a file to a typed section.

    Args:
        content: The content as `read_yaml` returns it.
        section_type: The type of the section.
        source: The file, with which each line of an error begins.

    Raises:
        UserError: A key or value is wrong. The message has one line for each mistake.
    """
    try:
        return section_type.model_validate(content)
    except ValidationError as error:
        lines = explain_errors(error.errors(), content, section_type)
        raise UserError("\n".join(f"{source}: {line}" for line in lines)) from None


def explain_errors(
    errors: list[Any],
    content: Any,
    section_type: type[Section],
) -> Iterator[str]:
    """Yield one line for each key whose value pydantic does not accept.

    A key may allow several types, such as a number and `auto`. Pydantic then reports an
    error for each type, and one line names all of them.
    """
    errors_by_key: dict[tuple[str, ...], list[Any]] = {}
    for error in errors:
        errors_by_key.setdefault(find_key(error, content), []).append(error)
    for key, key_errors in errors_by_key.items():
        # If one of the types has the keys that the value has, only the mistakes inside
        # of it count.
        has_inner_mistakes = any(
            len(other) > len(key) and other[: len(key)] == key
            for other in errors_by_key
        )
        if not has_inner_mistakes:
            yield describe_mistake(key, key_errors, section_type)


def find_key(error: Any, content: Any) -> tuple[str, ...]:
    """Return the keys that lead to an error, without the types that pydantic tried."""
    key = []
    for part in map(str, error["loc"]):
        if isinstance(content, list | tuple):
            content = dict(enumerate(content))
        elif not isinstance(content, dict):
            break
        # The limits of the gate are validated by their dotted keys.
        children = dict(flatten(content))
        for name, child in content.items():
            children[str(name)] = child
        if part in children:
            key.append(part)
            content = children[part]
    if error["type"] == "missing":
        key.append(str(error["loc"][-1]))
    return tuple(key)


def describe_mistake(
    key: tuple[str, ...],
    errors: list[Any],
    section_type: type[Section],
) -> str:
    """Describe what is wrong with the value of a key, in one line."""
    where = f"{'.'.join(map(truncate, key))}: " if key else ""
    value = truncate(repr(errors[0]["input"]))
    words = []
    expected = []
    for error in errors:
        match error["type"]:
            case "missing":
                return f"{where}this key is missing."
            case "extra_forbidden" if key[-1] in REPLACEMENTS:
                return f"{where}removed in {REMOVED_IN}. {REPLACEMENTS[key[-1]]}"
            case "extra_forbidden":
                allowed = allowed_keys(key[:-1], section_type)
                hint = suggestion(key[-1], allowed)
                return f"{where}unknown key.{hint} Allowed keys: {', '.join(allowed)}."
            case "value_error":  # raised by one of our validators
                problem = str(error["ctx"]["error"])
                if problem.startswith("expected"):
                    problem += f", got {value}."
                return where + problem
            case "literal_error":
                words += re.findall("'(.*?)'", error["ctx"]["expected"])
            case _:
                expected.append(describe_expected(error))
    if len(words) == 1:
        expected.insert(0, words[0])
    elif words:
        expected.insert(0, f"one of {', '.join(words)}")
    hint = suggestion(str(errors[0]["input"]), words)
    return f"{where}expected {' or '.join(expected)}, got {value}.{hint}"


def describe_expected(error: Any) -> str:
    """Say what pydantic expects, such as "a number above 0"."""
    for bound, words in BOUNDS.items():
        if bound in error.get("ctx", {}):
            limit = str(error["ctx"][bound]).removesuffix(".0")
            return f"a number {words} {limit}"
    message: str = error["msg"]
    if message.startswith("String should have "):
        return message.removeprefix("String should have ")
    first_word = error["type"].partition("_")[0]
    return EXPECTED_TYPES.get(first_word, message)


def allowed_keys(key: tuple[str, ...], section_type: type[BaseModel]) -> list[str]:
    """Return the keys that the section at `key` may have."""
    for name in key:
        field = section_type.model_fields.get(name)
        if field:  # other names are those of sections in a mapping, such as columns
            section_type = find_section(field.annotation) or section_type
    return sorted(section_type.model_fields)


def find_section(annotation: Any) -> type[BaseModel] | None:
    """Find the first section in a type such as `dict[str, Section] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        section = find_section(inner)
        if section:
            return section
    return None


def expected_one_of(name: str, allowed: Iterable[str]) -> str:
    """Say which names are allowed in place of one, and suggest the closest."""
    names = list(allowed)
    hint = suggestion(name, names)
    return f"expected one of {format_list(names)}, got {name!r}.{hint}"


def flatten(nested: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings with their keys, joined by dots as in DVC.

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
