"""Files with new rows and with predictions; how rows are read is in `table`."""

import csv
import os
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import UserError, quote
from keras_tabular.core.files import atomic_write
from keras_tabular.core.process import BROKEN_PIPE
from keras_tabular.core.workers import uses_ray
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.table import rows
from keras_tabular.table.csv import RawRows, describe_place, read_header, skipped_lines
from keras_tabular.table.dialect import fit_dialect, has_header

MODEL_FILE = Path("models/model.keras")  # the model that `dvc repro` writes
SUFFIXES = {b"\x1f\x8b": ".gz", b"PK": ".xlsx"}  # by the first bytes of a file
Write = Callable[[pa.Table], None]  # appends rows to an output


def parse_model_and_rows(parser: ArgumentParser) -> Namespace:
    """Parse the arguments of a command that applies a model to rows.

    Returns:
        The arguments, among them the path `model`, and the path `rows`, which is "-"
        for stdin.
    """
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        type=Path,
        help="the model (a .keras file; optional), then the rows (a .csv, .xlsx, .ods,"
        " .jsonl or .parquet file; default: stdin)",
    )
    parser.add_argument(
        "--model",
        metavar="FILE",
        type=Path,
        default=MODEL_FILE,
        help="the model, a .keras file; default: %(default)s",
    )
    args = parser.parse_args()
    files = args.files
    if files and files[0].suffix == ".keras":
        args.model = files.pop(0)
    args.rows = files.pop(0) if files else Path("-")
    if files:
        parser.error(f"expected one file of rows, got also {files[0]}")
    return args


def read_schema(path: Path, content: bytes) -> tuple[Schema, ModelMetadata]:
    """Read the schema of the model's table, and all metadata, from a model.

    Args:
        path: Name of the model's file in messages.
        content: Content of the model's file.

    Raises:
        UserError: This is not a model's file, or it does not contain the schema.
    """
    metadata = ModelMetadata.from_file(path, content)
    if metadata.table_schema is None:
        raise UserError(
            f"{path}: the file does not contain the schema of its table. Name a model"
            f" that the stage calibrate has written, such as {MODEL_FILE}.",
        )
    return metadata.table_schema, metadata


def scratch_folder() -> TemporaryDirectory[str]:
    """Return a temporary folder that all machines of a Ray cluster can read."""
    parent = Path.cwd() if uses_ray() else None
    return TemporaryDirectory(suffix=".partial", prefix=".rows-", dir=parent)


@contextmanager
def open_rows(file: Path, schema: Schema) -> Iterator[Path]:
    """Yield the file of rows, or a copy of stdin ("-") or a pipe.

    The file or copy can be read repeatedly.

    Args:
        file: The argument of a command.
        schema: The schema of the model.

    Raises:
        UserError: The file cannot be opened, or the schema skips a row.
    """
    if file.is_file():
        check_skipped_lines(file, schema)
        yield file
        return
    try:
        content = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    with content, scratch_folder() as folder:
        start = content.read(2)
        suffix = SUFFIXES.get(start, "")
        if start.startswith(b"{"):
            suffix = ".jsonl"
        copy = Path(folder, f"stdin{suffix}")
        with atomic_write(copy) as partial, partial.open("wb") as target:
            target.write(start)
            shutil.copyfileobj(content, target)
        try:
            check_skipped_lines(copy, schema)
            yield copy
        except UserError as error:
            message = str(error).replace(str(copy), str(display_path(file)))
            raise UserError(message) from None


def check_skipped_lines(file: Path, schema: Schema) -> None:
    """Raise `UserError` if `skip_lines` leaves out a line that looks like a new row."""
    if not schema.skip_lines or not has_header(file):
        return
    dialect = fit_dialect(file, schema)
    _, header = read_header(file, dialect)
    features = {
        name: schema.columns[name] for name in header if name in schema.features
    }
    for line, cells in skipped_lines(file, dialect).items():
        is_complete = len(cells) == len(header) and all(cells)
        if not is_complete or cells == header:
            continue
        table = pa.table([[cell] for cell in cells], header)
        row = RawRows(file, first_row=0, cells=table)
        texts = rows.text_columns(row, features)
        _, failures = rows.parse_rows(row, texts, features)
        if features and not failures:
            raise UserError(
                f"{describe_place(file, line)}: skip_lines of the model leaves out"
                f" {quote(' '.join(cells))}, perhaps a row. Add a line that is no row"
                " at this place, as in the training table.",
            )


def display_path(file: Path) -> Path:
    """Return the path by which messages name an argument of `open_rows`."""
    return Path("stdin") if str(file) == "-" else file


def check_output(path: Path, other_paths: Iterable[Path]) -> None:
    """Raise `UserError` if `path` has an unknown ending, or is one of the others."""
    if not path.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise UserError(
            f"{path}: expected a file whose name ends in .csv, .csv.gz or .parquet",
        )
    if path.resolve() in [other.resolve() for other in other_paths]:
        raise UserError(
            f"{path}: this file is named twice. Name another file for each output.",
        )


@contextmanager
def open_writer(
    path: Path | None,
    output_schema: pa.Schema,
    table_schema: Schema,
) -> Iterator[Write]:
    """Yield a function that appends tables of `output_schema` to a file or stdout.

    At the end, the file is complete or does not exist. A CSV is UTF-8, and its decimals
    are read back as the same float32. The header is written with the first rows, or at
    the end, so that stdout stays empty if reading fails. If the reader of stdout stops
    reading, the process ends without a message.

    Args:
        path: The file; None for stdout.
        output_schema: The columns to write.
        table_schema: The schema of the rows that were read; a CSV has its delimiter,
            and the decimal point of most of its formats.
    """
    append: Write

    def write(table: pa.Table) -> None:
        # Other files may be open, but a failure names the file of this writer.
        with _name_in_errors(path):
            append(table)

    with _name_in_errors(path), ExitStack() as stack:
        if path is None:
            stdout = os.dup(sys.stdout.fileno())
            file = stack.enter_context(os.fdopen(stdout, "wb"))
        else:
            partial = stack.enter_context(atomic_write(path))
            if path.suffix == ".parquet":
                writer = pq.ParquetWriter(partial, output_schema)
                append = stack.enter_context(writer).write_table
                yield write
                return
            compression = "gzip" if path.suffix == ".gz" else None
            stream = pa.output_stream(partial, compression=compression)
            file = stack.enter_context(stream)
        append = _csv_writer(file, output_schema, table_schema)
        yield write
        write(output_schema.empty_table())  # for the header, if there was no row


@contextmanager
def _name_in_errors(path: Path | None) -> Iterator[None]:
    """Say that a file, or stdout, cannot be written."""
    try:
        yield
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        raise UserError(f"{path or 'stdout'}: cannot be written: {error}") from None


def _csv_writer(
    file: Any,
    output_schema: pa.Schema,
    table_schema: Schema,
) -> Write:
    has_header = False
    decimal_points = [
        column.decimal_point
        for column in table_schema.columns.values()
        if column.number_format
    ]
    decimal_point = max(decimal_points, key=decimal_points.count, default=".")

    def write(table: pa.Table) -> None:
        nonlocal has_header
        columns = []
        for column in table.columns:
            texts = column.cast("string")
            if pa.types.is_floating(column.type):
                texts = pc.replace_substring(texts, ".", decimal_point)
            columns.append(texts.to_pylist())
        lines = StringIO()
        writer = csv.writer(
            lines,
            delimiter=table_schema.delimiter,
            lineterminator="\n",
        )
        if not has_header:
            writer.writerow(output_schema.names)
            has_header = True
        writer.writerows(zip(*columns, strict=True))
        file.write(lines.getvalue().encode())
        file.flush()

    return write
