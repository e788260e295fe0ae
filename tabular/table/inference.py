"""What the columns of a CSV file seem to hold, from a look at its first rows."""

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tabular.errors import UserError, listed
from tabular.schema import Column, Dialect
from tabular.table.cells import parse
from tabular.table.csv import BROKEN, broken, check_format, open_bytes, records
from tabular.typed_yaml import Value

MISSING = {"NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "none", "?", "-", "."}
SENTINELS = {-1, -9, -99, -999, -9999, 9999, 99999}
FEW, MIN_ROWS = 0.1, 3  # rows with a 0 for a missing value: the share at most, the number at least
# Texts that are another kind in most tables, and what makes them columns to learn from.
REMEDIES = {
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d{2}.*)?": "dates? write year, month and day "
    "as numbers, each in a column",
    r"[^\w\s]?-?\d[\d.,']*( ?[^\w\s]| ?[A-Za-z]{1,3})?": "numbers with signs or units? "
    "write them as plain numbers, such as 1234.5",
}
# What may stand before and after a number; letters alone would make numbers of codes such as p12.
AFFIXES = re.compile(
    r"([$€£¥₹] ?|[A-Z]{2,3} )?[+-]?\d[\d.,' \u00a0\u202f]*?( ?[$€£¥₹%°]| [a-zA-Z]{1,3})?"
)
# Between thousands, and the point.
SEPARATORS = (
    (",", "."), ("'", "."), (" ", "."), (".", ","), (" ", ","), ("\u00a0", ","), ("\u202f", ","),
)  # fmt: skip
MAX_CLASSES = 20
MANY = 50  # different texts: more, on most rows, are names or free text


class Sample(NamedTuple):
    """How a file is written, how often each text occurs in each column, and in how many rows."""

    dialect: Dialect
    columns: dict[str, Counter[str]]
    rows: int


@dataclass
class InferredColumn:
    """What a column seems to hold, and what a person should check."""

    kind: str
    missing_values: list[str] = field(default_factory=list)
    nullable: bool = False
    note: str = ""
    ignore: bool = False
    format: str | None = None


def infer_dialect(path: Path) -> Dialect:
    """Delimiter and encoding of a file, from its first megabyte."""
    try:
        check_format(path)
        with open_bytes(path) as file:
            start = file.read(2**20)
    except BROKEN as error:
        raise UserError(broken(path, Dialect(), 1, error)) from None
    encoding = "utf-16" if start[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8"
    if encoding == "utf-8" and b"\0" in start:
        raise UserError(f"{path}: found NUL bytes; expected a CSV file in UTF-8 or latin-1")
    try:
        start.decode(encoding)
    except UnicodeDecodeError as error:
        if error.end < len(start) - 4:  # not a letter that the megabyte cuts
            encoding = "latin-1"
    first = start.decode(encoding, "replace").split("\n", 1)[0]
    return Dialect(delimiter=max(",;\t|", key=first.count), encoding=encoding)


def read_sample(path: Path, limit: int) -> Sample:
    """The first `limit` rows of a file.

    Raises:
        UserError: it cannot be read, its header names a column twice, or it has no row.
    """
    dialect = infer_dialect(path)
    try:
        lines, line = records(path, dialect), 1
        _, header = next(lines)
        counts = [Counter[str]() for _ in header]
        rows = 0
        for line, cells in islice(lines, limit):
            if len(cells) != len(header):
                raise UserError(
                    f"{path}: line {line}: found {len(cells)} cells; expected {len(header)}"
                )
            rows += 1
            for count, cell in zip(counts, cells, strict=True):
                count[cell] += 1
    except StopIteration:
        raise UserError(f"{path}: the file is empty; expected a header line") from None
    except BROKEN as error:
        raise UserError(broken(path, dialect, line, error)) from None
    repeated = sorted(name for name, times in Counter(header).items() if times > 1)
    if repeated:
        names = listed(map(repr, repeated))
        raise UserError(f"{path}: line 1: found {names} more than once; is the header missing?")
    if not rows:
        raise UserError(f"{path}: found a header and no rows; expected some")
    return Sample(dialect, dict(zip(header, counts, strict=True)), rows)


def are(texts: list[str], kind: str, form: str | None = None) -> bool:
    """Whether all texts are values of a kind."""
    column = Column.model_validate({"kind": kind, "format": form})
    return not pc.any(parse(pa.array(texts, pa.string()), column)[1]).as_py()


def number_format(texts: list[str]) -> str | None:
    """How these texts write 1234.5, if all are numbers in one form that is not the plain one."""
    found = [AFFIXES.fullmatch(text.strip()[:40]) for text in texts]
    if not texts or not all(found):
        return None
    before, after = (
        next((text[place] for text in found if text and text[place]), "") for place in (1, 2)
    )
    forms = (f"{before}1{group}234{point}5{after}" for group, point in SEPARATORS)
    return next((form for form in forms if are(texts, "real", form)), None)


def infer_column(name: str, counts: Counter[str], rows: int) -> InferredColumn:
    """A column's kind from how often each of its texts occurs in `rows` rows."""
    missing = sorted(set(counts) & MISSING)
    present = [text for text in counts if text and text not in missing]
    nullable = bool(counts[""] or missing)
    note = f"{len(present)} different values"
    if len(present) < 2 and not (present and nullable):
        return InferredColumn("category", note="one value or none in every row", ignore=True)
    kind = next((k for k in ("boolean", "integer", "real") if are(present, k)), "category")
    if kind == "boolean" and {text.strip() for text in present} == {"0", "1"}:
        kind = "integer"
    if any(re.fullmatch(r"\s*-?0\d+", text) for text in present):
        kind = "category"  # 00123 is a code
    if kind == "integer" and any("." in text for text in present):
        kind = "real"
    form = number_format(present) if kind == "category" and not are(present, "real") else None
    if form:
        kind = "integer" if are(present, "integer", form) else "real"
        note += f", numbers written as {form}"
    if kind in ("integer", "real"):
        note += number_note(counts, dict(zip(present, typed(present, kind, form), strict=True)))
    if kind == "integer" and len(present) == rows and re.search(r"(^|[^a-z])id$|^$", name.lower()):
        return InferredColumn(kind, note="a number for each row", ignore=True)
    if kind == "category":
        other = remedy(present)
        if len(present) > max(MANY, (rows - counts[""]) / 2):
            return InferredColumn(kind, note=note + (other or ": names or free text?"), ignore=True)
        note += other
        frequent = sorted(present, key=lambda text: -counts[text])[:4]
        shown = ", ".join(frequent)[:60]
        note += ": " + "".join(letter if letter.isprintable() else " " for letter in shown)
    return InferredColumn(kind, missing, nullable, note, format=form)


def remedy(texts: list[str]) -> str:
    """What to do with texts most of which are numbers or dates in another form; empty if not."""
    short = [text.strip() for text in texts if len(text) < 40]
    for pattern, words in REMEDIES.items():
        if sum(bool(re.fullmatch(pattern, text)) for text in short) > 0.9 * len(texts):
            return f"; {words}"
    return ""


def number_note(counts: Counter[str], numbers: dict[str, Any]) -> str:
    """The range, and the values that may mean missing.

    Those stand out: farther from all others than these are from each other.

    Args:
        counts: of the texts of the column.
        numbers: what those that are not missing mean.
    """
    values = sorted(map(float, numbers.values()))
    note = f", {values[0]:g} to {values[-1]:g}"
    others = [value for value in values if value and value not in SENTINELS]
    if len(others) < 3:
        return note
    gap = max(high - low for low, high in pairwise(others))
    for value in sorted({0, *SENTINELS} & set(values)):
        times = sum(counts[text] for text, number in numbers.items() if number == value)
        few = times <= FEW * counts.total()
        suspect = (value in SENTINELS or few) and times >= MIN_ROWS
        if suspect and max(others[0] - value, value - others[-1]) > gap:
            note += f"; does {value:g} ({times} rows) mean missing? then missing_values"
    return note


def infer_task(kind: str, classes: Counter[Value]) -> str:
    """binary for two values, regression for many numbers, else multiclass."""
    if len(classes) == 2:
        return "binary"
    few = len(classes) <= MAX_CLASSES and classes.total() >= 5 * len(classes)
    if kind in ("boolean", "category") or (kind == "integer" and few):
        return "multiclass"
    return "regression"


def typed(texts: list[str], kind: str, form: str | None = None) -> list[Value]:
    """The texts of cells as values of their column."""
    column = Column.model_validate({"kind": kind, "format": form})
    return parse(pa.array(texts, pa.string()), column)[0].to_pylist()
