"""The files of a table (CSV, JSON lines, Parquet): their names, columns and rows."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.config.schema import Dialect, Schema
from keras_tabular.core.errors import UserError, format_list, truncate
from keras_tabular.table import csv, json_lines
from keras_tabular.table.cells import possible_kinds
from keras_tabular.table.csv import RawRows
from keras_tabular.table.parquet import FILE_SUBSET, FOLD_KEY

JSON_SUFFIXES = {".jsonl", ".ndjson"}
NO_CELLS = "which no kind of column holds"


def source_files(source: str, needed: Iterable[str] = ()) -> list[Path]:
    """Return the file that `source` of the schema names, or the files in that folder, sorted.

    Hidden files and those of `dvc add` are left out.

    Args:
        needed: Names of files that have to be there, together with others.

    Raises:
        UserError: There is none, or it cannot be opened.
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
            f"{path}: found {format_list(names)}; test_files in data/schema.yaml needs "
            f"{format_list(absent) if absent else 'another file, to train with'}"
        )
    return files


def is_parquet(file: Path) -> bool:
    """Return whether a file is Parquet, by its name."""
    return file.suffix == ".parquet"


def is_json(file: Path) -> bool:
    """Return whether a file is JSON lines, by its name."""
    return bool(JSON_SUFFIXES & set(file.suffixes[-2:]))


def is_csv(file: Path) -> bool:
    """Return whether a file is a CSV: by its name it is nothing else."""
    return not is_parquet(file) and not is_json(file)


def column_types(file: Path, dialect: Dialect) -> pa.Schema:
    """Return the names of all columns of a file and their types; cells of a CSV are text.

    Raises:
        UserError: It cannot be read.
    """
    if not is_parquet(file):
        names = json_lines.read_names(file) if is_json(file) else csv.read_header(file, dialect)
        return pa.schema([(name, pa.string()) for name in names])
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: not a Parquet file that can be read: {error}") from None


def column_names(
    file: Path,
    schema: Schema,
    needed: Iterable[str],
    optional: Iterable[str] = (),
    *,
    extra: bool = False,
) -> list[str]:
    """Return the declared names among the file's columns, without those that no kind can hold.

    Args:
        needed: Names that have to be there once.
        optional: Names that may be there once.
        extra: Whether other columns may be there.

    Raises:
        UserError: The columns are others, one has a type that it cannot have, or the file cannot
            be read.
    """
    types = column_types(file, schema)
    counts, declared_names = Counter(types.names), {*schema.columns, *schema.ignore}
    allowed = {*declared_names, FOLD_KEY, FILE_SUBSET}
    problems = {
        "missing": [name for name in needed if name not in counts],
        "neither in columns nor in ignore": [n for n in counts if n not in allowed and not extra],
        "more than once": sorted(n for n in {*needed, *optional} if counts[n] > 1),
    }
    if wrong := "; ".join(f"{what}: {format_list(n)}" for what, n in problems.items() if n):
        where, hint = f"{file}: the columns are", ""
        if is_csv(file):
            where, hint = f"{file}: line 1: the header is", csv.header_hint(types.names, schema)
        raise UserError(f"{where} not as declared. {wrong}{hint}")
    for field in types:
        column, kinds = schema.columns.get(field.name), possible_kinds(field.type)
        if column and column.kind not in kinds:
            can = (
                f"it can be {format_list(kinds)}"
                if kinds
                else f"{NO_CELLS}; leave it out of columns"
            )
            raise UserError(
                f"{file}: column {field.name}: found {truncate(str(field.type))}, declared "
                f"{column.kind}; {can}, in data/schema.yaml"
            )
    return [
        field.name for field in types if field.name in declared_names and possible_kinds(field.type)
    ]


def unreadable(types: pa.Schema) -> dict[str, str]:
    """Return the columns that no kind can hold, and a note on their type."""
    return {
        field.name: f"{truncate(str(field.type))}, {NO_CELLS}"
        for field in types
        if not possible_kinds(field.type)
    }


def read_rows(
    file: Path, schema: Dialect, names: list[str], *, allow_ragged: bool = False
) -> Iterator[RawRows]:
    """Yield the columns `names` of a file, some rows at a time.

    Args:
        allow_ragged: Whether a row of a CSV may have more or fewer cells than its header.

    Raises:
        UserError: The file is broken; of a CSV the message names lines.
    """
    if is_csv(file):
        yield from csv.read_csv(file, schema, names, allow_ragged=allow_ragged)
        return
    if is_json(file):
        yield from json_lines.read_json_lines(file, names)
        return
    first = 0
    with pq.ParquetFile(file) as parquet:
        try:
            for batch in parquet.iter_batches(csv.ROWS_PER_BATCH, columns=names):
                yield RawRows(file, first, pa.Table.from_batches([batch]).select(names), {})
                first += len(batch)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{file}: cannot be read: {error}") from None


def row_locator(files: list[Path], dialect: Dialect, name: str = "") -> Callable[[int], str]:
    """Return a function that says where a row, counted from 0 over all files, stands.

    That is the line in which it begins, or the row of a Parquet file.

    Args:
        files: Files that have been read without an error.
        name: Name of the only file in messages, if it is another one.
    """
    starts, places = [0], list[Sequence[int]]()

    def locate(row: int) -> str:
        while row >= starts[-1]:
            file = files[len(places)]
            if is_parquet(file):
                places.append(range(pq.read_metadata(file).num_rows))
            elif is_json(file):
                places.append([line for line, _ in json_lines.read_objects(file)])
            else:
                places.append(csv.row_lines(file, dialect))
            starts.append(starts[-1] + len(places[-1]))
        number = bisect_right(starts, row) - 1
        unit = "row" if is_parquet(files[number]) else "line"
        return f"{name or files[number]}: {unit} {places[number][row - starts[number]]}"

    return locate
