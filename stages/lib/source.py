"""The CSV file: read as a stream of typed batches, and explained line by line when it is wrong."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from stages.lib.params import Data
from stages.lib.stage import UserError
from stages.lib.table import arrow_schema

BLOCK_BYTES = 8 * 2**20
MISTAKES_SHOWN = 5

NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
WHOLE_NUMBER = re.compile(r"\s*-?\d+\s*")
BOOLEANS = {"0", "1", "true", "false", "True", "False", "TRUE", "FALSE"}
EXPECTED = {
    "real": "a number",
    "integer": "a whole number of at most 64 bits",
    "boolean": "true, false, 1 or 0",
}


def read_csv(path: Path, data: Data) -> Iterator[pa.Table]:
    """The file's rows as tables of the declared columns, in declared order; memory stays bounded.

    Raises:
        UserError: the file cannot be read as declared; the message names lines and columns.
    """
    _check_header(path, data)
    schema = arrow_schema(data)
    try:
        with pa_csv.open_csv(
            path,
            pa_csv.ReadOptions(block_size=BLOCK_BYTES, encoding=data.encoding),
            pa_csv.ParseOptions(delimiter=data.delimiter, newlines_in_values=True),
            pa_csv.ConvertOptions(
                column_types=schema, include_columns=schema.names, null_values=[""]
            ),
        ) as reader:
            for batch in reader:
                if not all(map(_is_finite, batch.columns)):
                    raise pa.ArrowInvalid("a number is not finite")
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UserError(_explain(path, data) or f"{path}: {error}") from None


def _is_finite(values: pa.Array) -> bool:
    if not pa.types.is_floating(values.type):
        return True
    return pc.all(pc.is_finite(values)).as_py() is not False  # None: every cell is empty


def _records(path: Path, data: Data) -> Iterator[tuple[int, list[str]]]:
    """The file's records, each with its last line number; slow, for messages only."""
    with path.open(encoding=data.encoding, newline="") as file:
        reader = csv.reader(file, delimiter=data.delimiter, strict=True)
        for cells in reader:
            if cells:
                yield reader.line_num, cells


def _check_header(path: Path, data: Data) -> None:
    try:
        _, header = next(_records(path, data))
    except StopIteration:
        raise UserError(f"{path}: the file is empty; expected a header line") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror} (data.source in params.yaml)") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: line 1: {error}") from None
    header[0] = header[0].removeprefix("\ufeff")
    problems = {
        "missing": [name for name in data.columns if name not in header],
        "not declared": [name for name in header if name not in data.columns],
        "more than once": sorted({name for name in header if header.count(name) > 1}),
    }
    if any(problems.values()):
        found = "; ".join(
            f"{what}: {', '.join(names)}" for what, names in problems.items() if names
        )
        raise UserError(
            f"{path}: line 1: the header differs from data.columns in params.yaml. {found}"
        )


def _explain(path: Path, data: Data) -> str:
    """What is wrong with the first few bad lines, one message line each; empty if nothing is."""
    mistakes: list[str] = []
    try:
        records = _records(path, data)
        _, header = next(records)
        header[0] = header[0].removeprefix("\ufeff")
        for line, cells in records:
            if len(cells) != len(header):
                mistakes.append(
                    f"{path}: line {line}: found {len(cells)} cells; expected {len(header)}"
                )
            for name, cell in zip(header, cells, strict=False):
                kind = data.columns[name].kind
                if cell and not _fits(cell, kind):
                    mistakes.append(
                        f"{path}: line {line}, column {name}: found {cell!r}; "
                        f"expected {EXPECTED[kind]}"
                    )
            if len(mistakes) >= MISTAKES_SHOWN:
                return "\n".join([*mistakes, "there may be more"])
    except (UnicodeDecodeError, csv.Error) as error:
        mistakes.append(f"{path}: {error}")
    return "\n".join(mistakes)


def _fits(cell: str, kind: str) -> bool:
    if kind == "real":
        return NUMBER.fullmatch(cell) is not None
    if kind == "integer":
        return WHOLE_NUMBER.fullmatch(cell) is not None and -(2**63) <= int(cell) < 2**63
    return cell in BOOLEANS
