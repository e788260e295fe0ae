"""Infer the formats in which the texts of a column write numbers and dates."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa

from keras_tabular.config.schema import ISO, NUMBER_FORMAT, Column, Format, Kind
from keras_tabular.core.typed_yaml import format_yaml
from keras_tabular.schema_inference import list_words
from keras_tabular.table.cells import ISO_8601, parse

# What may precede and follow a number: currencies, percent and units. Letters in front
# need a space, since p12 is a code, and so do most single letters behind. Only codes of
# ISO 4217 are currencies, since other capitals, such as SKU 007, are those of a code.
CODES = (
    "AED|AUD|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|"
    "KES|KRW|MXN|MYR|NGN|NOK|NZD|PEN|PHP|PKR|PLN|QAR|RM|RON|RSD|RUB|SAR|SEK|SGD|THB|"
    "TRY|TWD|UAH|USD|VND|ZAR"
)
CURRENCY = r"[^\W\d_]{0,3}[$£¥¢\u20a0-\u20bf]"
SPACE = "[ \u00a0\u202f]"
PREFIX = rf"{CURRENCY}{SPACE}?|(?:{CODES}|Fr|Kč|Rs|SFr|kr|zł)\.?{SPACE}"
UNIT = rf"{CURRENCY}|[%‰kKMBghlms]|°\w?|[^\W\d_]{{2}}[\w./·]*"
SUFFIX = rf"{SPACE}?(?:{UNIT})|{SPACE}[^\W\d_][\w./·]*"
NUMBER = r"\d[\d.,'\u2019 \u00a0\u202f]*?(?:[eE][+-]?\d+)?"
NUMBER_WITH_AFFIXES = re.compile(f"({PREFIX})?{NUMBER}({SUFFIX})?")
SIGNS = " \t()+-−"  # around a number with its affixes
# The thousands separators of each decimal mark.
SEPARATORS = {".": ",'\u2019 \u00a0\u202f", ",": ".'\u2019 \u00a0\u202f"}
MAX_NUMBER_LENGTH = 40
# The formats of dates other than ISO 8601, and those of times that may follow. If
# several fit, the first is taken.
DATES = (
    "%Y-%m-%d|%m/%d/%Y|%d/%m/%Y|%d.%m.%Y|%Y/%m/%d|%d-%m-%Y|%m-%d-%Y|%Y%m%d|%Y.%m.%d|"
    "%d-%b-%Y|%d %b %Y|%b %d %Y|%b %d, %Y|%d %B %Y|%B %d, %Y|%a %b %d %Y|"
    "%m/%d/%y|%d/%m/%y|%d.%m.%y|%d-%b-%y|%d %b %y|"
    "%b-%Y|%b %Y|%B %Y|%Y %b|%Y-%b|%Y-%m|%m/%Y|%Y/%m|%m.%Y|%b-%y"
)
TIMES = " %H:%M| %H:%M:%S| %H:%M:%S.%f| %I:%M %p| %I:%M:%S %p|T%H:%M:%S"
# Patterns for the directives of the formats; the others are numbers of one or two
# digits.
DIRECTIVE_PATTERNS = {
    "%Y": r"\d{4}",
    "%M": r"\d\d",
    "%f": r"\d{1,9}",
    "%a": "[A-Za-z]+",
    "%b": "[A-Za-z]+",
    "%B": "[A-Za-z]+",
    "%p": "[A-Za-z]+",
}
DAY_AND_MONTH_SWAPPED = str.maketrans("dm", "md")
MAX_DATE_FORMATS = 3  # in one column
MAX_MISTAKES = 0.1  # share of the cells of a column that may be no numbers or dates
MIN_FITTING_TEXTS = 10  # if there are mistakes
MAX_TEXTS_TO_TRY = 100  # with every format, before the likely ones are tried with all
MIN_SHARE_TO_TRY = 0.25  # of these texts that a likely format fits
WORDS_FOR_MISSING = {"", *list_words("missing")}


class Reading(NamedTuple):
    """The formats in which nearly all texts of a column are numbers, or dates.

    Attributes:
        formats: The formats; none if too many texts fit none. There are up to two of
            numbers, since 2,846 may be 2846 or 2.846: the one with a decimal point
            comes first, and None is 1234.5. There are up to `MAX_DATE_FORMATS` of
            dates, each of some of the texts.
        misfits: The texts that are in none of the formats.
        questions: Questions about the formats.
    """

    formats: Sequence[str | None] = ()
    misfits: Sequence[str] = ()
    questions: Sequence[str] = ()


def infer_number_formats(counts: Counter[str]) -> Reading:
    """Infer the formats in which nearly all texts are numbers.

    Of formats in which the numbers are the same, only the first is returned.

    Args:
        counts: How often each text occurs.
    """
    texts = [*counts]
    forms: list[str | None] = [None]
    if not all_parse_as(texts, "real"):
        forms = candidate_formats(texts)
    elif any("." in text for text in texts):
        forms.append("1.234,5")
    cells = pa.array(texts, "string")
    different_numbers = []
    misfits = {}
    n_misfits = {}
    for form in forms:
        numbers, invalid = parse(cells, Column(kind="real", format=form))
        if numbers not in different_numbers:
            different_numbers.append(numbers)
            misfits[form] = cells.filter(invalid).to_pylist()
            n_misfits[form] = sum(counts[text] for text in misfits[form])
    if not misfits:
        return Reading()
    fewest = min(n_misfits.values())
    best = [form for form in misfits if n_misfits[form] == fewest]
    form = best[0]
    if are_mistakes(misfits[form], counts):
        questions = ask_about_signs(form, texts, {*misfits[form]}) if form else []
        return Reading(best, misfits[form], questions)
    has_unit = form and NUMBER_FORMAT.sub(r"\1\4", form)
    if has_unit or 2 * fewest <= counts.total():
        return Reading(questions=[ask_kind("real", form, misfits[form])])
    return Reading()


def candidate_formats(texts: list[str]) -> list[str | None]:
    """Return the formats of numbers that may be the best one for some texts.

    Up to `MAX_TEXTS_TO_TRY` texts are tried with the affixes that most of them have.
    """
    some = choose_some(texts)
    affixes = Counter[tuple[str, str]]()
    for text in some:
        match = NUMBER_WITH_AFFIXES.fullmatch(text.strip(SIGNS)[:MAX_NUMBER_LENGTH])
        if match:
            affixes[match[1] or "", match[2] or ""] += 1
    min_fitting = MIN_SHARE_TO_TRY * len(some)
    if affixes.total() < min_fitting:
        return []
    affixes["", ""] = 0  # most texts may lack the unit that the others have
    (prefix, suffix), _ = affixes.most_common(1)[0]
    # Without a dot in the column, a later 1.234 should not be read as 1234.
    characters = {"", ",", *"".join(texts)}
    forms: list[str | None] = [None]
    forms += [
        f"{prefix}1{separator}234{mark}5{suffix}"
        for mark, separators in SEPARATORS.items()
        for separator in (*separators, "")
        if separator in characters
    ]
    n_fitting = {
        form: len(some) - parse_texts(some, "real", form).count(None) for form in forms
    }
    nearly_most = max(n_fitting.values()) - MAX_MISTAKES * len(some)
    min_fitting = max(min_fitting, nearly_most)
    return [form for form in forms if n_fitting[form] >= min_fitting]


def choose_some(texts: list[str]) -> list[str]:
    """Return up to `MAX_TEXTS_TO_TRY` texts at equal distances."""
    return texts[:: len(texts) // MAX_TEXTS_TO_TRY + 1]


def ask_about_signs(form: str, texts: list[str], misfits: set[str]) -> list[str]:
    """Ask about numbers without the unit that others have, and with a minus behind.

    Args:
        form: A number format of all texts that are no misfits.
    """
    prefix = NUMBER_FORMAT.sub(r"\1", form).strip()
    suffix = NUMBER_FORMAT.sub(r"\4", form).strip()
    texts = [text for text in texts if text not in misfits]
    bare = [text for text in texts if prefix not in text or suffix not in text]
    negative = [text for text in texts if text.strip().endswith((")", "-"))]
    questions = []
    if bare:
        questions.append(ask_text(bare[0], f"in {prefix}{suffix} too"))
    if negative:
        questions.append(ask_text(negative[0], "negative"))
    return questions


def ask_text(text: str, meaning: str) -> str:
    """Ask whether a text has a meaning, or should be replaced."""
    replace = format_yaml({text: "NEW"})
    return f"Is {text!r} {meaning}? If not, add replace: {replace}."


def choose_number_format(
    number_formats: Sequence[str | None],
    marks: set[str],
    delimiter: str,
) -> tuple[str | None, list[str]]:
    """Choose the format of a column, and ask about it if it is uncertain.

    If two formats fit, the other columns decide. If they do not tell, the delimiter
    does: files with semicolons usually have decimal commas, and files with commas have
    decimal points.

    Args:
        number_formats: One or two formats, see `infer_number_formats`.
        marks: The decimal marks of the columns that only one format fits.
        delimiter: The delimiter of the file; empty if it is not a CSV.
    """
    with_point = number_formats[0]
    if len(number_formats) == 1:
        return with_point, []
    with_comma = number_formats[1]
    if not marks and delimiter == ",":
        marks = {"."}
    elif not marks and delimiter == ";" and with_point:
        marks = {","}
    if marks == {"."}:
        return with_point, []
    if marks == {","}:
        return with_comma, []
    return with_point, [
        f"Or are the numbers written as {with_comma}? Both formats fit. Then set"
        f" format: {format_yaml(with_comma)}.",
    ]


def infer_date_formats(counts: Counter[str]) -> Reading:
    """Infer up to `MAX_DATE_FORMATS` formats in which nearly all texts are dates.

    Args:
        counts: How often each text occurs.
    """
    remaining = [*counts]
    forms = list[str]()
    alternatives = {}  # with day and month swapped
    while remaining and len(forms) < MAX_DATE_FORMATS:
        misfits = misfits_by_date_format(remaining, forms)
        if not misfits:
            break
        best = min(misfits, key=lambda form: len(misfits[form]))
        if len(misfits[best]) == len(remaining):
            break
        remaining = misfits[best]
        forms.append(best)
        for form, texts in misfits.items():
            if swap_day_and_month(best, form) and len(texts) == len(remaining):
                alternatives[best] = form
    if not forms:
        return Reading()
    if not are_mistakes(remaining, counts):
        return Reading(questions=[ask_kind("datetime", forms[0], remaining)])
    if not alternatives:
        return Reading(forms, remaining)
    swapped = [alternatives.get(form, form) for form in forms]
    value = format_yaml(swapped if len(swapped) > 1 else swapped[0])
    question = (
        f"Or are the dates written as {' or '.join(swapped)}? Both fit. Then set"
        f" format: {value}."
    )
    return Reading(forms, remaining, [question])


def misfits_by_date_format(
    texts: list[str],
    chosen: list[str],
) -> dict[str, list[str]]:
    """Return the texts that are no dates in a format, for each likely format.

    Formats that differ from a chosen one only in the order of day and month are left
    out, since 03/04/2020 would fit both.
    """
    some = [text.strip() for text in choose_some(texts)]
    misfits = {}
    for form, pattern in date_patterns().items():
        if any(swap_day_and_month(form, other) for other in chosen):
            continue
        similar = [text for text in some if pattern.fullmatch(text)]
        if len(similar) > MIN_SHARE_TO_TRY * len(some):
            dates = parse_texts(texts, "datetime", form)
            pairs = zip(texts, dates, strict=True)
            misfits[form] = [text for text, date in pairs if date is None]
    return misfits


@cache
def date_patterns() -> dict[str, re.Pattern[str]]:
    """Return the formats of dates and times, and patterns for their texts."""
    patterns = {ISO: re.compile(ISO_8601)}
    for date in ["", *DATES.split("|")]:
        for time in ["", *TIMES.split("|")]:
            form = (date + time).strip()
            pattern = re.sub(
                "%.",
                lambda directive: DIRECTIVE_PATTERNS.get(directive[0], r"\d{1,2}"),
                re.escape(form),
            )
            patterns[form] = re.compile(pattern)
    return patterns


def swap_day_and_month(form: str, other: str) -> bool:
    """Return whether two formats differ only in the order of day and month."""
    return form != other and form.translate(DAY_AND_MONTH_SWAPPED) == other


def ask_kind(kind: Kind, form: str | None, misfits: Sequence[str]) -> str:
    """Ask whether a column has numbers or dates although some texts do not fit."""
    noun = "dates" if kind == "datetime" else "numbers"
    keys: dict[str, str] = {"kind": kind}
    if form:
        keys["format"] = form
    replace = format_yaml({misfits[0]: "NEW"})
    return (
        f"Are these {noun}? Then declare {format_yaml(keys)} in columns, and for"
        f" {len(misfits)} other texts, such as {misfits[0]!r}, replace: {replace} or"
        f" missing_values: {format_yaml([misfits[0]])}."
    )


def are_mistakes(misfits: Sequence[str], counts: Counter[str]) -> bool:
    """Return whether so few texts do not fit that they are mistakes or missing."""
    if not misfits:
        return True
    n_fitting = len(counts) - len(misfits)
    n_mistakes = sum(counts[text] for text in misfits if not may_mean_missing(text))
    if n_mistakes == 0:
        return n_fitting > 1
    is_rare = n_mistakes <= MAX_MISTAKES * counts.total()
    return is_rare and n_fitting >= MIN_FITTING_TEXTS


def may_mean_missing(text: str) -> bool:
    """Return whether a text among numbers or dates stands for a missing value."""
    words = re.sub(r"[^\w+]+|_+", " ", text.casefold()).strip()
    return words in WORDS_FOR_MISSING or text == r"\N"  # of databases


def may_mean_missing_category(text: str) -> bool:
    """Return whether a text among categories stands for a missing value."""
    min_length = 3 if text.isalpha() else 2  # NA and # may be categories
    return len(text) >= min_length and may_mean_missing(text)


def all_parse_as(texts: list[str], kind: Kind, form: Format = None) -> bool:
    """Return whether all texts are values of a kind; an empty text is none."""
    return None not in parse_texts(texts, kind, form)


def parse_texts(texts: list[str], kind: Kind, form: Format = None) -> list[Any]:
    """Return the values of texts in a column of a kind, or None for invalid texts."""
    cells = pa.array(texts, "string")
    values, _ = parse(cells, Column(kind=kind, format=form))
    return values.to_pylist()
