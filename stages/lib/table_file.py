"""Tables written to a file that a person named: CSV, gzip CSV or Parquet, by the name's end."""

import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.stage import UserError, whole

Write = Callable[[pa.Table], None]
BROKEN_PIPE = 141  # the exit code of a Unix tool whose reader went away


def check_output(path: Path, inputs: Iterable[Path]) -> None:
    """Raises `UserError` where a table cannot be written to `path`, or it is one of `inputs`."""
    if path.is_dir() or not path.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise UserError(
            f"{path}: found {'a folder' if path.is_dir() else repr(path.name)}; expected a file "
            "whose name ends in .csv, .csv.gz or .parquet"
        )
    if path.resolve() in [other.resolve() for other in inputs]:
        raise UserError(f"{path}: named twice; expected another file for each output")


@contextmanager
def writing(path: Path | None, schema: pa.Schema, delimiter: str) -> Iterator[Write]:
    """Yield what writes tables of `schema`, one after the other, to `path`; without it to stdout.

    A file is there whole at the end or not at all. A CSV is UTF-8 and reads back to the same
    float32. When the reader of stdout goes away, the process ends without a word.
    """
    try:
        if path is None:
            with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as stdout:
                yield _csv_writer(stdout, schema, delimiter)
            return
        with whole(path) as partial:
            if path.suffix == ".parquet":
                with pq.ParquetWriter(partial, schema) as writer:
                    yield writer.write_table
            else:
                packed = "gzip" if path.suffix == ".gz" else None
                with pa.output_stream(partial, compression=packed) as file:
                    yield _csv_writer(file, schema, delimiter)
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        raise UserError(f"{path or 'stdout'}: cannot be written: {error}") from None


def _csv_writer(file: Any, schema: pa.Schema, delimiter: str) -> Write:
    def write_rows(rows: Iterable[Iterable[str | None]]) -> None:
        lines = StringIO()
        csv.writer(lines, delimiter=delimiter, lineterminator="\n").writerows(rows)
        file.write(lines.getvalue().encode())
        file.flush()

    def write(table: pa.Table) -> None:
        texts = [column.cast(pa.string()).to_pylist() for column in table.columns]
        write_rows(zip(*texts, strict=True))

    write_rows([schema.names])
    return write
