"""Rows and answers as JSON, with their declared shapes: checks and answers are those of files."""

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from tabular.config.schema import EPOCHS, NUMBER_FORMAT, Column, Schema
from tabular.config.sections import Validate
from tabular.config.typed_yaml import suggestion
from tabular.core.errors import UserError, listed, quoted
from tabular.prediction.outputs import output_schema
from tabular.table.cells import ARROW_TYPES
from tabular.table.csv_lines import MISTAKES_SHOWN

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
    kinds: list[Any] = [JSON_TYPES.get(str(ARROW_TYPES[column.kind]), str)]
    kinds += [float] if {*column.date_formats} & {*EPOCHS} else []
    kinds += [str] if column.reads_texts else []
    kinds += [None] if column.nullable else []
    said: dict[str, Any] = {}
    exact = not column.missing_values and not column.format and not column.replace
    if exact and policies.range != "warn":
        said |= {"ge": column.min, "le": column.max}
    if exact and policies.values != "warn" and column.values is not None:
        values = [*column.values, *([None] if column.nullable else [])]
        said["json_schema_extra"] = {"enum": values}
    if column.feature_type == "datetime" or column.format:
        forms = [column.number_format] if column.number_format else column.date_formats
        said["description"] = f"as text {' or '.join(forms)}"
    return Annotated[reduce(or_, kinds), Field(**said)]


Cell = str | int | float | bool | None
Row = dict[str, Cell]


class NotRowsError(UserError):
    """A body that holds no rows in JSON."""


def read_rows(body: bytes) -> list[Row]:
    """The rows in a request: a list of objects, or an object that has one as `rows`.

    Raises:
        NotRowsError: it is something else.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"found {constant}, which is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            raise ValueError(f"found {quoted(max(keys, key=keys.count))} twice in an object")
        return found

    try:
        found = json.loads(body, parse_constant=refuse, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:  # of the text, its encoding, a number too long
        raise NotRowsError(f"the body is not JSON: {error}") from None
    rows = found.get("rows") if isinstance(found, dict) and found.keys() == {"rows"} else found
    if not isinstance(rows, list) or not rows:
        raise NotRowsError(
            'the body: expected [{column: value, ...}, ...] or {"rows": [...]}, one row at least'
        )
    return rows


def texts_of(rows: list[Row], schema: Schema) -> pa.Table:
    """The rows as the texts that a CSV holds, numbers in the format of their column.

    Raises:
        UserError: a row has other columns, or a cell is a list or an object; a line for each
            mistake.
    """
    needed, mistakes = set(schema.features), list[str]()
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            mistakes.append(f"row {number}: found {quoted(json.dumps(row))}; expected an object")
        elif row.keys() != needed:
            mistakes += _wrong_names(number, row, schema)
        if len(mistakes) >= MISTAKES_SHOWN:
            break
    if mistakes:
        raise UserError("\n".join(mistakes[:MISTAKES_SHOWN]))
    identifiers = [name for name in schema.ignore if any(name in row for row in rows)]
    written = {}
    for name in [*schema.features, *identifiers]:
        column = schema.columns.get(name)
        form = column.number_format if column else None
        point = NUMBER_FORMAT.sub(r"\3", form) if form else ""
        texts = [_text(number, name, row.get(name), point) for number, row in enumerate(rows, 1)]
        written[name] = pa.array(texts, pa.string())
    return pa.table(written)


def _wrong_names(number: int, row: Row, schema: Schema) -> list[str]:
    """How the columns of a row differ from the declared ones, in words; it may have all of them."""
    found, needed = [], set(schema.features)
    if missing := [name for name in schema.features if name not in row]:
        nullable = all(schema.columns[name].nullable for name in missing)
        hint = "; give null for an empty cell" if nullable else ""
        found.append(f"row {number}: missing: {listed(missing)}{hint}")
    unknown = row.keys() - {*schema.columns, *schema.ignore}
    for name in sorted(unknown)[:MISTAKES_SHOWN]:
        said = f"row {number}: no column {quoted(name)} is declared."
        found.append(said + suggestion(name, needed))
    return found


def _text(number: int, name: str, cell: Any, point: str) -> str:
    """A cell as the text that a CSV holds; its decimal `point` where the column has a format."""
    if isinstance(cell, str):
        if not cell.isascii() and any("\ud800" <= letter <= "\udfff" for letter in cell):
            raise UserError(f"row {number}, column {name}: found half a character; expected UTF-8")
        return cell
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, int | float):
        return f"{Decimal(repr(cell)):f}".replace(".", point) if point else repr(cell)
    raise UserError(
        f"row {number}, column {name}: found {quoted(json.dumps(cell))}; expected a number, a "
        "text, true, false or null"
    )


def answers_of(columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> list[dict[str, Any]]:
    """Columns of one length as JSON values of rows; a float32 in the digits that tell it apart."""
    values = {
        name: column.cast(pa.string()).cast(pa.float64())
        if pa.types.is_float32(column.type)
        else column
        for name, column in columns.items()
    }
    found: list[dict[str, Any]] = pa.table(values).to_pylist()
    return found
