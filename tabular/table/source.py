"""The files of a table, CSV or Parquet: their names, columns and rows, and where a row stands."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tabular.config.schema import Dialect, Schema
from tabular.core.errors import UserError, listed, truncate
from tabular.table import csv
from tabular.table.cells import kinds_of
from tabular.table.csv import RawRows
from tabular.table.parquet import FILE_SUBSET, FOLD_KEY

NO_CELLS = "which no kind of column holds"


def source_files(source: str, needed: Iterable[str] = ()) -> list[Path]:
    """The file that `source` of the schema names, or the files in that folder, sorted.

    Hidden files and those of `dvc add` are left out.

    Args:
        needed: names of which each has to be there, and not be all there is.

    Raises:
        UserError: there is none, or it cannot be opened.
    """
    path = Path(source)
    files = [path]
    try:
        if path.is_dir():
            files = sorted(
                f for f in path.iterdir() if not f.name.startswith(".") and f.suffix != ".dvc"
            )
        for file in files:
            csv.open_bytes(file).close()
    except OSError as error:
        where = f"{error.filename}: {error.strerror}"
        raise UserError(f"{where} (source in data/schema.yaml)") from None
    if not files:
        raise UserError(f"{path}: the folder is empty (source in data/schema.yaml)")
    names = [file.name for file in files]
    if (absent := sorted({*needed} - {*names})) or (needed and set(names) == set(needed)):
        raise UserError(
            f"{path}: found {listed(names)}; test_files in data/schema.yaml needs "
            f"{listed(absent) if absent else 'another file, to train with'}"
        )
    return files


def is_parquet(file: Path) -> bool:
    """Return whether a file is Parquet, by its name."""
    return file.suffix == ".parquet"


def stored_names(file: Path, dialect: Dialect) -> list[str]:
    """Return the names of all columns of a file.

    Raises:
        UserError: It cannot be read.
    """
    return parquet_schema(file).names if is_parquet(file) else csv.read_header(file, dialect)


def column_names(
    file: Path,
    schema: Schema,
    needed: Iterable[str],
    optional: Iterable[str] = (),
    *,
    extra: bool = False,
) -> list[str]:
    """The declared names among the file's columns.

    Each of `needed` has to be there once, each of `optional` at most once; others only if `extra`.

    Raises:
        UserError: they are not, or the file cannot be read.
    """
    types = parquet_schema(file) if is_parquet(file) else None
    names = stored_names(file, schema)
    counts, declared_names = Counter(names), {*schema.columns, *schema.ignore}
    allowed = declared_names | ({FOLD_KEY, FILE_SUBSET} if types is not None else set())  # of split
    problems = {
        "missing": [name for name in needed if name not in counts],
        "neither in columns nor in ignore": [n for n in counts if n not in allowed and not extra],
        "more than once": sorted(n for n in {*needed, *optional} if counts[n] > 1),
    }
    if wrong := "; ".join(f"{what}: {listed(n)}" for what, n in problems.items() if n):
        if types is not None:
            raise UserError(f"{file}: the columns are not as declared. {wrong}")
        hint = csv.header_hint(names, schema)
        raise UserError(f"{file}: line 1: the header is not as declared. {wrong}{hint}")
    names = [name for name in names if name in declared_names]
    return names if types is None else _readable(file, types, {*names}, schema)


def _readable(file: Path, types: pa.Schema, names: set[str], schema: Schema) -> list[str]:
    """The `names` of columns whose types can be what they are declared to be.

    Raises:
        UserError: one of a declared column cannot.
    """
    readable = []
    for field in types:
        declared, kinds = schema.columns.get(field.name), kinds_of(field.type)
        if declared and declared.kind not in kinds:
            stored_type = truncate(str(field.type))
            can = f"it can be {listed(kinds)}" if kinds else f"{NO_CELLS}; leave it out of columns"
            raise UserError(
                f"{file}: column {field.name}: found {stored_type}, declared {declared.kind}; "
                f"{can}, in data/schema.yaml"
            )
        if field.name in names and kinds:
            readable.append(field.name)
    return readable


def unreadable(file: Path) -> dict[str, str]:
    """Return the columns of a Parquet file that no kind can hold, and a note on their type."""
    types = parquet_schema(file) if is_parquet(file) else ()
    return {
        field.name: f"{truncate(str(field.type))}, {NO_CELLS}"
        for field in types
        if not kinds_of(field.type)
    }


def parquet_schema(file: Path) -> pa.Schema:
    """The names and types of a Parquet file.

    Raises:
        UserError: it is none, or cannot be opened.
    """
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: not a Parquet file that can be read: {error}") from None


def read_rows(
    file: Path, schema: Dialect, names: list[str], *, allow_ragged: bool = False
) -> Iterator[RawRows]:
    """Yield the columns `names` of a CSV or Parquet file, some rows at a time.

    Args:
        allow_ragged: Whether a row of a CSV may have more or fewer cells than its header.

    Raises:
        UserError: The file is broken; of a CSV the message names lines.
    """
    if not is_parquet(file):
        yield from csv.read_csv(file, schema, names, allow_ragged=allow_ragged)
        return
    first = 0
    with pq.ParquetFile(file) as parquet:
        try:
            for batch in parquet.iter_batches(csv.ROWS_PER_BATCH, columns=names):
                yield RawRows(file, first, pa.Table.from_batches([batch]).select(names), {})
                first += len(batch)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{file}: cannot be read: {error}") from None


def parquet_rows(file: Path) -> int:
    """How many rows a Parquet file has, from its footer."""
    return pq.read_metadata(file).num_rows


def row_locator(files: list[Path], dialect: Dialect, name: str = "") -> Callable[[int], str]:
    """Return a function that says where a row, counted from 0 over all files, stands.

    That is the line of a CSV in which it begins, or the row of a Parquet file. The rows that the
    function is asked for must not descend.

    Args:
        files: CSV files that have been read, or Parquet files.
        name: Name of the only file in messages, if it is another one.
    """

    def places() -> Iterator[tuple[str, int]]:
        for file in files:
            if is_parquet(file):
                yield from ((f"{name or file}: row", row) for row in range(parquet_rows(file)))
                continue
            try:
                yield from (
                    (f"{name or file}: line", line) for line in csv.row_lines(file, dialect)
                )
            except csv.CSV_ERRORS:
                raise UserError(csv.malformed_lines(file, dialect)) from None

    numbered = enumerate(places())
    number, place = -1, ("", 0)

    def locate(row: int) -> str:
        nonlocal number, place
        while number < row:
            number, place = next(numbered, (row, place))
        return "{} {}".format(*place)

    return locate


def locate_rows(files: list[Path], dialect: Dialect, rows: Iterable[int]) -> dict[int, str]:
    """Return where each of `rows` stands, see `row_locator`."""
    locate = row_locator(files, dialect)
    return {row: locate(row) for row in sorted(set(rows))}
