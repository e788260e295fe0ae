"""Rows to predict: read as texts from a CSV, stdin or Parquet, then typed and checked."""

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

from stages.lib import source
from stages.lib.checks import as_frame, checks_of, failed_cells, pandera_schema
from stages.lib.params import Data, Validate
from stages.lib.stage import UserError
from stages.lib.table import ARROW_TYPES, in_parts

ROWS = 32_768  # at a time
GZIP = b"\x1f\x8b"  # how such a file begins


class Failure(NamedTuple):
    """A cell that fails a check: its row counted from the first of the batch, and why."""

    row: int
    column: str
    check: str
    found: str
    expected: str
    policy: str = "error"


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


def column_names(file: Path, data: Data) -> list[str]:
    """The names of the file's columns: those that the model reads, perhaps target and identifiers.

    Raises:
        UserError: they are not as declared, or the file cannot be read.
    """
    optional = (data.target, *data.ignore)
    if file.suffix != ".parquet":
        return source.check_header(file, data, data.features, optional)
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file}: not a Parquet file that can be read: {error}") from None
    if found := source.misfits(schema.names, data, data.features, optional):
        raise UserError(f"{file}: the columns are not as declared. {found}")
    for name, kind in zip(schema.names, schema.types, strict=True):
        if pa.types.is_nested(kind):
            raise UserError(f"{file}: column {name}: found {kind}; expected numbers or texts")
    return list(schema.names)


def row_places(file: Path, data: Data) -> Callable[[int], str]:
    """What names the place of a row (counted from 0) in the file; to be asked in ascending order.

    Of a CSV the line in which it begins, of a Parquet file the row itself.
    """
    if file.suffix == ".parquet":
        return lambda row: f"row {row}"
    lines = enumerate(source.first_lines(file, data))
    reached, line = -1, 0

    def place(row: int) -> str:
        nonlocal reached, line
        while reached < row:
            reached, line = next(lines)
        return f"line {line}"

    return place


def checked_rows(file: Path, data: Data, names: list[str], policies: Validate) -> Iterator[Batch]:
    """The rows of the columns `names`, checked one by one for kind, missing, range and values.

    Raises:
        UserError: the file is broken; the message names lines.
    """
    read = read_parquet if file.suffix == ".parquet" else source.read_texts
    tables = read(file, data, names)
    schema = pandera_schema(data.features)
    checks = checks_of(data, policies)
    for texts in in_parts(tables, pa.schema([(name, pa.string()) for name in names]), ROWS):
        features, failures = typed(texts, data)
        known = {(failure.row, failure.column) for failure in failures}
        cells = failed_cells(as_frame(features, data.features), schema)
        for column, name, row in cells[["column", "check", "index"]].itertuples(index=False):
            if (row, column) not in known:
                check = checks[column, name]
                found = texts[column][int(row)].as_py()
                failures.append(
                    Failure(int(row), column, name, found, check.expected, check.policy)
                )
        yield Batch(texts, features, sorted(failures, key=lambda failure: failure.row))


def read_parquet(file: Path, _: Data, names: list[str]) -> Iterator[pa.Table]:
    """The columns `names`, each cell the text that a CSV would hold; NaN is an empty cell."""
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(ROWS, columns=names):
                yield pa.table({name: as_texts(batch[name]) for name in names})
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None


def as_texts(values: pa.Array) -> pa.Array:
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    return pc.fill_null(values.cast(pa.string()), "")


def typed(texts: pa.Table, data: Data) -> tuple[pa.Table, list[Failure]]:
    """The columns that the model reads, typed as by ingest; null for a cell of another kind."""
    missing = pa.array(source.missing_texts(data), pa.string())
    columns = {}
    failures = []
    for name, column in data.features.items():
        cells = texts[name].combine_chunks()
        empty = pc.equal(cells, "")
        if column.kind != "category":
            empty = pc.or_(empty, pc.is_in(cells, missing))
        columns[name] = parsed(pc.if_else(empty, None, cells), column.kind)
        wrong = pc.and_not(pc.is_null(columns[name]), empty)
        failures += [
            Failure(row, name, "kind", cells[row].as_py(), source.EXPECTED[column.kind])
            for row in pc.indices_nonzero(wrong).to_pylist()
        ]
    return pa.table(columns), failures


def parsed(cells: pa.Array, kind: str) -> pa.Array:
    """Texts as values of a column's kind, as ingest reads them; null where they are none."""
    if kind == "category":
        short = pc.less_equal(pc.binary_length(cells), source.MAX_CELL)
        return pc.if_else(pc.and_not(short, pc.match_substring(cells, "\0")), cells, None)
    if kind == "boolean":
        known = pc.is_in(cells, pa.array(sorted(source.BOOLEANS)))
        return pc.if_else(known, cells, None).cast(pa.bool_())
    values = castable(pc.ascii_trim(cells, " \t"), ARROW_TYPES[kind])
    return pc.if_else(pc.is_finite(values), values, None)


def castable(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """`texts` cast to `kind`, null where that fails: halved until the texts at fault are found."""
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return pa.nulls(1, kind)
        numbers = pc.match_substring_regex(texts, f"^(?:{source.NUMBER.pattern})$")
        if pc.any(pc.invert(numbers)).as_py():  # nearly all of those at fault, and fast
            return castable(pc.if_else(numbers, texts, None), kind)
        half = len(texts) // 2
        return pa.concat_arrays([castable(texts[:half], kind), castable(texts[half:], kind)])
