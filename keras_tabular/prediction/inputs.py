"""Rows to predict: read as texts from a CSV, stdin or Parquet, then parsed and checked."""

import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from keras_tabular.config.params import Params, load_params
from keras_tabular.config.schema import SCHEMA, Schema, load_schema
from keras_tabular.core.cluster import uses_ray
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.model_file.metadata import read_metadata
from keras_tabular.table.source import column_names

GZIP = b"\x1f\x8b"  # how such a file begins


def parse_model_and_rows(parser: ArgumentParser, count: Literal["*", "+"]) -> Namespace:
    """Parse the arguments of a command, with its `model` and its file of `rows`, "-" for stdin."""
    add = parser.add_argument
    add("files", nargs=count, type=Path, help="a .keras file, then a .csv, .jsonl or .parquet")
    add("--model", type=Path, help="the .keras file; else the first one named, or that of repro")
    args = parser.parse_args()
    files = args.files
    if files and files[0].suffix == ".keras" and not args.model:
        args.model, *files = files
    if len(files) > 1:
        parser.error(f"found {len(files)} files of rows; expected one, or none for stdin")
    args.model = args.model or Path("models/model.keras")
    args.rows = files[0] if files else Path("-")
    return args


def load_schema_and_params(path: Path, content: bytes, *names: str) -> tuple[Schema, Params]:
    """Load the schema, and sections of the parameters: `validate`, `drift`.

    They are those of data/schema.yaml and params.yaml, if these exist, else those in the model.

    Args:
        path: Path of the model's file.
        content: Content of the model's file.
        names: Names of the sections.

    Raises:
        UserError: A file is wrong, or the model does not hold a schema.
    """
    if SCHEMA.is_file():
        schema = load_schema()
        return schema, load_params(*names, schema=schema)
    return read_schema_and_params(path, content)


def read_schema_and_params(path: Path, content: bytes) -> tuple[Schema, Params]:
    """Return the schema, and the sections `validate` and `drift`, that a model's file holds."""
    metadata = read_metadata(path, content)
    if metadata.table_schema is None:
        raise UserError(
            f"{path}: does not hold the schema of its table, so there is no predicting without "
            "data/schema.yaml and params.yaml; run where they are"
        )
    params = Params(validate=metadata.validate_params, drift=metadata.drift_params)
    return metadata.table_schema, params


def scratch_folder() -> TemporaryDirectory[str]:
    """Return a temporary folder, which all machines of a Ray cluster can read."""
    return TemporaryDirectory(".partial", ".rows-", Path.cwd() if uses_ray() else None)


@contextmanager
def seekable_file(file: Path) -> Iterator[Path]:
    """Yield the file; for stdin ("-") or a pipe a copy, since rows are read again to name a line.

    Raises:
        UserError: The file cannot be opened.
    """
    try:
        content = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    with content, scratch_folder() as folder:
        if file.is_file():
            yield file
            return
        first = content.read(2)
        suffix = ".gz" if first == GZIP else ".jsonl" if first.startswith(b"{") else ""
        copy = Path(folder, f"stdin{suffix}")
        with atomic_write(copy) as partial, partial.open("wb") as target:
            target.write(first)
            shutil.copyfileobj(content, target)
        try:
            yield copy
        except UserError as error:
            raise UserError(str(error).replace(str(copy), "stdin")) from None


def row_columns(file: Path, schema: Schema, *, extra: bool = False) -> list[str]:
    """List the columns of a file: those that the model reads, and other declared ones it has.

    Args:
        extra: Whether the file may have columns that nothing declares, which are left out.

    Raises:
        UserError: The columns are not as declared, or the file cannot be read.
    """
    optional = {schema.target, *schema.roles.values()} - set(schema.features)
    return column_names(file, schema, schema.features, [*optional, *schema.ignore], extra=extra)
