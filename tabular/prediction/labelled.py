"""Rows whose answer is known, read and checked as those of the table are."""

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from tabular.errors import UserError
from tabular.params.validate import Validate
from tabular.prediction.inputs import cell_failures
from tabular.schema import Schema
from tabular.table.checks import declared_checks, row_hashes
from tabular.table.csv import MISTAKES_SHOWN
from tabular.table.parquet import read_parts, write_part
from tabular.table.source import ROWS, column_names, pieces, read_piece, row_name


def write_labelled(file: Path, schema: Schema, policies: Validate, folder: Path) -> Counter[str]:
    """Write the rows of a file as parts of a table into `folder`, without those a check drops.

    Each cell is checked for kind, missing, range and values, of the columns that the model reads,
    the target and the weight.

    Returns:
        What was dropped or only warned of, in words, and how many rows each.

    Raises:
        UserError: the file is not as declared, no row is left, or a row fails a check whose policy
            is error; the message names lines.
    """
    roles = set(schema.roles.values()) - {schema.weight, *schema.features}
    columns = {name: column for name, column in schema.columns.items() if name not in roles}
    read = schema.model_copy(update={"columns": columns})
    names = column_names(file, schema, columns, [*roles, *schema.ignore])
    checks, told, rows = declared_checks(schema, policies), Counter[str](), 0
    line = row_name([file], schema)
    for number, piece in enumerate(pieces(file, schema, names, ROWS)):
        table = read_piece(piece, read)
        failures = sorted(cell_failures(table, read.columns, read, checks, partial(_text, table)))
        wrong = [failure for failure in failures if failure.policy == "error"][:MISTAKES_SHOWN]
        if wrong:
            raise UserError(
                "\n".join(
                    f"{line(piece.first + failure.row)}, column {failure}" for failure in wrong
                )
            )
        told.update(f"{f.column}: {f.check}: {f.policy}" for f in failures)
        kept = np.ones(len(table), bool)
        kept[[failure.row for failure in failures if failure.policy == "drop"]] = False
        write_part(folder, number, table.filter(pa.array(kept)))
        rows += int(kept.sum())
    if not rows:
        raise UserError(f"{file}: found no row to score; expected one at least")
    return told


def _text(table: pa.Table, name: str, row: int) -> str:
    """A cell as a message shows it."""
    value = table[name][row].as_py()
    return "" if value is None else str(value)


def also_in(folder: Path, other: Path, schema: Schema) -> int:
    """How many rows of a table are, with their target, in another one too."""
    names = [*schema.features, schema.target]

    def hashes(table: Path) -> list[np.ndarray]:
        return [row_hashes(part.select(names).columns) for part in read_parts(table, names)]

    return int(np.isin(np.concatenate(hashes(folder)), np.concatenate(hashes(other))).sum())
