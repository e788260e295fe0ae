"""YAML files that are checked against a typed section before anything uses them."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tabular.errors import UserError

Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Value = bool | int | float | str


def _share(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError("expected a number above 0 and below 1")
    return value


Share = Annotated[float, AfterValidator(_share)]


class Section(BaseModel):
    """A part of a file: no unknown keys, nothing changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SectionT = TypeVar("SectionT", bound=Section)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; an empty mapping for an empty file.

    Raises:
        UserError: the file is missing or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; run from the project's folder") from None
    except (yaml.YAMLError, ValueError) as error:
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
        from tabular.mistakes import explain_all  # words alone: they decide no output

        lines = [f"{path}: {line}" for line in explain_all(error.errors(), kind)]
        raise UserError("\n".join(lines)) from None
