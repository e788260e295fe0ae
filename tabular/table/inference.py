"""What the columns of a CSV file seem to hold, from a look at its first rows."""

import math
import re
from bisect import bisect_right
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tabular.errors import UserError, listed, shown
from tabular.schema import Column, Dialect
from tabular.table.cells import parse
from tabular.table.csv import BROKEN, broken, check_format, open_bytes, records
from tabular.table.source import Piece, is_parquet, parquet_rows, parquet_schema, parquet_texts
from tabular.typed_yaml import Value

MISSING = {"NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "none", "?", "-", "."}
SENTINELS = {-1, -9, -99, -999, -9999, 9999, 99999}
FEW, MIN_ROWS = 0.1, 3  # rows with a 0 for a missing value: the share at most, the number at least
# Texts that are numbers in most tables.
UNITS = re.compile(r"[^\w\s]?-?\d[\d.,']*( ?[^\w\s]| ?[A-Za-z]{1,3})?")
# How dates are written beside ISO 8601, and what may follow them; the first that fits is taken.
DATES = (
    "%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d",
    "%Y.%m.%d",
    "%d-%b-%Y", "%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%a %b %d %Y",
    "%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d-%b-%y", "%d %b %y",
    "%b-%Y", "%b %Y", "%B %Y", "%Y %b", "%Y-%b", "%Y-%m", "%m/%Y", "%Y/%m", "%m.%Y", "%b-%y",
)  # fmt: skip
LOOKS = {"Y": r"\d{4}", "f": r"\d{1,9}", **dict.fromkeys("aAbBp", "[A-Za-z]+")}
MAX_DATE = 60  # characters
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
MOMENT = re.compile(r"(?i)(date|time|stamp|day|created|updated|at)$|^(date|time)")  # a name
SINCE_1970 = {"epoch": (300_000_000, 4_200_000_000), "epoch_ms": (3e11, 4.2e12)}  # 1979 to 2103
IDENTIFIER = re.compile(r"(^|[^a-zA-Z])(id|ID|Id)$|[a-z](Id|ID)$")
# What may stand before and after a number; letters alone would make numbers of codes such as p12.
AFFIXES = re.compile(
    r"([$€£¥₹] ?|[A-Z]{2,3} )?[+-]?\d[\d.,' \u00a0\u202f]*?( ?[$€£¥₹%°]| [a-zA-Z]{1,3})?"
)
# Between thousands, and the point.
SEPARATORS = (
    (",", "."), ("'", "."), (" ", "."), (".", ","), (" ", ","), ("\u00a0", ","), ("\u202f", ","),
)  # fmt: skip
MAX_CLASSES = 20
MANY = 50  # different texts: more may be names, labels or free text
WORDS = 1.5  # in a text on average; fewer are names or codes
REPEATED = 5  # rows for each of many different texts; more are categories
HEAD, HEAD_CELLS = 5_000, 500_000  # rows that are kept to look for columns that tell the target
TOLD = 0.95  # of the target's variance, or of the wrong guesses


class Sample(NamedTuple):
    """How a file is written, how often each text occurs in each column, and in how many rows.

    `head`: the cells of the first `HEAD` rows.
    """

    dialect: Dialect
    columns: dict[str, Counter[str]]
    rows: int
    head: list[list[str]]


@dataclass
class InferredColumn:
    """What a column seems to hold, and what a person should check."""

    kind: str
    missing_values: list[str] = field(default_factory=list)
    nullable: bool = False
    note: str = ""
    ignore: bool = False
    format: str | None = None
    constant: bool = False


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
    dialect = Dialect() if is_parquet(path) else infer_dialect(path)
    try:
        lines, line = parquet_records(path) if is_parquet(path) else records(path, dialect), 1
        _, header = next(lines)
        counts = [Counter[str]() for _ in header]
        rows, head = 0, list[list[str]]()
        for line, cells in islice(lines, limit):
            if len(cells) != len(header):
                raise UserError(
                    f"{path}: line {line}: found {len(cells)} cells; expected {len(header)}"
                )
            rows += 1
            if rows <= min(HEAD, HEAD_CELLS // len(header)):
                head.append(cells)
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
    return Sample(dialect, dict(zip(header, counts, strict=True)), rows, head)


def parquet_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """What `records` gives for a CSV file of the same table."""
    names = parquet_schema(path).names
    yield 0, names
    for table in parquet_texts(Piece(path, names, 0, parquet_rows(path)), names):
        columns = [column.to_pylist() for column in table.columns]
        yield from ((0, list(cells)) for cells in zip(*columns, strict=True))


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


def may_be_date(text: str) -> bool:
    """Whether a text is short, of ASCII, and has a digit."""
    return len(text) <= MAX_DATE and text.isascii() and bool(re.search(r"\d", text))


def date_format(texts: list[str]) -> tuple[str | None, str] | None:
    """How these texts are written if all are dates or times, None for ISO 8601, and a question."""
    texts = [text.strip(" \t") for text in texts]
    if not texts or not all(map(may_be_date, texts)):
        return None
    if are(texts, "datetime"):
        return None, ""
    forms = [form for form, pattern in patterns().items() if pattern.fullmatch(texts[0])]
    forms = [form for form in forms if are(texts, "datetime", form)]
    other = forms[1:] and set(forms[0]) == set(forms[1])
    return (forms[0], f"; or {forms[1]}? both fit" if other else "") if forms else None


@cache
def patterns() -> dict[str, re.Pattern[str]]:
    """The formats of dates, alone and with a time, with what their texts look like."""
    forms = [date + time for date in DATES for time in TIMES]
    return {
        form: re.compile(
            re.sub("%(.)", lambda found: LOOKS.get(found[1], r"\d{1,2}"), re.escape(form))
        )
        for form in forms
    }


def infer_date(
    name: str, kind: str, texts: list[str], missing: list[str], nullable: bool
) -> InferredColumn | None:
    """A column as dates or times, if that is what it holds."""
    found = None
    if kind == "category":
        found = date_format(texts)
    elif kind == "integer" and MOMENT.search(name):
        numbers = [int(float(text)) for text in texts]
        within = {
            form: low <= min(numbers) and max(numbers) < high
            for form, (low, high) in SINCE_1970.items()
        }
        found = next(((form, "") for form, yes in within.items() if yes), None)
        if not found and are(texts, "datetime", "%Y%m%d"):
            found = "%Y%m%d", ""
    if not found:
        return None
    form, question = found
    moments = typed(texts, "datetime", form)
    note = f"{len(texts)} different dates or times, {min(moments):%Y-%m-%d} to "
    note += f"{max(moments):%Y-%m-%d}{question}; are later rows to be predicted from earlier ones? "
    note += f"then time: {name} in a line of its own above, and split.by: time in params.yaml"
    return InferredColumn("datetime", missing, nullable, note, format=form)


def infer_text(counts: Counter[str], texts: list[str]) -> tuple[str, str, bool]:
    """Kind of a column of texts, what to say of it, and whether to leave it out."""
    rows, distinct = sum(counts[text] for text in texts), len(texts)
    if distinct <= MANY:
        return "category", "", False
    words = sum(len(text.split()) for text in texts) / distinct
    for mark in "|;,":
        labels = Counter(label.strip() for text in texts for label in text.split(mark))
        if sum(mark in text for text in texts) > distinct / 2 and len(labels) < distinct / 3:
            return "text", f"; {len(labels)} labels between {mark}, read as words", False
    if words >= WORDS and rows < REPEATED * distinct:
        return "text", f"; {words:.1f} words on average, read as free text", False
    if distinct > rows / 2:
        return "category", ", a name or a code for nearly each row", True
    return "category", "", False


def infer_column(name: str, counts: Counter[str], rows: int) -> InferredColumn:
    """A column's kind from how often each of its texts occurs in `rows` rows."""
    missing = sorted(set(counts) & MISSING)
    present = [text for text in counts if text and text not in missing]
    nullable = bool(counts[""] or missing)
    note = f"{len(present)} different values"
    if len(present) < 2 and not (present and nullable):
        note = "one value or none in every row"
        return InferredColumn("category", note=note, ignore=True, constant=True)
    kind = next((k for k in ("boolean", "integer", "real") if are(present, k)), "category")
    if kind == "boolean" and {text.strip() for text in present} == {"0", "1"}:
        kind = "integer"
    if any(re.fullmatch(r"\s*-?0\d+", text) for text in present):
        kind = "category"  # 00123 is a code
    if kind == "integer" and any("." in text for text in present):
        kind = "real"
    if date := infer_date(name, kind, present, missing, nullable):
        return date
    form = number_format(present) if kind == "category" and not are(present, "real") else None
    if form:
        kind = "integer" if are(present, "integer", form) else "real"
        note += f", numbers written as {form}"
    if kind in ("integer", "real"):
        note += number_note(counts, dict(zip(present, typed(present, kind, form), strict=True)))
    identifier = not name or IDENTIFIER.search(name)
    if kind == "integer" and len(present) == rows:
        places: list[Any] = typed(present, kind, form)
        if identifier or max(places) - min(places) + 1 == rows:
            note = "a number for each row"
            return InferredColumn(kind, missing, nullable, note, ignore=True, format=form)
    repeats = len(present) > MAX_CLASSES and rows >= 2 * len(present)
    hint = (mostly_dates(present) or remedy(present)) if kind == "category" else ""
    if kind == "integer" and identifier and repeats:
        kind, form = "category", None  # the order of the numbers says nothing
    if kind == "category":
        kind, said, ignore = infer_text(counts, present)
        if ignore:
            note = f"{len(present)} different values{said}{hint}"
            return InferredColumn(kind, note=note, ignore=True)
        frequent = sorted(present, key=lambda text: -counts[text])[:4]
        note = f"{len(present)} different values: {', '.join(frequent)[:60]}{said}{hint}"
        if identifier and repeats:
            note += f"; do rows of one {name} belong together? then group: {name} "
            note += "in a line of its own above, and split.by: group in params.yaml"
    return InferredColumn(kind, missing, nullable, note, format=form)


def mostly_dates(texts: list[str]) -> str:
    """What keeps texts from being dates, if most of them are dates in one form; else empty."""
    some = texts[:: max(len(texts) // 50, 1)]
    for form, pattern in patterns().items():
        fits = [text for text in some if pattern.fullmatch(text)]
        if len(fits) >= 0.8 * len(some) > 2 and are(fits, "datetime", form):
            other = next((text for text in texts if not pattern.fullmatch(text)), texts[0])
            return (
                f"; most are dates as {form}, unlike {shown(other)}: mend such cells, or name them "
                "in missing_values of a datetime"
            )
    return ""


def remedy(texts: list[str]) -> str:
    """What to do with texts most of which are numbers in another form; empty if they are not."""
    short = [text.strip() for text in texts if len(text) < 40]
    if sum(bool(UNITS.fullmatch(text)) for text in short) > 0.9 * len(texts):
        return "; numbers with signs or units? write them as plain numbers, such as 1234.5"
    return ""


def told(values: Sequence[Any], target: Sequence[Any], *, classes: bool) -> float:
    """How much of the target a column tells by itself, from 0 to 1.

    That is the share of the variance, or of the wrong guesses of the commonest class, which is gone
    when a row is guessed from other rows with the same value, or of numbers one close to it: rows
    with odd numbers learn, the others are guessed.

    Args:
        values: floats, or what else can be hashed.
    """
    keys = values
    if all(isinstance(value, float) for value in values) and len(set(values)) > MANY:
        edges = sorted(values)[:: max(len(values) // MANY, 1)]
        keys = [bisect_right(edges, value) for value in values]
    groups = defaultdict[Any, list[Any]](list)
    for key, value in zip(keys[1::2], target[1::2], strict=True):
        groups[key].append(value)

    def guess(of: list[Any]) -> Any:
        return Counter(of).most_common(1)[0][0] if classes else fmean(of)

    constant = guess(list(target[1::2]))
    guesses = {key: guess(of) for key, of in groups.items()}
    errors = [0.0, 0.0]
    for key, value in zip(keys[::2], target[::2], strict=True):
        for place, guessed in enumerate((constant, guesses.get(key, constant))):
            errors[place] += (value != guessed) if classes else (value - guessed) ** 2
    return 1 - errors[1] / errors[0] if errors[0] else 0.0


def columns_that_tell(
    sample: Sample, columns: dict[str, InferredColumn], target: str, *, classes: bool
) -> dict[str, float]:
    """The columns that alone nearly tell the target, and how much of it."""
    names = list(sample.columns)
    place = names.index(target)
    rows = [row for row in sample.head if row[place] and row[place] not in MISSING]
    kind = "category" if classes else columns[target].kind
    y = typed([row[place] for row in rows], kind, columns[target].format)
    found = {}
    for number, (name, column) in enumerate(columns.items()):
        if number == place or column.ignore or column.kind == "text" or len(rows) < MANY:
            continue
        values: list[Any] = ["" if row[number] in MISSING else row[number] for row in rows]
        if column.kind in ("real", "integer"):
            numbers = typed(values, column.kind, column.format)
            values = [-math.inf if value is None else float(value) for value in numbers]
        if (share := told(values, y, classes=classes)) >= TOLD:
            found[name] = share
    return found


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
