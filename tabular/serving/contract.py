"""What rows and answers are in JSON: pydantic models of the table's columns, for OpenAPI.

They only describe: a cell is checked as that of a file is, by `check_batch`.
"""

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from tabular.config.schema import EPOCHS, Column, Schema
from tabular.config.sections import Validate
from tabular.prediction.outputs import output_schema
from tabular.table.cells import ARROW_TYPES

JSON_TYPES = {"double": float, "float": float, "int64": int, "bool": bool}  # others are texts


class Errors(BaseModel):
    """Why no row is answered: a line for each mistake."""

    errors: list[str]


def body_schema(schema: Schema, policies: Validate) -> dict[str, Any]:
    """The JSON schema of a request, with the models `Row` and `Rows` of OpenAPI in `$defs`.

    Args:
        policies: what a check that only warns allows too.
    """
    cells = {name: _cell(column, policies) for name, column in schema.features.items()}
    row: Any = _model(
        "Row", cells | dict.fromkeys(schema.ignore, Annotated[str | None, Field(None)])
    )
    rows = Annotated[list[row], Field(min_length=1)]
    named: Any = create_model("Rows", __config__=ConfigDict(extra="forbid"), rows=rows)
    return TypeAdapter[Any](named | rows).json_schema(ref_template="#/components/schemas/{model}")


def answers_model(schema: Schema, *, intervals: bool) -> type[BaseModel]:
    """An answer: the output's columns of each row, in the order of the rows, and `warnings`.

    Raises:
        UserError: a column of `ignore` has the name of another column of the output.
    """
    found = output_schema(schema, list(schema.ignore), numbered=False, intervals=intervals)
    cells: dict[str, Any] = {field.name: JSON_TYPES.get(str(field.type), str) for field in found}
    cells |= dict.fromkeys(schema.ignore, Annotated[str, Field(default_factory=str)])
    row: Any = _model("Answer", cells, ConfigDict(extra="allow"))  # reasons
    return create_model("Answers", rows=list[row], warnings=(list[str], []))


def _model(name: str, cells: dict[str, Any], config: ConfigDict | None = None) -> type[BaseModel]:
    """A model whose fields have columns as aliases, which need not be names in Python."""
    fields: dict[str, Any] = {
        f"column_{number}": Annotated[cell, Field(alias=column, title=column)]
        for number, (column, cell) in enumerate(cells.items())
    }
    return create_model(name, __config__=config, **fields)


def _cell(column: Column, policies: Validate) -> Any:
    """The JSON values of a column, as the type of a field."""
    words = any(isinstance(value, str) for value in column.missing_values)
    kinds: list[Any] = [JSON_TYPES.get(str(ARROW_TYPES[column.kind]), str)]
    kinds += [float] if column.format in EPOCHS else []
    kinds += [str] if words or column.format else []
    kinds += [None] if column.nullable else []
    said: dict[str, Any] = {}
    exact = not column.missing_values and not column.format
    if exact and policies.range != "warn":
        said |= {"ge": column.min, "le": column.max}
    if exact and policies.values != "warn" and column.values is not None:
        values = [*column.values, *([None] if column.nullable else [])]
        said["json_schema_extra"] = {"enum": values}
    if column.feature_type == "datetime" or column.format:
        said["description"] = f"as text {column.format or 'ISO 8601'}"
    return Annotated[reduce(or_, kinds), Field(**said)]
