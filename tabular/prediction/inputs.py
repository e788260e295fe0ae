"""Rows to predict: read as texts from a CSV, stdin or Parquet, then parsed and checked."""

import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tabular.engine import on_ray
from tabular.errors import UserError
from tabular.model.metadata import declared, metadata_of
from tabular.params.drift import Drift
from tabular.params.loading import Params, load_params
from tabular.params.validate import Validate
from tabular.schema import SCHEMA, Column, Schema, load_schema
from tabular.table.cells import expected, parse
from tabular.table.checks import Checks, failed_cells, missing_check
from tabular.table.rejects import Failure
from tabular.table.source import Piece, as_written, column_names, texts, values
from tabular.typed_yaml import Section

SECTIONS: dict[str, type[Section]] = {"validate": Validate, "drift": Drift}
GZIP = b"\x1f\x8b"  # how such a file begins


class Batch(NamedTuple):
    """Some rows: columns as texts, those that the model reads as values, and what is wrong.

    `texts` has all columns where a row fails a check, else those that were asked for.
    """

    texts: pa.Table
    features: pa.Table
    failures: list[Failure]


def add_model_and_rows(parser: ArgumentParser, count: Literal["*", "+"]) -> None:
    """The arguments that `model_and_rows` reads; "*" where there may be no file, and so stdin."""
    add = parser.add_argument
    add("files", nargs=count, type=Path, help="a .keras file, then a .csv, .csv.gz or .parquet")
    add("--model", type=Path, help="the .keras file; else the first one named, or that of repro")


def model_and_rows(
    parser: ArgumentParser, files: list[Path], model: Path | None
) -> tuple[Path, Path]:
    """The .keras file and the file of rows, "-" for stdin, among the arguments of a command."""
    if files and files[0].suffix == ".keras" and not model:
        model, *files = files
    if len(files) > 1:
        parser.error(f"found {len(files)} files of rows; expected one, or none for stdin")
    return model or Path("models/model.keras"), files[0] if files else Path("-")


def expected_rows(path: Path, content: bytes | None, *names: str) -> tuple[Schema, Params]:
    """The table that a model reads, and the sections of these names: `validate`, `drift`.

    As data/schema.yaml and params.yaml say, where they are, else as the model's file says.
    """
    if SCHEMA.is_file():
        schema = load_schema()
        return schema, load_params(*names, schema=schema)
    if content is None:
        raise UserError(f"{path}: no model here; name the .keras file, or run `dvc repro`")
    metadata = metadata_of(path, content)
    sections = {name: declared(path, metadata, name, SECTIONS[name]) for name in names}
    return declared(path, metadata, "schema", Schema), Params(sections)


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
    seen_by_all = Path.cwd() if on_ray() else None
    with content, TemporaryDirectory(".partial", ".rows-", seen_by_all) as folder:
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


def row_columns(file: Path, schema: Schema, *, extra: bool = False) -> list[str]:
    """The names of the file's columns: those that the model reads, perhaps other declared ones.

    Args:
        extra: whether there may be columns that nothing declares, which are left out.

    Raises:
        UserError: they are not as declared, or the file cannot be read.
    """
    optional = {schema.target, *schema.roles.values()} - set(schema.features)
    return column_names(file, schema, schema.features, [*optional, *schema.ignore], extra=extra)


def check_piece(
    piece: Piece, schema: Schema, names: list[str], checks: Checks, kept: Sequence[str] = ()
) -> Batch:
    """The rows of a piece, each cell checked for kind, missing, range and values.

    Args:
        names: of the file's columns to read.
        checks: see `declared_checks`.
        kept: names of the columns that are always wanted as texts.

    Raises:
        UserError: the file is broken; the message names lines.
    """
    schema = as_written(piece.file, schema)
    found = values(piece, schema, schema.features, kept)
    if found and not any(failed_cells(found, schema.features)):
        return Batch(found.select(kept), found.select(list(schema.features)), [])
    return check_batch(pa.concat_tables(texts(piece, schema, names)), schema, checks)


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
    failures += [
        failure
        for failure in cell_failures(
            features, schema.features, schema, checks, lambda name, row: texts[name][row].as_py()
        )
        if failure.row not in wrong[failure.column]  # said already
    ]
    return Batch(texts, features, sorted(failures, key=lambda failure: failure.row))


def cell_failures(
    table: pa.Table,
    columns: dict[str, Column],
    schema: Schema,
    checks: Checks,
    text: Callable[[str, int], str],
) -> Iterator[Failure]:
    """The cells of some columns that fail a declared check.

    Args:
        text: what a message shows of the cell of a column in a row.
    """
    for name, check, rows in failed_cells(table, columns):
        declared = checks[name, missing_check(name, schema) if check == "missing" else check]
        for row in rows.tolist():
            yield Failure(row, name, check, text(name, row), declared.expected, declared.policy)
