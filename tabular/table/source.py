"""The files of a table, CSV or Parquet: as texts, as values, and what a message calls a row."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabular.config.schema import Column, Schema
from tabular.core.errors import UserError, listed, truncate
from tabular.table import csv, csv_lines
from tabular.table.cells import as_texts, is_written, kinds_of
from tabular.table.parquet import FILE_SUBSET, FOLD_KEY

ROWS = 32_768  # of a Parquet file at a time
NO_CELLS = "which no kind of column holds"
LONG_ROW_GROUP = 2  # times a piece, from which on it is not read again for each piece of it


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
            csv_lines.open_bytes(file).close()
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
    """By its name: what else is in such a file is refused when it is read."""
    return file.suffix == ".parquet"


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
    names = csv.read_header(file, schema) if types is None else types.names
    counts, known = Counter(names), {*schema.columns, *schema.ignore}
    allowed = known | {FOLD_KEY, FILE_SUBSET} if types is not None else known  # of split too
    problems = {
        "missing": [name for name in needed if name not in counts],
        "neither in columns nor in ignore": [n for n in counts if n not in allowed and not extra],
        "more than once": sorted(n for n in {*needed, *optional} if counts[n] > 1),
    }
    if wrong := "; ".join(f"{what}: {listed(n)}" for what, n in problems.items() if n):
        if types is not None:
            raise UserError(f"{file}: the columns are not as declared. {wrong}")
        hint = csv_lines.header_hint(names, schema)
        raise UserError(f"{file}: line 1: the header is not as declared. {wrong}{hint}")
    names = [name for name in names if name in known]
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
            found = truncate(str(field.type))
            can = f"it can be {listed(kinds)}" if kinds else f"{NO_CELLS}; leave it out of columns"
            raise UserError(
                f"{file}: column {field.name}: found {found}, declared {declared.kind}; {can}, "
                "in data/schema.yaml"
            )
        if field.name in names and kinds:
            readable.append(field.name)
    return readable


def unreadable(file: Path) -> dict[str, str]:
    """The columns of a Parquet file that can be of no kind, with what they hold; of a CSV none."""
    types = parquet_schema(file) if is_parquet(file) else ()
    return {
        of.name: f"{truncate(str(of.type))}, {NO_CELLS}" for of in types if not kinds_of(of.type)
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


class Piece(NamedTuple):
    """Some rows of a file, which can be read by themselves.

    `first` is the number of the first one in the file; `cut` is where they are in a CSV; `values`
    are they themselves, of Parquet whose row groups are much longer than a piece.
    """

    file: Path
    header: list[str]
    first: int
    rows: int
    cut: csv.Chunk | None = None
    values: pa.Table | None = None


def pieces(
    file: Path,
    schema: Schema,
    names: list[str],
    size: int,
    first: int | None = None,
    *,
    ragged: bool = False,
) -> Iterator[Piece]:
    """The rows of a file, plain or gzip CSV or Parquet, in pieces of `size` rows.

    Args:
        names: of the columns to be read.
        first: rows of the first piece, if others.
        ragged: whether rows of a CSV may have more or fewer cells than its header.

    Raises:
        UserError: the file is broken; of a CSV the message names lines.
    """
    first, start = first or size, 0
    if not is_parquet(file):
        header = csv.read_header(file, schema)
        for cut in csv.chunks(file, schema, names, first, size, ragged=ragged):
            yield Piece(file, header, start, cut.rows, cut)
            start += cut.rows
        return
    with pq.ParquetFile(file) as parquet:
        rows, groups = parquet.metadata.num_rows, parquet.num_row_groups
        if rows <= LONG_ROW_GROUP * size * groups:
            while start < rows:
                yield Piece(file, [], start, min(first, rows - start))
                start, first = start + first, size
            return
        values: list[pa.RecordBatch] = []
        for batch in _batches(parquet, file, names):
            values.append(batch)
            while (held := sum(map(len, values))) >= first or (held and start + held == rows):
                table = pa.Table.from_batches(values)
                yield Piece(file, [], start, len(table[:first]), values=table[:first])
                start, values = start + len(table[:first]), table[first:].to_batches()
                first = size


def _batches(
    parquet: pq.ParquetFile, file: Path | str, names: list[str], groups: list[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, or of some of its row groups, some at a time.

    Raises:
        UserError: it cannot be read.
    """
    try:
        yield from parquet.iter_batches(ROWS, row_groups=groups, columns=names)
    except (pa.ArrowException, OSError) as error:
        for name in names if len(names) > 1 else ():  # to say which
            deque(_batches(parquet, f"{file}: column {name}", [name], groups), maxlen=0)
        raise UserError(f"{file}: cannot be read: {error}") from None


def texts(piece: Piece, schema: Schema, names: list[str]) -> Iterator[pa.Table]:
    """The columns `names` of a piece, some rows at a time, each cell the text that a CSV holds.

    Raises:
        UserError: the file is broken; of a CSV the message names lines.
    """
    if piece.cut is None:
        yield from parquet_texts(piece, names, schema.columns)
    elif isinstance(piece.cut.content, pa.Table):
        for batch in piece.cut.content.select(names).to_batches():
            yield pa.Table.from_batches([batch])
    else:
        types = dict.fromkeys(names, pa.string())
        yield from csv.read(piece.file, schema, piece.header, piece.cut, lambda _: types)


def parquet_texts(
    piece: Piece, names: list[str], columns: Mapping[str, Column]
) -> Iterator[pa.Table]:
    """See `texts`, of a Parquet file; `columns` are those whose kind is known.

    Raises:
        UserError: it cannot be read.
    """

    def texts_of(batch: pa.RecordBatch) -> pa.Table:
        found = {}
        for name in names:
            kind = columns[name].kind if name in columns else None
            try:
                found[name] = as_texts(batch[name], kind)
            except pa.ArrowInvalid as error:
                raise UserError(
                    f"{piece.file}: column {name}: found {batch[name].type} which is no text: "
                    f"{error}; write it in UTF-8, or leave it out of columns in data/schema.yaml"
                ) from None
        return pa.table(found)

    if piece.values is not None:
        yield from map(texts_of, piece.values.to_batches())
        return
    with pq.ParquetFile(piece.file) as parquet:
        groups = range(parquet.num_row_groups)
        ends = np.cumsum([0, *(parquet.metadata.row_group(n).num_rows for n in groups)])
        end = piece.first + piece.rows
        used = [n for n in groups if ends[n] < end and ends[n + 1] > piece.first]
        row = int(ends[used[0]]) if used else 0
        for batch in _batches(parquet, piece.file, names, used):
            some = batch[max(piece.first - row, 0) : max(end - row, 0)]
            row += len(batch)
            if len(some):
                yield texts_of(some)
            if row >= end:
                return


def parquet_rows(file: Path) -> int:
    """How many rows a Parquet file has, from its footer."""
    return pq.read_metadata(file).num_rows


def schema_for_file(file: Path, schema: Schema) -> Schema:
    """The schema for one file: numbers and dates of a Parquet file are in no format of texts."""
    if not is_parquet(file):
        return schema
    found = {field.name: field.type for field in parquet_schema(file)}
    plain = {
        name: column.model_copy(update={"format": None})
        for name, column in schema.columns.items()
        if name in found and not is_written(found[name], column.kind)
    }
    return schema.model_copy(update={"columns": schema.columns | plain})


def row_locator(files: list[Path], schema: Schema, name: str = "") -> Callable[[int], str]:
    """What says where a row (counted from 0 over all files) stands; ask in ascending order.

    Of a CSV the line in which it begins, of a Parquet file the row in it. It may raise `UserError`,
    see `csv.row_lines`.

    Args:
        files: that have been read.
        name: of the only file, for messages.
    """

    def places() -> Iterator[tuple[str, np.ndarray]]:
        for file in files:
            if is_parquet(file):
                yield f"{name or file}: row", np.arange(parquet_rows(file))
            else:
                for lines in csv.row_lines(file, schema):
                    yield f"{name or file}: line", lines

    following, first = places(), 0
    where, numbers = "", np.empty(0, np.int64)

    def name_of(row: int) -> str:
        nonlocal first, where, numbers
        while row >= first + len(numbers):
            first += len(numbers)
            where, numbers = next(following)
        return f"{where} {numbers[row - first]}"

    return name_of


def locate_rows(files: list[Path], schema: Schema, rows: Iterable[int]) -> dict[int, str]:
    """Where each of `rows` stands, see `row_locator`."""
    name_of = row_locator(files, schema)
    return {row: name_of(row) for row in sorted(set(rows))}
