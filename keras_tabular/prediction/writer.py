"""Write predictions to CSV and Parquet files, or to stdout."""

import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.core.process import BROKEN_PIPE

Write = Callable[[pa.Table], None]


def check_output(path: Path, other_paths: Iterable[Path]) -> None:
    """Raise `UserError` if `path` has an unknown ending, or is one of the other paths."""
    if not path.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise UserError(f"{path}: expected a file whose name ends in .csv, .csv.gz or .parquet")
    if path.resolve() in [other.resolve() for other in other_paths]:
        raise UserError(f"{path}: this file is named twice. Name another file for each output.")


@contextmanager
def open_writer(path: Path | None, schema: pa.Schema, delimiter: str) -> Iterator[Write]:
    """Yield a function that appends tables of `schema` to a file or stdout.

    At the end, the file is complete or does not exist. A CSV is UTF-8, and its decimals are read
    back as the same float32. The header is written with the first rows, or at the end, so that
    stdout stays empty if reading fails. If the reader of stdout stops reading, the process ends
    without a message.

    Args:
        path: The file; None for stdout.
    """
    try:
        with ExitStack() as stack:
            if path is None:
                file = stack.enter_context(os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
            else:
                partial = stack.enter_context(atomic_write(path))
                if path.suffix == ".parquet":
                    yield stack.enter_context(pq.ParquetWriter(partial, schema)).write_table
                    return
                compression = "gzip" if path.suffix == ".gz" else None
                file = stack.enter_context(pa.output_stream(partial, compression=compression))
            write = _csv_writer(file, schema, delimiter)
            yield write
            write(schema.empty_table())
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        raise UserError(f"{path or 'stdout'}: cannot be written: {error}") from None


def _csv_writer(file: Any, schema: pa.Schema, delimiter: str) -> Write:
    header = [schema.names]

    def write(table: pa.Table) -> None:
        lines = StringIO()
        columns = [cells.cast(pa.string()).to_pylist() for cells in table.columns]
        writer = csv.writer(lines, delimiter=delimiter, lineterminator="\n")
        writer.writerows([*header, *zip(*columns, strict=True)])
        header.clear()
        file.write(lines.getvalue().encode())
        file.flush()

    return write
