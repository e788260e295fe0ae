"""Infer the formats in which the texts of a column write numbers and dates."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import ISO, NUMBER_FORMAT, Column, Format, Kind
from keras_tabular.config.typed_yaml import format_yaml
from keras_tabular.infer.words import list_words
from keras_tabular.table.cells import ISO_8601, parse

# What may precede and follow a number: currencies, percent and units. Letters in front
# need a space, since p12 is a code, and so do most single letters behind.
CODES = (  # of ISO 4217, since other capitals, such as SKU 007, are those of a code
    "AED|AUD|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KES|KRW|MXN|"
    "MYR|NGN|NOK|NZD|PEN|PHP|PKR|PLN|QAR|RM|RON|RSD|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR"
)
CURRENCY = r"[^\W\d_]{0,3}[$£¥¢\u20a0-\u20bf]"
SPACE = "[ \u00a0\u202f]"
AFFIXES = re.compile(
    rf"((?:{CURRENCY}{SPACE}?|(?:{CODES}|Fr|Kč|Rs|SFr|kr|zł)\.?{SPACE}))?"
    r"\d[\d.,'\u2019 \u00a0\u202f]*?(?:[eE][+-]?\d+)?"
    rf"({SPACE}?(?:{CURRENCY}|[%‰kKMBghlms]|°\w?|[^\W\d_]{{2}}[\w./·]*)|{SPACE}[^\W\d_][\w./·]*)?",
)
# The thousands separators of each decimal mark.
SEPARATORS = {".": ",'\u2019 \u00a0\u202f", ",": ".'\u2019 \u00a0\u202f"}
MAX_NUMBER_LENGTH = 40
# The formats of dates other than ISO 8601, and those of times that may follow. If
# several fit, the first is taken.
DATES = (
    "%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d",
    "%Y.%m.%d",
    "%d-%b-%Y", "%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%a %b %d %Y",
    "%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d-%b-%y", "%d %b %y",
    "%b-%Y", "%b %Y", "%B %Y", "%Y %b", "%Y-%b", "%Y-%m", "%m/%Y", "%Y/%m", "%m.%Y", "%b-%y",
)  # fmt: skip
TIMES = (
    "",
    " %H:%M",
    " %H:%M:%S",
    " %H:%M:%S.%f",
    " %I:%M %p",
    " %I:%M:%S %p",
    "T%H:%M:%S",
)
DIRECTIVE_PATTERNS = {"Y": r"\d{4}", "M": r"\d\d", "f": r"\d{1,9}"}
DIRECTIVE_PATTERNS |= dict.fromkeys("aAbBp", "[A-Za-z]+")
DAY_AND_MONTH_SWAPPED = str.maketrans("dm", "md")
MAX_DATE_FORMATS = 3  # in one column
MAX_MISTAKES = 0.1  # share of the cells of a column that may be no numbers or dates
MIN_FITTING_TEXTS = 10  # if there are mistakes
MIN_SHARE_TO_TRY = (
    0.25  # of some of the texts, in which a format may be that of the column
)
MAX_TEXTS_TO_TRY = 100
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


def may_mean_missing(text: str) -> bool:
    """Return whether a text stands for a missing value if the other cells are numbers or dates."""
    words = re.sub(r"[^\w+]+|_+", " ", text.casefold()).strip()
    return words in WORDS_FOR_MISSING or text == r"\N"  # of databases


def may_mean_missing_category(text: str) -> bool:
    """Return whether a text stands for a missing value among categories, which # may be."""
    return may_mean_missing(text) and len(text) > (2 if text.isalpha() else 1)


def are_mistakes(misfits: Sequence[str], counts: Counter[str]) -> bool:
    """Return whether so few texts do not fit that they are mistakes or missing values."""
    n_mistakes = sum(counts[text] for text in misfits if not may_mean_missing(text))
    n_fitting = len(counts) - len(misfits)
    is_rare = (
        n_fitting >= MIN_FITTING_TEXTS and n_mistakes <= MAX_MISTAKES * counts.total()
    )
    return not misfits or (n_fitting > 1 and (not n_mistakes or is_rare))


def all_parse_as(texts: list[str], kind: Kind, form: str | None = None) -> bool:
    """Return whether all texts are values of a kind; an empty text is none."""
    return None not in parse_texts(texts, kind, form)


def parse_texts(texts: list[str], kind: Kind, form: Format = None) -> list[Any]:
    """Return the values of texts in a column of a kind. A text that is no such value gets None."""
    column = Column(kind=kind, format=form)
    return parse(pa.array(texts, pa.string()), column)[0].to_pylist()


def infer_number_formats(counts: Counter[str]) -> Reading:
    """Infer the formats in which nearly all texts are numbers, if the numbers differ between them.

    Args:
        counts: How often each text occurs.
    """
    cells = pa.array([*counts], pa.string())
    forms = list[str | None]([None])
    plain = parse(cells, Column(kind="real"))
    if pc.any(plain[1]).as_py():
        forms = candidate_formats([*counts])
    elif any("." in text for text in counts):
        forms.append("1.234,5")
    misfits = dict[str | None, list[str]]()
    numbers = list[pa.Array]()
    for form in forms:
        values, invalid = (
            parse(cells, Column(kind="real", format=form)) if form else plain
        )
        if not any(values.equals(other) for other in numbers):
            numbers.append(values)
            misfits[form] = cells.filter(invalid).to_pylist()
    n_misfits = {form: sum(counts[text] for text in misfits[form]) for form in misfits}
    best = [form for form in misfits if n_misfits[form] == min(n_misfits.values())]
    if not best:
        return Reading()
    form = best[0]
    texts = misfits[best[0]]
    if are_mistakes(texts, counts):
        return Reading(best, texts, ask_about_signs(form, [*counts]) if form else ())
    has_unit = bool(form and NUMBER_FORMAT.sub(r"\1\4", form))
    is_asked = has_unit or 2 * n_misfits[form] <= counts.total()
    return Reading(questions=[ask_kind("real", form, texts)] if is_asked else ())


def candidate_formats(texts: list[str]) -> list[str | None]:
    """Return the formats in which some of the texts are numbers, as far as they may be the best."""
    some = texts[:: len(texts) // MAX_TEXTS_TO_TRY + 1]
    starts = [text.strip(" \t()+-−")[:MAX_NUMBER_LENGTH] for text in some]
    affixes = [
        match.groups("") for start in starts if (match := AFFIXES.fullmatch(start))
    ]
    if len(affixes) < MIN_SHARE_TO_TRY * len(some):
        return []
    before, after = max(affixes, key=lambda pair: (any(pair), affixes.count(pair)))
    letters = {*"".join(texts), *",."}
    forms: list[str | None] = [None]
    for mark, separators in SEPARATORS.items():
        forms += [f"{before}1{s}234{mark}5{after}" for s in separators if s in letters]
    fitting = {
        form: len(some) - parse_texts(some, "real", form).count(None) for form in forms
    }
    needed = max(fitting.values()) - MAX_MISTAKES * len(some)
    return [
        form
        for form in forms
        if fitting[form] >= max(needed, MIN_SHARE_TO_TRY * len(some))
    ]


def ask_about_signs(form: str, texts: list[str]) -> list[str]:
    """Ask about numbers without the unit that others have, and with a minus behind.

    Args:
        form: A number format of nearly all texts.
    """
    numbers = parse_texts(texts, "real", form)
    texts = [
        text for text, number in zip(texts, numbers, strict=True) if number is not None
    ]
    before, after = (
        affix.strip() for affix in NUMBER_FORMAT.sub(r"\1\n\4", form).split("\n")
    )
    bare = [text for text in texts if before not in text or after not in text]
    negative = [text for text in texts if text.strip()[-1:] in ")-"]
    return [
        f"Is {odd[0]!r} {what}? If not, add replace: {format_yaml({odd[0]: 'NEW'})}."
        for odd, what in ((bare, f"in {before}{after} too"), (negative, "negative"))
        if odd
    ]


def ask_kind(kind: Kind, form: str | None, misfits: Sequence[str]) -> str:
    """Ask whether a column is one of numbers or dates although some texts do not fit."""
    noun = "dates" if kind == "datetime" else "numbers"
    keys = format_yaml({"kind": kind} | ({"format": form} if form else {}))
    replace = format_yaml({misfits[0]: "NEW"})
    missing = format_yaml([misfits[0]])
    rest = f"{len(misfits)} other texts, such as {misfits[0]!r}"
    advice = f"replace: {replace} or missing_values: {missing}"
    return (
        f"Are these {noun}? Then declare {keys} in columns, and for {rest}, {advice}."
    )


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
    with_point, *alternatives = number_formats
    if not alternatives:
        return with_point, []
    with_comma = alternatives[0]
    usual_marks = {",": ".", ";": "," if with_point else ""}
    known_marks = marks or {usual_marks.get(delimiter, "")}
    if known_marks in ({"."}, {","}):
        return (with_point if "." in known_marks else with_comma), []
    question = (
        f"Or are the numbers written as {with_comma}? Both formats fit. Then set"
        " format:"
    )
    return with_point, [f"{question} {format_yaml(with_comma)}."]


def infer_date_formats(counts: Counter[str]) -> Reading:
    """Infer up to `MAX_DATE_FORMATS` formats in which nearly all texts are dates or times.

    Formats that differ only in the order of day and month are not combined, since
    03/04/2020 would fit both.

    Args:
        counts: How often each text occurs.
    """
    remaining = [*counts]
    forms = list[str]()
    alternatives = dict[str, str]()
    while remaining and len(forms) < MAX_DATE_FORMATS:
        some = [
            text.strip()
            for text in remaining[:: len(remaining) // MAX_TEXTS_TO_TRY + 1]
        ]
        rests = {}
        for form, pattern in date_patterns().items():
            is_allowed = not any(swap_day_and_month(form, other) for other in forms)
            n_similar = (
                sum(bool(pattern.fullmatch(text)) for text in some) if is_allowed else 0
            )
            if n_similar > MIN_SHARE_TO_TRY * len(some):
                dates = parse_texts(
                    [text.strip() for text in remaining],
                    "datetime",
                    form,
                )
                texts = zip(remaining, dates, strict=True)
                rests[form] = [text for text, date in texts if date is None]
        best = min(rests, key=lambda form: len(rests[form]), default="")
        if not best or len(rests[best]) == len(remaining):
            break
        remaining = rests[best]
        forms.append(best)
        for form, rest in rests.items():
            if swap_day_and_month(best, form) and len(rest) == len(remaining):
                alternatives[best] = form
    if not forms:
        return Reading()
    if are_mistakes(remaining, counts):
        swapped = [alternatives.get(form, form) for form in forms]
        question = (
            f"Or are the dates written as {' or '.join(swapped)}? Both fit. Then set"
            " format:"
        )
        question += f" {format_yaml(swapped if len(swapped) > 1 else swapped[0])}."
        return Reading(forms, remaining, [question] if alternatives else ())
    return Reading(questions=[ask_kind("datetime", forms[0], remaining)])


@cache
def date_patterns() -> dict[str, re.Pattern[str]]:
    """Return the formats of dates, with and without times, and patterns for their texts."""
    patterns = {ISO: re.compile(ISO_8601)}
    for form in ((date + time).strip() for date in ("", *DATES) for time in TIMES):
        parts = [
            DIRECTIVE_PATTERNS.get(name, r"\d{1,2}")
            for name in re.findall("%(.)", form)
        ]
        patterns[form] = re.compile(re.sub("%.", "{}", re.escape(form)).format(*parts))
    return patterns


def swap_day_and_month(form: str, other: str) -> bool:
    """Return whether two formats differ only in the order of day and month."""
    return form != other and form.translate(DAY_AND_MONTH_SWAPPED) == other
