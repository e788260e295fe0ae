"""How the texts of a column write numbers and dates."""

import re
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from tabular.config.schema import Column
from tabular.config.typed_yaml import Value
from tabular.core.errors import quoted
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
