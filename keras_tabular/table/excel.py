"""Sheets of Excel and OpenDocument files, whose cells become the texts of a CSV."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

from keras_tabular.core.errors import UserError, format_list
from keras_tabular.table.cells import Number

SUFFIXES = {".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"}


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
        with file.open("rb") as content:
            yield CalamineWorkbook.from_filelike(content)
    except (CalamineError, OSError) as error:
        raise UserError(f"{file}: cannot be read as a spreadsheet: {error}") from None


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
