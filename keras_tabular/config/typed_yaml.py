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
BOUNDS = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}


class Section(BaseModel):
    """A part of a file. Unknown keys are an error, and values cannot be assigned later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SectionT = TypeVar("SectionT", bound=Section)


class OneLineDumper(yaml.SafeDumper):
    r"""Writes texts without quotes or in double quotes, with `\n` for a line break."""

    def choose_scalar_style(self) -> str:
        """Return the style of a text: double quotes in place of single ones."""
        style: str = super().choose_scalar_style()
        return '"' if style == "'" else style


class Loader(yaml.CSafeLoader):
    """Reads yes, no, on, off and 12:30 as texts, like YAML 1.2, in which DVC writes params.yaml."""


BOOLEAN = "tag:yaml.org,2002:bool"
INTEGER = "tag:yaml.org,2002:int"
Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag not in (BOOLEAN, INTEGER)
    ]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    BOOLEAN,
    re.compile("(true|True|TRUE|false|False|FALSE)$"),
    [*"tTfF"],
)
INTEGER_PATTERN = re.compile(
    r"[-+]?(0|[1-9][0-9_]*|0b[01_]+|0[0-7_]+|0x[0-9a-fA-F_]+)$",
)
Loader.add_implicit_resolver(INTEGER, INTEGER_PATTERN, [*"-+0123456789"])


def parse_yaml(text: str) -> Any:
    """Read a text in YAML as stages, other revisions and lock files are read.

    Raises:
        yaml.YAMLError, ValueError: It is not valid YAML, or its aliases stand for more
            values than the text has characters.
    """
    waiting = [content := yaml.load(text, Loader)]
    for _ in range(len(text) + 2):
        if not waiting:
            return content
        value = waiting.pop()
        waiting += value.values() if isinstance(value, dict) else ()
        waiting += value if isinstance(value, list) else ()
    raise ValueError("its aliases stand for too many values")


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
    """Return a value in one line of YAML. Texts are in quotes if YAML would read something else."""
    options: dict[str, Any] = {"default_flow_style": True, "allow_unicode": True}
    text: str = yaml.dump(
        [value],
        Dumper=OneLineDumper,
        width=math.inf,
        sort_keys=False,
        **options,
    )
    return text[1:-2]


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
    if not isinstance(content, dict):
        raise UserError(
            f"{source}: expected keys with values, got {truncate(repr(content))}.",
        )
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
        if not any(
            other[: len(key)] == key and other != key for other in errors_by_key
        ):
            yield describe_mistake(key, key_errors, section_type)


def find_key(error: Any, content: Any) -> tuple[str, ...]:
    """Return the keys that lead to an error, without pydantic's names for the allowed types."""
    key: list[str] = []
    for part in map(str, error["loc"]):
        if isinstance(content, list | tuple):
            content = dict(enumerate(content))
        elif not isinstance(content, dict):
            break
        # The limits of the gate are validated by their dotted keys.
        children = {
            str(name): child for name, child in [*content.items(), *flatten(content)]
        }
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
    where = ".".join(map(truncate, key))
    value = truncate(repr(errors[0]["input"]))
    expected = []
    words = list[str]()
    for error in errors:
        context = error.get("ctx", {})
        match error["type"]:
            case "missing":
                return f"{where}: this key is missing."
            case "extra_forbidden":
                hint = suggestion(
                    key[-1],
                    allowed := allowed_keys(key[:-1], section_type),
                )
                return (
                    f"{where}: unknown key.{hint} Allowed keys: {', '.join(allowed)}."
                )
            case "value_error":  # raised by one of our validators
                problem = str(context["error"])
                if problem.startswith("expected"):
                    problem += f", got {value}."
                return f"{where}: {problem}" if key else problem
            case "literal_error":
                words += (
                    context["expected"]
                    .replace("'", "")
                    .replace(" or ", ", ")
                    .split(", ")
                )
            case (
                "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal"
            ):
                ((bound, limit),) = context.items()
                expected.append(
                    f"a number {BOUNDS[bound]} {str(limit).removesuffix('.0')}",
                )
            case error_type:
                _, _, length = error["msg"].partition("String should have ")
                expected_type = EXPECTED_TYPES.get(
                    error_type.partition("_")[0],
                    error["msg"],
                )
                expected.append(length or expected_type)
    if words:
        expected.insert(
            0,
            words[0] if len(words) == 1 else f"one of {', '.join(words)}",
        )
    hint = suggestion(str(errors[0]["input"]), words)
    return f"{where}: expected {' or '.join(expected)}, got {value}.{hint}"


def allowed_keys(key: tuple[str, ...], section_type: type[BaseModel]) -> list[str]:
    """Return the keys that the section at `key` may have."""
    for part in key:
        fields = section_type.model_fields
        if (
            part in fields
        ):  # otherwise a name in a mapping of names to sections, such as a column
            section_type = next(sections_in(fields[part].annotation), section_type)
    return sorted(section_type.model_fields)


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections in a type such as `dict[str, Section] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from sections_in(inner)


def expected_one_of(name: str, allowed: Iterable[str]) -> str:
    """Say which names are allowed instead of an unknown one, and suggest the closest."""
    allowed = list(allowed)
    return (
        f"expected one of {format_list(allowed)}, got"
        f" {name!r}.{suggestion(name, allowed)}"
    )


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
