"""Sheets of Excel and OpenDocument files, whose cells become the texts of a CSV."""

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, time, timedelta
from functools import reduce
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from keras_tabular.core.errors import UserError, format_list
from keras_tabular.table.cells import Number

SUFFIXES = {".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"}
MAX_SHEET_ROWS = 2**20  # of Excel
MAX_SHEET_CELLS = 2**26  # in 2 GB of memory
BLOCK_BYTES = 2**20
OVERLAP_BYTES = 2**8
# The column and the row of a cell with a value, in the XML of a sheet.
CELL = re.compile(rb"""[<:]c\s[^>]*?\br=["']([A-Z]+)(\d{1,9})["'][^>]*(?<!/)>""")
# Errors of a damaged file.
DAMAGES = (OSError, BadZipFile, zlib.error, EOFError, RuntimeError)


def is_excel(file: Path) -> bool:
    """Return whether a file is a spreadsheet, by its name."""
    return file.suffix.lower() in SUFFIXES


def list_sheets(file: Path) -> list[str]:
    """Return the names of the visible sheets that are not empty.

    Those with one row or one column, such as a cover, come last.

    Raises:
        UserError: The file cannot be read.
    """
    with _open(file) as workbook:
        return [sheet.name for sheet in _visible_sheets(workbook)]


def read_sheet(file: Path, name: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a sheet that are not empty, each with its number, from 1.

    A formula is its stored value, a percentage is the stored fraction, and an error
    such as #N/A is an empty cell.

    Args:
        name: Name of the sheet; None for the first one of `list_sheets`.

    Raises:
        UserError: The file cannot be read, or it does not have the sheet.
    """
    with _open(file) as workbook:
        if name is None:
            sheets = _visible_sheets(workbook)[:1]
        elif name in workbook.sheet_names:
            sheets = [workbook.get_sheet_by_name(name)]
        else:
            raise UserError(
                f"{file}: expected a sheet {name!r} (sheet in data/schema.yaml), got"
                f" {format_list(workbook.sheet_names)}",
            )
        for sheet in sheets:
            for number, values in enumerate(sheet.iter_rows(), start=1):
                cells = [_as_text(value) for value in values]
                if any(cells):
                    yield number, cells


def _visible_sheets(workbook: Any) -> list[Any]:
    """Return the sheets of `list_sheets`."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    sheets = []
    for metadata in workbook.sheets_metadata:
        is_sheet = metadata.typ == SheetTypeEnum.WorkSheet
        if is_sheet and metadata.visible == SheetVisibleEnum.Visible:
            sheets.append(workbook.get_sheet_by_name(metadata.name))
    sheets.sort(key=lambda sheet: min(sheet.height, sheet.width) < 2)
    return [sheet for sheet in sheets if sheet.height]


@contextmanager
def _open(file: Path) -> Iterator[Any]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        if is_zipfile(file):
            _check_sheets(file)
        with file.open("rb") as content:
            yield CalamineWorkbook.from_filelike(content)
    except (CalamineError, *DAMAGES) as error:
        raise UserError(f"{file}: cannot be read as a spreadsheet: {error}") from None


def _check_sheets(file: Path) -> None:
    """Raise `UserError` if a sheet of an Excel file is too large.

    The reader would allocate all cells up to the last row and the last column.
    """
    with ZipFile(file) as archive:
        for name in archive.namelist():
            columns = {b"A"}
            height = 0
            end = b""  # of the block before, perhaps with a part of a cell
            with archive.open(name) as xml:
                while block := xml.read(BLOCK_BYTES):
                    cells = CELL.findall(end + block)
                    end = block[-OVERLAP_BYTES:]
                    height = max([height, *(int(row) for _, row in cells)])
                    columns.update(column for column, _ in cells)
            last = max(columns, key=lambda letters: (len(letters), letters))
            width = reduce(lambda number, letter: 26 * number + letter - 64, last, 0)
            if height > MAX_SHEET_ROWS or height * width > MAX_SHEET_CELLS:
                raise UserError(
                    f"{file}: {name} reaches cell {last.decode()}{height}. Expected at"
                    f" most {MAX_SHEET_ROWS:,} rows and {MAX_SHEET_CELLS:,} cells,"
                    " including empty ones. Delete what is far from the table.",
                )


def _as_text(value: str | bool | float | date | time | timedelta) -> str:
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() | float():
            return Number(int(value) if value == int(value) else value)
        case timedelta():
            minutes, seconds = divmod(round(value.total_seconds()), 60)
            return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
        case _:
            return value.isoformat()
