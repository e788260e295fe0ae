"""Infer the formats in which the texts of a column write numbers and dates."""

import re
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import ISO, NUMBER_FORMAT, Column, Format, Kind
from keras_tabular.core.errors import quote
from keras_tabular.table.cells import ISO_8601, parse

# What may precede and follow a number. Letters need a space, since p12 is a code.
AFFIXES = re.compile(
    r"([$€£¥₹] ?|[A-Z]{2,3} )?[+-]?\d[\d.,' \u00a0\u202f]*?(?:[eE][+-]?\d+)?"
    r"( ?[$€£¥₹%°]| [a-zA-Z]{1,3})?"
)
# The thousands separator and the decimal mark.
SEPARATORS = (
    (",", "."), ("'", "."), (" ", "."), (".", ","), (" ", ","), ("\u00a0", ","), ("\u202f", ","),
)  # fmt: skip
MAX_NUMBER_LENGTH = 40
# The formats of dates other than ISO 8601, and those of times that may follow. If several fit, the
# first is taken.
DATES = (
    "%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d",
    "%Y.%m.%d",
    "%d-%b-%Y", "%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%a %b %d %Y",
    "%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d-%b-%y", "%d %b %y",
    "%b-%Y", "%b %Y", "%B %Y", "%Y %b", "%Y-%b", "%Y-%m", "%m/%Y", "%Y/%m", "%m.%Y", "%b-%y",
)  # fmt: skip
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
DIRECTIVE_PATTERNS = {"Y": r"\d{4}", "f": r"\d{1,9}", **dict.fromkeys("aAbBp", "[A-Za-z]+")}
MAX_DATE_FORMATS = 3  # in one column
MAX_DATE_LENGTH = 60
NUMBER_WITH_UNIT = re.compile(r"[^\w\s]?-?\d[\d.,']*( ?[^\w\s]| ?[A-Za-z]{1,3})?")
MAX_OTHER_SHARE = 0.1  # of texts that are no dates or numbers, in a column that is asked about
MAX_TEXTS_TO_ASK = 50


def all_parse_as(texts: list[str], kind: Kind, form: str | None = None) -> bool:
    """Return whether all texts are values of a kind."""
    column = Column(kind=kind, format=form)
    return not pc.any(parse(pa.array(texts, pa.string()), column)[1]).as_py()


def parse_texts(texts: list[str], kind: Kind, form: Format = None) -> list[Any]:
    """Return the values of texts in a column of a kind. A text that is no such value gets None."""
    column = Column(kind=kind, format=form)
    return parse(pa.array(texts, pa.string()), column)[0].to_pylist()


def infer_number_formats(texts: list[str]) -> list[str | None]:
    """Return the formats in which all texts are numbers, if the numbers differ between them.

    There are up to two: 2,846 may be 2846 or 2.846. The format with a decimal point comes first. It
    is None if 1234.5 is written as 1234.5.
    """
    if not texts:
        return []
    forms: list[str | None] = [None]
    if not all_parse_as(texts, "real"):
        match = AFFIXES.fullmatch(texts[0].strip()[:MAX_NUMBER_LENGTH])
        if not match:
            return []
        before, after = match[1] or "", match[2] or ""
        written = [f"{before}1{group}234{mark}5{after}" for group, mark in SEPARATORS]
        forms = [form for form in written if all_parse_as(texts, "real", form)]
    elif any("." in text for text in texts) and all_parse_as(texts, "real", "1.234,5"):
        forms.append("1.234,5")
    formats_by_numbers: dict[tuple[Any, ...], str | None] = {}
    for form in forms:
        formats_by_numbers.setdefault(tuple(parse_texts(texts, "real", form)), form)
    return list(formats_by_numbers.values())


def decimal_mark(form: str | None, texts: list[str]) -> str:
    """Return the decimal mark of a format, "." or ","; empty if the texts have no mark at all."""
    if not any("." in text or "," in text for text in texts):
        return ""
    return NUMBER_FORMAT.sub(r"\3", form) if form else "."


def choose_number_format(
    number_formats: list[str | None], marks: set[str], delimiter: str
) -> tuple[str | None, list[str]]:
    """Choose the format of a column, and ask about it if it is uncertain.

    If two formats fit, the other columns decide. If they do not tell, the delimiter does: files
    with semicolons usually have decimal commas, and files with commas have decimal points.

    Args:
        number_formats: One or two formats, see `infer_number_formats`.
        marks: The decimal marks of the columns that only one format fits.
        delimiter: The delimiter of the file; empty if it is not a CSV.
    """
    with_point, *alternatives = number_formats
    if not alternatives:
        return with_point, []
    with_comma, known_marks = alternatives[0], marks - {""}
    if len(known_marks) == 1:
        return (with_point if "." in known_marks else with_comma), []
    if not known_marks and delimiter == ",":
        return with_point, []
    if not known_marks and delimiter == ";" and with_point is not None:
        return with_comma, []
    return with_point, [f"Or are the numbers written as {with_comma}? Both formats fit."]


def infer_date_formats(texts: list[str]) -> tuple[list[str], list[str]]:
    """Return up to `MAX_DATE_FORMATS` formats in which all texts are dates or times.

    Formats that differ only in the order of day and month are not combined, since 03/04/2020 would
    fit both.

    Args:
        texts: Different texts.

    Returns:
        The formats, each of some of the texts, and questions. Both are empty if a text is no date.
    """
    remaining = [text.strip(" \t") for text in texts]
    forms, questions = list[str](), list[str]()
    while remaining:
        remaining_by_form = {}
        for form, pattern in date_patterns().items():
            is_allowed = not any(swap_day_and_month(form, other) for other in forms)
            if is_allowed and pattern.fullmatch(remaining[0]):
                rest = texts_without_dates(remaining, form)
                if remaining[0] not in rest[:1]:
                    remaining_by_form[form] = rest
        if not remaining_by_form or len(forms) == MAX_DATE_FORMATS:
            return [], []
        best = min(remaining_by_form, key=lambda form: len(remaining_by_form[form]))
        remaining = remaining_by_form[best]
        for form, rest in remaining_by_form.items():
            if swap_day_and_month(best, form) and len(rest) == len(remaining):
                questions = [f"Or are the dates written as {form}? Both formats fit."]
        forms.append(best)
    return forms, questions


@cache
def date_patterns() -> dict[str, re.Pattern[str]]:
    """Return the formats of dates, with and without times, and patterns for their texts."""
    patterns = {ISO: re.compile(ISO_8601)}
    for form in (date + time for date in DATES for time in TIMES):
        parts = [DIRECTIVE_PATTERNS.get(name, r"\d{1,2}") for name in re.findall("%(.)", form)]
        patterns[form] = re.compile(re.sub("%.", "{}", re.escape(form)).format(*parts))
    return patterns


def swap_day_and_month(form: str, other: str) -> bool:
    """Return whether two formats have the same directives in another order."""
    return form != other and sorted(form) == sorted(other)


def texts_without_dates(texts: list[str], form: str) -> list[str]:
    """Return the texts that are not dates in a format."""
    dates = parse_texts([text.strip() for text in texts], "datetime", form)
    return [text for text, date in zip(texts, dates, strict=True) if date is None]


def ask_format(texts: list[str]) -> list[str]:
    """Ask about texts most of which are dates or numbers. There is no question about others."""
    step = len(texts) // MAX_TEXTS_TO_ASK + 1
    some = [text.strip()[:MAX_DATE_LENGTH] for text in texts[::step]]

    def fits(pattern: re.Pattern[str]) -> bool:
        misfits = sum(not pattern.fullmatch(text) for text in some)
        return misfits <= MAX_OTHER_SHARE * len(some)

    forms = [form for form, pattern in date_patterns().items() if fits(pattern)]
    best = min(forms, key=lambda form: len(texts_without_dates(some, form)), default="")
    if best and (unparsed := texts_without_dates(texts, best)):
        change = f"change cells such as {quote(unparsed[0])}, or list them in replace"
        return [f"Are these dates written as {best}? Then {change} or missing_values."]
    if fits(NUMBER_WITH_UNIT):
        return ["Are these numbers with signs or units? Then write them as plain numbers."]
    return []
