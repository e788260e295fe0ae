"""Write small Excel files with the parts that readers need."""

from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape
from zipfile import ZipFile

RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
STYLES = {"number": 0, "date": 14, "percent": 10}  # the formats of Excel
EPOCH = datetime(1899, 12, 30)


def write_cell(place: str, value: str | float | datetime, style: str) -> str:
    """Return the XML of a cell; a date is a number of days with a style."""
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>' if value else ""
    if isinstance(value, datetime):
        value, style = (value - EPOCH).days, "date"
    formula = f"<f>{value}*1</f>" if style == "formula" else ""
    number = [*STYLES].index(style) if style in STYLES else 0
    return f'<c r="{place}" s="{number}">{formula}<v>{value}</v></c>'


def write_workbook(
    rows: list[list[Any]], *, styles: Mapping[int, str] = {}, title: bool = False, notes: str = ""
) -> bytes:
    """Write rows as a sheet of an Excel file.

    Args:
        styles: The style of the numbers of some columns: `percent` or `formula`.
        title: Whether the first cells of the first row are merged.
        notes: Where a sheet with a note is: `before` or `after`; empty if there is none.
    """
    table = []
    for number, row in enumerate(rows, 1):
        cells = [
            write_cell(f"{chr(65 + column)}{number}", value, styles.get(column, "number"))
            for column, value in enumerate(row)
        ]
        table.append(f'<row r="{number}">{"".join(cells)}</row>')
    note = f'<row r="1">{write_cell("A1", "Read me", "number")}</row>'
    sheets = ["".join(table)]
    sheets = [note] * (notes == "before") + sheets + [note] * (notes == "after")
    merged = '<mergeCells count="1"><mergeCell ref="A1:D1"/></mergeCells>' if title else ""
    xfs = "".join(f'<xf numFmtId="{n}" applyNumberFormat="1"/>' for n in STYLES.values())
    names = links = ""
    files = {"xl/styles.xml": f"<styleSheet {MAIN}><cellXfs>{xfs}</cellXfs></styleSheet>"}
    for n, content in enumerate(sheets, 1):
        names += f'<sheet name="Sheet{n}" sheetId="{n}" r:id="r{n}"/>'
        links += (
            f'<Relationship Id="r{n}" Type="{RELATIONS}/worksheet" Target="worksheets/{n}.xml"/>'
        )
        data = f"<sheetData>{content}</sheetData>{merged}"
        files[f"xl/worksheets/{n}.xml"] = f"<worksheet {MAIN}>{data}</worksheet>"
    sheet_list = f"<sheets>{names}</sheets>"
    files["xl/workbook.xml"] = f'<workbook {MAIN} xmlns:r="{RELATIONS}">{sheet_list}</workbook>'
    files["xl/_rels/workbook.xml.rels"] = f"<Relationships>{links}</Relationships>"
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, xml in files.items():
            archive.writestr(name, xml)
    return buffer.getvalue()
