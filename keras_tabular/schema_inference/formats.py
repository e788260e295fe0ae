"""How the texts of a column write numbers and dates."""

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import ISO, NUMBER_FORMAT, Column
from keras_tabular.config.typed_yaml import Value
from keras_tabular.core.errors import quote
from keras_tabular.table.cells import ISO_8601, parse


def all_parse_as(texts: list[str], kind: str, form: str | None = None) -> bool:
    """Return whether all texts are values of a kind."""
    column = Column.model_validate({"kind": kind, "format": form})
    return not pc.any(parse(pa.array(texts, pa.string()), column)[1]).as_py()


def typed(
    texts: list[str], kind: str, form: str | tuple[str, ...] | None = None
) -> list[Value | None]:
    """Return the values of texts as cells of a kind; None where a text is no such value."""
    column = Column.model_validate({"kind": kind, "format": form})
    return list(parse(pa.array(texts, pa.string()), column)[0].to_pylist())


# What may stand before and after a number; letters alone would make numbers of codes such as p12.
AFFIXES = re.compile(
    r"([$€£¥₹] ?|[A-Z]{2,3} )?[+-]?\d[\d.,' \u00a0\u202f]*?(?:[eE][+-]?\d+)?"
    r"( ?[$€£¥₹%°]| [a-zA-Z]{1,3})?"
)
# The mark between thousands, and the decimal mark.
SEPARATORS = (
    (",", "."), ("'", "."), (" ", "."), (".", ","), (" ", ","), ("\u00a0", ","), ("\u202f", ","),
)  # fmt: skip


class NumberReading(NamedTuple):
    """One way to read the texts of a column as numbers.

    Attributes:
        form: How the column writes 1234.5; None if it writes it so.
        mark: The decimal mark, "." or ","; empty if no text has a mark that tells.
    """

    form: str | None
    mark: str


def number_readings(texts: list[str]) -> list[NumberReading]:
    """Find the ways to read texts as numbers that give different values: none, one or two.

    2,846 is 2846 or 2.846; if there are two readings, the one with a decimal point comes first.
    """
    if not texts:
        return []
    forms: list[str | None] = [None]
    if not all_parse_as(texts, "real"):
        match = AFFIXES.fullmatch(texts[0].strip()[:40])
        if not match:
            return []
        before, after = match[1] or "", match[2] or ""
        written = [f"{before}1{group}234{mark}5{after}" for group, mark in SEPARATORS]
        forms = [form for form in written if all_parse_as(texts, "real", form)]
    elif any("." in text for text in texts) and all_parse_as(texts, "real", "1.234,5"):
        forms.append("1.234,5")
    readings: dict[tuple[Value | None, ...], NumberReading] = {}
    has_mark = any("." in text or "," in text for text in texts)
    for form in forms:
        mark = (NUMBER_FORMAT.sub(r"\3", form) if form else ".") if has_mark else ""
        readings.setdefault(tuple(typed(texts, "real", form)), NumberReading(form, mark))
    return list(readings.values())


def choose_number_format(
    readings: list[NumberReading], marks: Iterable[str], delimiter: str
) -> tuple[str | None, str]:
    """Choose how a column writes numbers, and what to ask if that cannot be known.

    Where two readings fit, the other columns of the file decide, then its delimiter: a file with
    semicolons has decimal commas, one with commas has decimal points.

    Args:
        readings: The readings of the column, one at least.
        marks: The decimal marks of the file's columns that have one reading.
        delimiter: Delimiter of the file; empty for Parquet.

    Returns:
        The format of the column, and a question, which is empty if nothing is in doubt.
    """
    point, *comma = readings
    if not comma:
        return point.form, ""
    known_marks = {*marks} - {""}
    if len(known_marks) == 1:
        return (point if "." in known_marks else comma[0]).form, ""
    if not known_marks and delimiter == ",":
        return point.form, ""
    if not known_marks and delimiter == ";" and point.form is not None:  # 2,846 and not 2.846
        return comma[0].form, ""
    return point.form, f"; or numbers written as {comma[0].form}? both fit"


# How dates are written beside ISO 8601, and what may follow them; the first that fits is taken.
DATES = (
    "%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d",
    "%Y.%m.%d",
    "%d-%b-%Y", "%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%a %b %d %Y",
    "%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d-%b-%y", "%d %b %y",
    "%b-%Y", "%b %Y", "%B %Y", "%Y %b", "%Y-%b", "%Y-%m", "%m/%Y", "%Y/%m", "%m.%Y", "%b-%y",
)  # fmt: skip
# Texts that are numbers in most tables.
NUMBER_WITH_UNIT = re.compile(r"[^\w\s]?-?\d[\d.,']*( ?[^\w\s]| ?[A-Za-z]{1,3})?")
MAX_OTHER_TEXTS = 0.1  # share of the texts of a column that is asked about
DIRECTIVE_PATTERNS = {"Y": r"\d{4}", "f": r"\d{1,9}", **dict.fromkeys("aAbBp", "[A-Za-z]+")}
MAX_DATE_LENGTH = 60
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
MAX_DATE_FORMATS = 3  # in one column


@cache
def patterns() -> dict[str, re.Pattern[str]]:
    """Return the formats of dates, alone and with a time, and what their texts look like."""
    compiled = {ISO: re.compile(ISO_8601)}
    for form in (date + time for date in DATES for time in TIMES):
        parts = [DIRECTIVE_PATTERNS.get(name, r"\d{1,2}") for name in re.findall("%(.)", form)]
        compiled[form] = re.compile(re.sub("%.", "{}", re.escape(form)).format(*parts))
    return compiled


def swaps_day_and_month(form: str, other: str) -> bool:
    """Return whether two formats have the same directives in another order."""
    return form != other and sorted(form) == sorted(other)


def read_dates(texts: list[str]) -> tuple[list[str], str]:
    """Find up to `MAX_DATE_FORMATS` formats of texts that are dates or times.

    Formats that differ only in the order of day and month are never combined, since 03/04/2020
    would be in both.

    Args:
        texts: Different texts.

    Returns:
        The formats, each for some of the texts; none if a text is no date. What to ask of them;
        empty if nothing.
    """
    left = [text.strip(" \t") for text in texts]
    forms, question = list[str](), ""
    while left:
        rest_by_form = {}
        for form, pattern in patterns().items():
            may_follow = not any(swaps_day_and_month(form, other) for other in forms)
            if may_follow and pattern.fullmatch(left[0]):
                rest = not_dates(left, form)
                if left[0] not in rest[:1]:
                    rest_by_form[form] = rest
        if not rest_by_form or len(forms) == MAX_DATE_FORMATS:
            return [], ""
        best = min(rest_by_form, key=lambda form: len(rest_by_form[form]))
        for other, rest in rest_by_form.items():
            if swaps_day_and_month(best, other) and len(rest) == len(rest_by_form[best]):
                question = f"; or {other}? both fit"
        forms.append(best)
        left = rest_by_form[best]
    return forms, question


def not_dates(texts: list[str], form: str) -> list[str]:
    """Return the texts that are no dates in a format."""
    dates = typed([text.strip() for text in texts], "datetime", form)
    return [text for text, date in zip(texts, dates, strict=True) if date is None]


def ask_format(texts: list[str]) -> str:
    """Ask what to do with texts that are mostly dates or numbers; empty for others."""
    some = [text.strip()[:MAX_DATE_LENGTH] for text in texts[:: len(texts) // 50 + 1]]

    def fits(pattern: re.Pattern[str]) -> bool:
        return sum(not pattern.fullmatch(text) for text in some) <= MAX_OTHER_TEXTS * len(some)

    forms = [form for form, pattern in patterns().items() if fits(pattern)]
    best = min(forms, key=lambda form: len(not_dates(some, form)), default="")
    if best and (unparsed := not_dates(texts, best)):
        return (
            f"; dates as {best}, except {quote(unparsed[0])}: kind datetime? then change or list "
            "such cells in replace or missing_values"
        )
    if fits(NUMBER_WITH_UNIT):
        return "; numbers with signs or units? write them as plain numbers, such as 1234.5"
    return ""
