"""YAML files that are checked against a typed section before anything uses them."""

import math
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tabular.config.mistakes import explain_all
from tabular.core.errors import UserError

Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Value = bool | int | float | str
MAX_YAML = 2**22  # characters; a schema of 50,000 columns has fewer
MAX_VALUES, MAX_DIGITS = 10**6, 100


def _share(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError("expected a number above 0 and below 1")
    return value


Share = Annotated[float, AfterValidator(_share)]


class Section(BaseModel):
    """A part of a file: no unknown keys, nothing changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SectionT = TypeVar("SectionT", bound=Section)


class _Loader(yaml.CSafeLoader):
    """PyYAML's safe loader, the fast one, with a bound on what aliases and digits stand for."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _size(node, {}) > MAX_VALUES:
            problem = f"its aliases stand for more than {MAX_VALUES} values; write fewer out"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MAX_DIGITS:
            problem = f"found a number of {len(node.value)} digits; expected {MAX_DIGITS} at most"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _size(node: yaml.Node, sizes: dict[int, float]) -> float:
    """How many values a node stands for, its aliases written out; infinite where it holds itself.

    Args:
        sizes: of the nodes that are known, by id.
    """
    if id(node) not in sizes:
        sizes[id(node)] = math.inf
        inside = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            inside = [end for pair in node.value for end in pair]
        sizes[id(node)] = 1 + sum(_size(child, sizes) for child in inside)
    return sizes[id(node)]


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; an empty mapping for an empty file.

    Raises:
        UserError: the file is missing, too large, or is not YAML.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_YAML + 1)
        if len(text) > MAX_YAML:
            raise UserError(f"{path}: found more than {MAX_YAML} characters; expected a short file")
        return yaml.load(text, _Loader) or {}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; run from the project's folder") from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None


def check(found: Any, kind: type[SectionT], path: Path) -> SectionT:
    """What a file holds as a typed section.

    Raises:
        UserError: a key or value is wrong. One line for each mistake: the key, the value found,
            what is allowed and the nearest right name.
    """
    if not isinstance(found, dict):
        raise UserError(f"{path}: found {found!r:.60}; expected keys with values")
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        lines = [f"{path}: {line}" for line in explain_all(error.errors(), kind)]
        raise UserError("\n".join(lines)) from None
