"""Write small Excel files with the parts that readers need."""

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape
from zipfile import ZipFile

RELATION = '<Relationship Id="r{}" Type="{}/{}" Target="{}"/>'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
NUMBER, DATE, DATETIME, PERCENT, DURATION = range(5)  # styles of cells
FORMATS = (0, 14, 22, 10, 46)
STYLES = "".join(
    f'<xf numFmtId="{number}" applyNumberFormat="1"/>' for number in FORMATS
)


def format_cell(
    value: Any,
    style: int = NUMBER,
    cell_type: str = "n",
    formula: str = "",
) -> str:
    """Return the XML of a number or a date, perhaps of a formula."""
    return f'<c s="{style}" t="{cell_type}">{formula}<v>{value}</v></c>'


def write_workbook(file: Path, **sheets: list[list[Any]]) -> Path:
    """Write an Excel file with these sheets of texts, numbers, and cells in XML."""

    def cell(value: Any) -> str:
        if not isinstance(value, str):
            return format_cell(value)
        if not value or value.startswith("<c "):
            return value or "<c/>"
        return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'

    elements = ""
    links = RELATION.format(0, RELATIONS, "styles", "styles.xml")
    files = {
        "xl/styles.xml": f"<styleSheet {MAIN}><cellXfs>{STYLES}</cellXfs></styleSheet>",
    }
    for n, (name, rows) in enumerate(sheets.items(), 1):
        elements += f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>'
        links += RELATION.format(n, RELATIONS, "worksheet", f"worksheets/{n}.xml")
        lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
        data = f"<sheetData>{lines}</sheetData>"
        files[f"xl/worksheets/{n}.xml"] = f"<worksheet {MAIN}>{data}</worksheet>"
    tables = f"<sheets>{elements}</sheets>"
    files["xl/workbook.xml"] = (
        f'<workbook {MAIN} xmlns:r="{RELATIONS}">{tables}</workbook>'
    )
    links_of_book = RELATION.format(1, RELATIONS, "officeDocument", "xl/workbook.xml")
    for name, text in {
        "xl/_rels/workbook.xml.rels": links,
        "_rels/.rels": links_of_book,
    }.items():
        files[name] = f"<Relationships>{text}</Relationships>"
    with ZipFile(file, "w") as archive:
        for name, xml in files.items():
            archive.writestr(name, xml)
    return file
