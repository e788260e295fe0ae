"""Rows to predict: read as texts from a CSV, stdin or Parquet, then parsed and checked."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tabular.errors import UserError
from tabular.params.validate import Validate
from tabular.schema import Schema
from tabular.table.cells import expected, parse
from tabular.table.checks import Checks, declared_checks, failed_cells
from tabular.table.csv import check_header, declared_names, read_texts, row_lines, wrong_names
from tabular.table.parquet import in_parts
from tabular.table.rejects import Failure

ROWS = 32_768  # at a time
GZIP = b"\x1f\x8b"  # how such a file begins


class Batch(NamedTuple):
    """Some rows: all columns as texts, those that the model reads as values, and what is wrong."""

    texts: pa.Table
    features: pa.Table
    failures: list[Failure]


@contextmanager
def regular_file(file: Path) -> Iterator[Path]:
    """The file itself; of stdin ("-") or a pipe a copy, since naming a line takes a second look.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        content = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    with content, TemporaryDirectory() as folder:
        if file.is_file():
            yield file
            return
        first = content.read(2)
        copy = Path(folder, "stdin.gz" if first == GZIP else "stdin")
        with copy.open("wb") as target:
            target.write(first)
            shutil.copyfileobj(content, target)
        try:
            yield copy
        except UserError as error:
            raise UserError(str(error).replace(str(copy), "stdin")) from None


def column_names(file: Path, schema: Schema, *, extra: bool = False) -> list[str]:
    """The names of the file's columns: those that the model reads, perhaps target and identifiers.

    Args:
        extra: whether there may be others, which are left out.

    Raises:
        UserError: they are not as declared, or the file cannot be read.
    """
    optional = (schema.target, *schema.roles.values(), *schema.ignore)
    if file.suffix != ".parquet":
        return check_header(file, schema, schema.features, optional, extra=extra)
    try:
        found = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file}: not a Parquet file that can be read: {error}") from None
    if wrong := wrong_names(found.names, schema, schema.features, optional, extra=extra):
        raise UserError(f"{file}: the columns are not as declared. {wrong}")
    names = declared_names(found.names, schema)
    for name in names:
        kind = found.field(name).type
        if pa.types.is_nested(kind):
            raise UserError(f"{file}: column {name}: found {kind}; expected numbers or texts")
    return names


def row_names(file: Path, name: str, schema: Schema) -> Callable[[int], str]:
    """What says where a row (counted from 0) stands; ask in ascending order.

    Of a CSV the line in which it begins, of a Parquet file the row itself.

    Args:
        name: how a message calls the file.
    """
    if file.suffix == ".parquet":
        return lambda row: f"{name}: row {row}"
    return row_lines([file], schema, name)


def checked_rows(
    file: Path, schema: Schema, names: list[str], policies: Validate
) -> Iterator[Batch]:
    """The rows of the columns `names`, each cell checked for kind, missing, range and values.

    Raises:
        UserError: the file is broken; the message names lines.
    """
    read = read_parquet if file.suffix == ".parquet" else read_texts
    tables = read(file, schema, names)
    if file.suffix == ".parquet":
        schema = without_formats(schema, pq.read_schema(file))
    checks = declared_checks(schema, policies)
    for texts in in_parts(tables, pa.schema([(name, pa.string()) for name in names]), ROWS):
        yield check_batch(texts, schema, checks)


def without_formats(schema: Schema, of_file: pa.Schema) -> Schema:
    """The schema for a Parquet file, whose numbers are no texts in the form of a column."""
    kinds = dict(zip(of_file.names, of_file.types, strict=True))
    plain = {
        name: column.model_copy(update={"format": None})
        for name, column in schema.columns.items()
        if name in kinds and pa.types.is_primitive(kinds[name])
    }
    return schema.model_copy(update={"columns": schema.columns | plain})


def check_batch(texts: pa.Table, schema: Schema, checks: Checks) -> Batch:
    """Parse and check the columns that the model reads; a wrong cell is null in `features`.

    Args:
        checks: see `declared_checks`.
    """
    columns, failures, wrong = {}, [], {}
    for name, column in schema.features.items():
        cells = texts[name].combine_chunks()
        columns[name], failed = parse(cells, column)
        wrong[name] = set(pc.indices_nonzero(failed).to_pylist())
        failures += [
            Failure(row, name, "kind", cells[row].as_py(), expected(column)) for row in wrong[name]
        ]
    features = pa.table(columns)
    for name, check, rows in failed_cells(features, schema.features):
        declared = checks[name, check]
        failures += [
            Failure(row, name, check, texts[name][row].as_py(), declared.expected, declared.policy)
            for row in rows.tolist()
            if row not in wrong[name]  # said already
        ]
    return Batch(texts, features, sorted(failures, key=lambda failure: failure.row))


def read_parquet(file: Path, _: Schema, names: list[str]) -> Iterator[pa.Table]:
    """The columns `names`, each cell the text that a CSV would hold; NaN is an empty cell."""
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(ROWS, columns=names):
                yield pa.table({name: as_texts(batch[name]) for name in names})
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None


def as_texts(values: pa.Array) -> pa.Array:
    """Values as a CSV would write them."""
    texts = values.cast(pa.string())
    if pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64())
        whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), 2**53))
        integers = pc.if_else(whole, numbers, 0).cast(pa.int64()).cast(pa.string())
        texts = pc.if_else(whole, integers, texts)  # and not 1e+06
        texts = pc.if_else(pc.is_nan(numbers), None, texts)
    return pc.fill_null(texts, "")
