"""The CSV files: read as a stream of typed batches, and explained line by line when wrong."""

import csv
import glob
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from stages.lib.params import Column, Data
from stages.lib.stage import UserError
from stages.lib.table import arrow_schema

BLOCK_BYTES = 2 * 2**20  # of which Arrow reads 32 ahead
MAX_CELL = 2**18  # characters; a longer cell is a quote that never closes, or no table
MISTAKES_SHOWN = 5
BROKEN = (csv.Error, UnicodeDecodeError, OSError, EOFError, zlib.error)  # what `records` raises

NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
WHOLE_NUMBER = re.compile(r"\s*-?\d+\s*")
BOOLEANS = {"0", "1", "true", "false", "True", "False", "TRUE", "FALSE"}
EXPECTED = {
    "real": "a number",
    "integer": "a whole number of at most 64 bits",
    "boolean": "true, false, 1 or 0",
    "category": "text without NUL bytes",
}


def source_files(pattern: str, folder: Path) -> list[Path]:
    """The files that `data.source` names, sorted.

    Raises:
        UserError: there is none, it is a folder, or it lies outside `folder`.
    """
    names = sorted(glob.glob(pattern))  # noqa: PTH207 - the pattern may be absolute
    files = [Path(name) for name in names] or [Path(pattern)]
    for file in files:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"data.source in params.yaml: found {pattern!r}; expected a file in {folder}, the "
                "folder that dvc.yaml declares"
            )
        try:
            file.open("rb").close()
        except IsADirectoryError:
            raise UserError(
                f"{file}: found a folder; name its files, for example {file}/*.csv"
            ) from None
        except OSError as error:
            raise UserError(f"{file}: {error.strerror} (data.source in params.yaml)") from None
    return files


def read_csv(file: Path, data: Data) -> Iterator[pa.Table]:
    """The file's rows as tables of the declared columns, in declared order; memory stays bounded.

    A plain or gzip file. An empty cell is missing, and so is a text among the `missing_values` of
    a column that is not a category (Arrow knows them for all such columns at once).

    Raises:
        UserError: the file cannot be read as declared; the message names lines and columns.
    """
    check_header(file, data, data.columns)
    schema = arrow_schema(data)
    converted = pa_csv.ConvertOptions(
        column_types=schema,
        include_columns=schema.names,
        null_values=["", *missing_texts(data)],
    )
    with _explained(file, data, data.columns), _open_csv(file, data, converted) as reader:
        for batch in reader:
            yield pa.table([_checked(values) for values in batch.columns], schema=schema)


def read_texts(file: Path, data: Data, names: list[str]) -> Iterator[pa.Table]:
    """The file's rows as tables of the columns `names`, each cell the text that it is.

    Raises:
        UserError: the file is broken as CSV; the message names lines.
    """
    texts = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), include_columns=names
    )
    with _explained(file, data, {}), _open_csv(file, data, texts) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _open_csv(file: Path, data: Data, converted: pa_csv.ConvertOptions) -> Any:
    return pa_csv.open_csv(
        pa.input_stream(file),
        pa_csv.ReadOptions(block_size=BLOCK_BYTES, encoding=data.encoding),
        pa_csv.ParseOptions(delimiter=data.delimiter, newlines_in_values=True),
        converted,
    )


@contextmanager
def _explained(file: Path, data: Data, columns: Mapping[str, Column]) -> Iterator[None]:
    """Arrow's errors in our words; those of cells are looked for in `columns`."""
    try:
        yield
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise UserError(explain(file, data, columns) or f"{file}: {error}") from None


def missing_texts(data: Data) -> list[str]:
    """The texts that mean missing in every column that is not a category, sorted."""
    return sorted(
        {
            value
            for column in data.columns.values()
            if column.kind != "category"
            for value in column.missing_values
            if isinstance(value, str)
        }
    )


def _checked(values: pa.Array) -> pa.Array:
    """`values` with empty texts as missing; infinite numbers and NUL characters are refused."""
    if pa.types.is_floating(values.type) and pc.all(pc.is_finite(values)).as_py() is False:
        raise pa.ArrowInvalid("a number is not finite")
    if pa.types.is_string(values.type):
        if pc.any(pc.match_substring(values, "\0")).as_py():
            raise pa.ArrowInvalid("a text holds a NUL byte")
        if (pc.max(pc.binary_length(values)).as_py() or 0) > MAX_CELL:
            raise pa.ArrowInvalid("a text is too long")
        values = pc.if_else(pc.equal(values, ""), None, values)
    return values


def _open(file: Path) -> IO[bytes]:
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def records(file: Path, data: Data, *, strict: bool = True) -> Iterator[tuple[int, list[str]]]:
    """The records with the line in which each one begins, the header first; slow, for messages.

    Not `strict`, it reads what Arrow reads: a quote opens only at the start of a cell.

    Raises:
        BROKEN: the file cannot be read on.
    """
    csv.field_size_limit(MAX_CELL)
    with TextIOWrapper(_open(file), encoding=data.encoding, newline="") as text:
        reader = csv.reader(text, delimiter=data.delimiter, strict=strict)
        line = 1
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1


def first_lines(file: Path, data: Data) -> Iterator[int]:
    """The line in which each row begins, of a file that Arrow has read; the header has none."""
    lines = (line for line, _ in records(file, data, strict=False))
    return islice(lines, 1, None)


def line_numbers(files: list[Path], data: Data, rows: Iterable[int]) -> dict[int, str]:
    """File and line where each of `rows` (counted from 0 over all files) begins, in words."""
    wanted = sorted(set(rows), reverse=True)
    found: dict[int, str] = {}
    row = 0
    for file in files:
        for line in first_lines(file, data):
            if not wanted:
                return found
            if row == wanted[-1]:
                found[wanted.pop()] = f"{file}: line {line}"
            row += 1
    return found


def read_header(lines: Iterator[tuple[int, list[str]]]) -> list[str]:
    """The first of the `records`, without a byte order mark."""
    _, header = next(lines)
    header[0] = header[0].removeprefix("\ufeff")
    return header


def check_header(
    file: Path, data: Data, needed: Iterable[str], optional: Iterable[str] = ()
) -> list[str]:
    """The names in the file's first line, which are as `misfits` wants them.

    Raises:
        UserError: they are not, or there is no line that can be read.
    """
    try:
        header = read_header(records(file, data))
    except StopIteration:
        raise UserError(f"{file}: the file is empty; expected a header line") from None
    except LookupError:
        raise UserError(f"data.encoding: found {data.encoding!r}, which Python has not") from None
    except BROKEN as error:
        raise UserError(_broken(file, data, 1, error)) from None
    found = misfits(header, data, needed, optional)
    if not found:
        return header
    hint = ""
    if len(header) == 1 and len(data.columns) > 1:
        hint = f". The line holds no {data.delimiter!r}; is data.delimiter right?"
    elif not set(header) & set(data.columns):
        hint = ". It names no declared column; is the header missing?"
    raise UserError(f"{file}: line 1: the header is not as declared. {found}{hint}")


def misfits(
    names: list[str], data: Data, needed: Iterable[str], optional: Iterable[str] = ()
) -> str:
    """How the names of a file's columns differ from the declared ones, in words; empty if not.

    Each of `needed` has to be there once, each of `optional` at most once.
    """
    known, once = {*data.columns, *data.ignore}, {*needed, *optional}
    problems = {
        "missing": [name for name in needed if name not in names],
        "neither in data.columns nor in data.ignore": [n for n in names if n not in known],
        "more than once": sorted({n for n in names if names.count(n) > 1 and n in once}),
    }
    return "; ".join(f"{what}: {', '.join(n)}" for what, n in problems.items() if n)


def explain(file: Path, data: Data, columns: Mapping[str, Column]) -> str:
    """What is wrong with the first few bad lines, a line of text each; empty if nothing is.

    The cells of `columns` are checked, and the number of cells of every line.
    """
    mistakes: list[str] = []
    line = 1
    try:
        lines = records(file, data)
        header = read_header(lines)
        for line, cells in lines:
            if len(cells) != len(header):
                mistakes.append(
                    f"{file}: line {line}: found {len(cells)} cells; expected {len(header)}"
                )
            for name, cell in zip(header, cells, strict=False):
                column = columns.get(name)
                if column and not fits(cell, column):
                    mistakes.append(
                        f"{file}: line {line}, column {name}: found {cell!r}; "
                        f"expected {EXPECTED[column.kind]}"
                    )
            if len(mistakes) >= MISTAKES_SHOWN:
                return "\n".join([*mistakes[:MISTAKES_SHOWN], "There may be more."])
    except BROKEN as error:
        mistakes.append(_broken(file, data, line, error))
    return "\n".join(mistakes)


def _broken(file: Path, data: Data, line: int, error: Exception) -> str:
    """A file that cannot be read on after `line`, in words."""
    match error:
        case UnicodeDecodeError():
            with _open(file) as content:
                for number, text in enumerate(content, start=1):
                    try:
                        text.decode(data.encoding)
                    except UnicodeDecodeError as place:
                        byte = text[place.start]
                        return (
                            f"{file}: line {number}: found byte 0x{byte:02x}, which is not "
                            f"{data.encoding}; set data.encoding, for example to latin-1"
                        )
        case csv.Error() if "field larger" in str(error):
            return (
                f"{file}: after line {line}: found a cell of more than {MAX_CELL} characters; "
                "expected shorter ones. Does a quote never close?"
            )
        case csv.Error() if "unexpected end" in str(error):
            return f"{file}: after line {line}: found a quote that never closes"
        case EOFError() | zlib.error() | gzip.BadGzipFile():
            return f"{file}: after line {line}: the gzip file is cut off or broken; copy it again"
    return f"{file}: after line {line}: {error}"


def fits(cell: str, column: Column) -> bool:
    """Whether the text of a cell can be a value of the column, or means missing."""
    if cell == "" or cell in column.missing_values:
        return True
    match column.kind:
        case "real":
            return NUMBER.fullmatch(cell) is not None
        case "integer":
            return WHOLE_NUMBER.fullmatch(cell) is not None and -(2**63) <= int(cell) < 2**63
        case "boolean":
            return cell in BOOLEANS
    return "\0" not in cell
