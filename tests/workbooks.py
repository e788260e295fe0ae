"""Write small Excel files with the parts that readers need."""

from datetime import datetime
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape
from zipfile import ZipFile

RELATION = '<Relationship Id="r{}" Type="{}/{}" Target="{}"/>'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
NUMBER, DATE, PERCENT = range(3)  # styles of cells
STYLES = "".join(f'<xf numFmtId="{number}" applyNumberFormat="1"/>' for number in (0, 14, 10))


def write_workbook(
    *sheets: list[list[Any]], style: int = NUMBER, formula: str = "", merged: str = ""
) -> bytes:
    """Write an Excel file.

    Args:
        sheets: The rows of each sheet, with texts, dates and numbers.
        style: The style of the numbers.
        formula: The formula whose stored values the numbers are.
        merged: The merged cells, such as A1:D1.
    """

    def cell(value: str | float | datetime) -> str:
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>' if value else "<c/>"
        if isinstance(value, datetime):
            return f'<c s="{DATE}"><v>{(value - datetime(1899, 12, 30)).days}</v></c>'
        return f'<c s="{style}">{formula}<v>{value}</v></c>'

    names = links = ""
    files = {"xl/styles.xml": f"<styleSheet {MAIN}><cellXfs>{STYLES}</cellXfs></styleSheet>"}
    merge = f'<mergeCells><mergeCell ref="{merged}"/></mergeCells>' if merged else ""
    for n, rows in enumerate(sheets, 1):
        names += f'<sheet name="Sheet{n}" sheetId="{n}" r:id="r{n}"/>'
        links += (
            f'<Relationship Id="r{n}" Type="{RELATIONS}/worksheet" Target="worksheets/{n}.xml"/>'
        )
        lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
        data = f"<sheetData>{lines}</sheetData>{merge}"
        files[f"xl/worksheets/{n}.xml"] = f"<worksheet {MAIN}>{data}</worksheet>"
    tables = f"<sheets>{names}</sheets>"
    files["xl/workbook.xml"] = f'<workbook {MAIN} xmlns:r="{RELATIONS}">{tables}</workbook>'
    files["xl/_rels/workbook.xml.rels"] = f"<Relationships>{links}</Relationships>"
    link = RELATION.format(1, RELATIONS, "officeDocument", "xl/workbook.xml")
    files["_rels/.rels"] = f"<Relationships>{link}</Relationships>"
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, xml in files.items():
            archive.writestr(name, xml)
    return buffer.getvalue()
