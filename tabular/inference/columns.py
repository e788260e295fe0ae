"""What the columns of a CSV file seem to hold, from a look at its first rows."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tabular.config.schema import Column
from tabular.config.typed_yaml import Value
from tabular.core.errors import quoted
from tabular.inference.sample import MISSING
from tabular.table.cells import parse

# Texts that are numbers in most tables.
NUMBER_WITH_UNIT = re.compile(r"[^\w\s]?-?\d[\d.,']*( ?[^\w\s]| ?[A-Za-z]{1,3})?")
# How dates are written beside ISO 8601, and what may follow them; the first that fits is taken.
DATES = (
    "%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d",
    "%Y.%m.%d",
    "%d-%b-%Y", "%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%a %b %d %Y",
    "%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d-%b-%y", "%d %b %y",
    "%b-%Y", "%b %Y", "%B %Y", "%Y %b", "%Y-%b", "%Y-%m", "%m/%Y", "%Y/%m", "%m.%Y", "%b-%y",
)  # fmt: skip
DIRECTIVE_PATTERNS = {"Y": r"\d{4}", "f": r"\d{1,9}", **dict.fromkeys("aAbBp", "[A-Za-z]+")}
MAX_DATE = 60  # characters
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
# What may stand before and after a number; letters alone would make numbers of codes such as p12.
AFFIXES = re.compile(
    r"([$€£¥₹] ?|[A-Z]{2,3} )?[+-]?\d[\d.,' \u00a0\u202f]*?( ?[$€£¥₹%°]| [a-zA-Z]{1,3})?"
)
# Between thousands, and the point.
SEPARATORS = (
    (",", "."), ("'", "."), (" ", "."), (".", ","), (" ", ","), ("\u00a0", ","), ("\u202f", ","),
)  # fmt: skip


def all_parse_as(texts: list[str], kind: str, form: str | None = None) -> bool:
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
    return next((form for form in forms if all_parse_as(texts, "real", form)), None)


def may_be_date(text: str) -> bool:
    """Whether a text is short, of ASCII, and has a digit."""
    return len(text) <= MAX_DATE and text.isascii() and bool(re.search(r"\d", text))


def date_format(texts: list[str]) -> tuple[str | None, str] | None:
    """How these texts are written if all are dates or times, None for ISO 8601, and a question."""
    texts = [text.strip(" \t") for text in texts]
    if not texts or not all(map(may_be_date, texts)):
        return None
    if all_parse_as(texts, "datetime"):
        return None, ""
    forms = [form for form, pattern in patterns().items() if pattern.fullmatch(texts[0])]
    forms = [form for form in forms if all_parse_as(texts, "datetime", form)]
    other = forms[1:] and set(forms[0]) == set(forms[1])
    return (forms[0], f"; or {forms[1]}? both fit" if other else "") if forms else None


@cache
def patterns() -> dict[str, re.Pattern[str]]:
    """The formats of dates, alone and with a time, with what their texts look like."""
    forms = [date + time for date in DATES for time in TIMES]
    return {
        form: re.compile(
            re.sub(
                "%(.)", lambda found: DIRECTIVE_PATTERNS.get(found[1], r"\d{1,2}"), re.escape(form)
            )
        )
        for form in forms
    }


def mostly_dates(texts: list[str]) -> str:
    """What keeps texts from being dates, if most of them are dates in one form; else empty."""
    some = texts[:: max(len(texts) // 50, 1)]
    for form, pattern in patterns().items():
        fits = [text for text in some if pattern.fullmatch(text)]
        if len(fits) >= 0.8 * len(some) > 2 and all_parse_as(fits, "datetime", form):
            other = next((text for text in texts if not pattern.fullmatch(text)), texts[0])
            return (
                f"; most are dates as {form}, unlike {quoted(other)}: fix such cells, or list them "
                "in missing_values of a datetime"
            )
    return ""


def unit_hint(texts: list[str]) -> str:
    """What to do with texts most of which are numbers in another form; empty if they are not."""
    short = [text.strip() for text in texts if len(text) < 40]
    if sum(bool(NUMBER_WITH_UNIT.fullmatch(text)) for text in short) > 0.9 * len(texts):
        return "; numbers with signs or units? write them as plain numbers, such as 1234.5"
    return ""


def typed(texts: list[str], kind: str, form: str | None = None) -> list[Value]:
    """The texts of cells as values of their column."""
    column = Column.model_validate({"kind": kind, "format": form})
    return parse(pa.array(texts, pa.string()), column)[0].to_pylist()


DATE_NAME = re.compile(r"(?i)(date|time|stamp|day|created|updated|at)$|^(date|time)")
SINCE_1970 = {"epoch": (300_000_000, 4_200_000_000), "epoch_ms": (3e11, 4.2e12)}  # 1979 to 2103
IDENTIFIER = re.compile(r"(^|[^a-zA-Z])(id|ID|Id)$|[a-z](Id|ID)$")
MAX_CLASSES = 20
MANY_DISTINCT = 50  # different texts: more may be names, labels or free text
MIN_MEAN_WORDS = 1.5  # of a free text; fewer are names or codes
MAX_ROWS_PER_TEXT = 5  # of a free text; more are categories


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


def infer_date(
    name: str, kind: str, texts: list[str], missing: list[str], nullable: bool
) -> InferredColumn | None:
    """A column as dates or times, if that is what it holds."""
    found = None
    if kind == "category":
        found = date_format(texts)
    elif kind == "integer" and DATE_NAME.search(name):
        numbers = [int(float(text)) for text in texts]
        within = {
            form: low <= min(numbers) and max(numbers) < high
            for form, (low, high) in SINCE_1970.items()
        }
        found = next(((form, "") for form, yes in within.items() if yes), None)
        if not found and all_parse_as(texts, "datetime", "%Y%m%d"):
            found = "%Y%m%d", ""
    if not found:
        return None
    form, question = found
    dates = typed(texts, "datetime", form)
    note = f"{len(texts)} different dates or times, {min(dates):%Y-%m-%d} to "
    note += f"{max(dates):%Y-%m-%d}{question}; are later rows to be predicted from earlier ones? "
    note += f"then time: {name} in a line of its own above, and split.by: time in params.yaml"
    return InferredColumn("datetime", missing, nullable, note, format=form)


def infer_text(counts: Counter[str], texts: list[str]) -> tuple[str, str, bool]:
    """Kind of a column of texts, what to say of it, and whether to leave it out."""
    rows, distinct = sum(counts[text] for text in texts), len(texts)
    if distinct <= MANY_DISTINCT:
        return "category", "", False
    words = sum(len(text.split()) for text in texts) / distinct
    for mark in "|;,":
        labels = Counter(label.strip() for text in texts for label in text.split(mark))
        if sum(mark in text for text in texts) > distinct / 2 and len(labels) < distinct / 3:
            return "text", f"; {len(labels)} labels between {mark}, read as words", False
    if words >= MIN_MEAN_WORDS and rows < MAX_ROWS_PER_TEXT * distinct:
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
    kind = next((k for k in ("boolean", "integer", "real") if all_parse_as(present, k)), "category")
    if kind == "boolean" and {text.strip() for text in present} == {"0", "1"}:
        kind = "integer"
    if any(re.fullmatch(r"\s*-?0\d+", text) for text in present):
        kind = "category"  # 00123 is a code
    if kind == "integer" and any("." in text for text in present):
        kind = "real"
    if date := infer_date(name, kind, present, missing, nullable):
        return date
    form = (
        number_format(present) if kind == "category" and not all_parse_as(present, "real") else None
    )
    if form:
        kind = "integer" if all_parse_as(present, "integer", form) else "real"
        note += f", numbers written as {form}"
    if kind in ("integer", "real"):
        numbers: list[Any] = typed(present, kind, form)
        note += f", {min(numbers):g} to {max(numbers):g}"
    identifier = not name or IDENTIFIER.search(name)
    of_rows = kind == "integer" and len(present) == rows
    if of_rows and (identifier or max(numbers) - min(numbers) + 1 == rows):
        note = "a number for each row"
        return InferredColumn(kind, missing, nullable, note, ignore=True, format=form)
    repeats = len(present) > MAX_CLASSES and rows >= 2 * len(present)
    hint = (mostly_dates(present) or unit_hint(present)) if kind == "category" else ""
    if kind == "integer" and identifier and repeats:
        kind, form = "category", None  # the order of the numbers says nothing
    if kind == "category":
        kind, said, ignore = infer_text(counts, present)
        if ignore:
            note = f"{len(present)} different values{said}{hint}"
            return InferredColumn(kind, note=note, ignore=True)
        frequent = sorted(present, key=lambda text: -counts[text])[:4]
        note = f"{len(present)} different values: {', '.join(frequent)[:60]}{said}{hint}"
    return InferredColumn(kind, missing, nullable, note, format=form)


def infer_task(kind: str, classes: Counter[Value]) -> str:
    """binary for two values, regression for many numbers, else multiclass."""
    if len(classes) == 2:
        return "binary"
    few = len(classes) <= MAX_CLASSES and classes.total() >= 5 * len(classes)
    if kind in ("boolean", "category") or (kind == "integer" and few):
        return "multiclass"
    return "regression"
