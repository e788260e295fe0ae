"""Cells become numbers, dates and other values."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from keras_tabular.config.schema import Column, Kind
from keras_tabular.schema_inference.formats import all_parse_as
from keras_tabular.table.cells import MAX_CELL_LENGTH, parse
from tests.helpers import build_schema, read_table

# The value of a text is the same wherever it is parsed.
KINDS: tuple[Kind, ...] = ("real", "integer", "boolean", "category")
NEIGHBOUR = "\0"  # is invalid for every kind, so that its column is parsed the slow way
WRONG = "wrong"
HUGE = "9" * 400

# Whole numbers, which are the same numbers in a column of real numbers.
WHOLE = {
    "5": 5,
    "-5": -5,
    "0": 0,
    "1": 1,
    "007": 7,
    "9223372036854775807": 2**63 - 1,
    "-9223372036854775808": -(2**63),
    "09223372036854775807": 2**63 - 1,
    " 5": 5,
    " 1": 1,
    "\t 5 \t": 5,
    "0\t": 0,
}
# Numbers that are not whole, not written as whole numbers, or need more than 64 bits.
REAL = {
    "+5": 5.0,
    "5.": 5.0,
    ".5": 0.5,
    "0.0": 0.0,
    "-0.0": -0.0,
    " +1.5 ": 1.5,
    "0.30000000000000004": 0.30000000000000004,
    "3.141592653589793238462643383279": 3.141592653589793,
    "1e5": 1e5,
    "-1e-05": -1e-5,
    "1e308": 1e308,
    "5e-324": 5e-324,
    "1e-999": 0.0,
    "9223372036854775808": 2.0**63,
    " 7.0 ": 7.0,
    "9223372036854775807.0": 2.0**63,
}
TRUE = ("true", "True", "TRUE", "tRuE", " true", "\tTrue", "1", " 1")
FALSE = ("false", "False", "FALSE", "false ", "0", "0\t")
# Whole numbers as pandas writes them if values are missing.
WITH_POINT = {
    "0.0": 0,
    "1.0": 1,
    "-0.0": 0,
    "41.00": 41,
    " 7.0 ": 7,
    f"{2**63 - 1}.0": 2**63 - 1,
}
# Neither a number nor a boolean.
NO_NUMBERS = (
    "nan",
    "inf",
    "1e999",
    HUGE,
    "1.#INF",  # not finite
    "0x10",
    "1_000",
    "1,000",
    "1,5",
    "1\u00a0000",
    "1e",
    "1+2j",
    "50%",
    "<5",
    "5-",
    # digits and signs that are not ASCII
    "+",
    ".",
    "\uff15",
    "\u00bd",
    "\u22125",
    "\n5",
    "5\r\n",
    "5\u00a0",
    "\ufeff5",
    " ",
    "\t",
    "\n",  # other spaces
    "yes",
    "NA",
    '"',
    '5" nail',
    "a,b",
    "\\N",  # quotes and delimiters
    "a",
    "\U0001f600",
    "a\nb",
)
NUL = ("\0", "5\0")


def expected_values(text: str) -> dict[str, Any]:
    """Return the value of a text: None if missing, `WRONG` if invalid."""
    if text == "":
        return dict.fromkeys(KINDS)
    booleans = dict.fromkeys(TRUE, True) | dict.fromkeys(FALSE, False)
    return {
        "real": REAL.get(text, float(text) if text in WHOLE else WRONG),
        "integer": (WHOLE | WITH_POINT).get(text, WRONG),
        "boolean": booleans.get(text, WRONG),
        "category": WRONG if text in NUL else text,
    }


TEXTS = list(dict.fromkeys(["", *WHOLE, *REAL, *TRUE, *FALSE, *NO_NUMBERS, *NUL]))
EXPECTED = {
    kind: {text: expected_values(text)[kind] for text in TEXTS} for kind in KINDS
}


def check_values(values: dict[str, Any], kind: Kind) -> None:
    """Check the type and each bit of the values, since -0.0 is not 0.0."""
    expected = {text: repr(value) for text, value in EXPECTED[kind].items()}
    assert {text: repr(values[text]) for text in TEXTS} == expected


def parse_texts(texts: list[str], kind: str, **keys: Any) -> list[Any]:
    """Parse texts in a column of the kind; an invalid text becomes `WRONG`."""
    column = Column.model_validate({"kind": kind} | keys)
    values, invalid = parse(pa.array(texts, pa.string()), column)
    pairs = zip(values.to_pylist(), invalid.to_pylist(), strict=True)
    return [WRONG if is_invalid else value for value, is_invalid in pairs]


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_has_the_same_value_alone_and_next_to_an_invalid_text(
    kind: Kind,
) -> None:
    """And `infer_schema` accepts the same texts."""
    alone = {text: parse_texts([text], kind)[0] for text in TEXTS}
    check_values(alone, kind)
    with_invalid = {text: parse_texts([text, NEIGHBOUR], kind)[0] for text in TEXTS}
    check_values(with_invalid, kind)
    expected = EXPECTED[kind]
    valid = [text for text in TEXTS[1:] if expected[text] != WRONG]
    assert [text for text in TEXTS if all_parse_as([text], kind)] == valid
    assert all_parse_as(valid, kind)


def test_texts_and_numbers_may_mean_missing_and_texts_may_be_too_long() -> None:
    texts = ["?", " ? ", "0", "-0.0", "? ", "", "1"]
    values = parse_texts(texts, "real", missing_values=[0, "?", " ? "])
    assert values == [None, None, None, None, WRONG, None, 1.0]
    values = parse_texts(["false", "1"], "boolean", missing_values=[False])
    assert values == [None, True]
    values = parse_texts(["NA", "9", "x"], "category", missing_values=["NA", 9])
    assert values == [None, None, "x"]
    longest = "x" * MAX_CELL_LENGTH
    assert parse_texts([longest, f"{longest}x"], "category") == [longest, WRONG]


FORMS: dict[str, dict[str, Any]] = {
    "1.234,5": {
        "1.234,5": 1234.5,
        "1234,5": 1234.5,
        "1.234": 1234.0,
        "1.234.567,25": 1234567.25,
        " 7 ": 7.0,
        "": None,
        "1e5": 1e5,
        "5,3e-05": 5.3e-5,
        "1.23": WRONG,
        "1,234,5": WRONG,
        ",5": WRONG,
        "0.950": WRONG,
        "0x10": WRONG,
    },
    "$1,234.5": {
        "$1,234.50": 1234.5,
        "-$5": -5.0,
        "$-5": -5.0,
        "5": 5.0,
        "$": WRONG,
        "€5": WRONG,
        "$ 5": 5.0,
        "$1,2345": WRONG,
        "$" + HUGE: WRONG,
        "($1,234.50)": -1234.5,
        "$(5)": -5.0,
        "5-": -5.0,
        "−5": -5.0,
        "-(5)": WRONG,
        "1,234e5": WRONG,
        "1234e5": 1234e5,
    },
    "1234.5 %": {
        "54.8 %": 54.8,
        "54.8": 54.8,
        "54.8%": 54.8,
        "1,000 %": WRONG,
    },
    "CHF 1\u2019234.5 kWh/m2": {"CHF 1\u2019234.50 kWh/m2": 1234.5, "1234": 1234.0},
    "1 234,5 €": {
        "1 234,5 €": 1234.5,
        "1 23 €": WRONG,
        "1  234 €": WRONG,
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_a_number_in_the_format_of_its_column(form: str) -> None:
    values = parse_texts([*FORMS[form]], "real", format=form)
    assert dict(zip(FORMS[form], values, strict=True)) == FORMS[form]


@pytest.mark.parametrize(
    "form",
    ["1234", "1,234,5", "12345", "x1.234,5\0", "-1.234,5", "1.235,5"],
)
def test_a_number_format_that_does_not_show_1234_5_is_an_error(form: str) -> None:
    with pytest.raises(ValueError, match=r"expected 1234\.5 as the column writes it"):
        Column.model_validate({"kind": "real", "format": form})


# A date or a time means the same timestamp in every time zone of the machine.


def parse_times(texts: list[str], **column: Any) -> list[Any]:
    """Parse texts to ISO 8601 in UTC; None if missing, `WRONG` if invalid."""
    values = parse_texts(texts, "datetime", **column)
    return [v if v in (None, WRONG) else f"{v:%Y-%m-%dT%H:%M:%S}" for v in values]


ISO_8601 = {
    "2024-05-31": "2024-05-31T00:00:00",
    " 2024-02-29T23:59:59.5 ": "2024-02-29T23:59:59",
    "2024-05-31 14:30": "2024-05-31T14:30:00",
    "2024-05-31T14:30Z": "2024-05-31T14:30:00",
    "2024-05-31T14:30:00+02:00": "2024-05-31T12:30:00",
    "2024-05-31 14:30:00-0330": "2024-05-31T18:00:00",
    "2024-05-31T14:30:00.123456789": "2024-05-31T14:30:00",
    "1899-12-31": "1899-12-31T00:00:00",
    "9999-12-31": "9999-12-31T00:00:00",
    "": None,
}
NO_TIMESTAMPS = (
    "2023-02-29",
    "2024-13-01",
    "2024-05-31T24:30",
    "2024",
    "20240531",
    "31.05.2024",
    "today",
    "nan",
    "2024-05-31 +02:00",
    "2024-05-31t14:30z",
    "0000-01-01",
    "0001-01-01T00:00+05:00",
)


DAY_FIRST = {"31.05.2024 14:30": "2024-05-31T14:30:00", "31.05.2024": WRONG, "x": WRONG}
TWELVE_HOURS = {
    "12/31/2019 11:00 PM -0500": "2020-01-01T04:00:00",
    "12/31/2019 23:00 PM -0500": WRONG,
}
EPOCH = {
    "1260759144": "2009-12-14T02:52:24",
    "-1.5": "1969-12-31T23:59:58",
    "1e15": WRONG,
}
BERLIN = {
    "2024-05-31 14:30": "2024-05-31T12:30:00",
    "2024-01-31 14:30": "2024-01-31T13:30:00",
    "2024-01-31 14:30Z": "2024-01-31T14:30:00",
    "2024-05-31T14+02": "2024-05-31T12:00:00",
    "2024-03-31 02:30": "2024-03-31T01:00:00",  # daylight saving time skips it
    "2024-10-27 02:30": "2024-10-27T00:30:00",  # the first of two
    "0001-01-01": WRONG,
}


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        ({}, ISO_8601 | dict.fromkeys(NO_TIMESTAMPS, WRONG)),
        ({"format": "%d.%m.%Y %H:%M"}, DAY_FIRST),
        ({"format": "%b-%Y"}, {"Mar-2018": "2018-03-01T00:00:00", "2018-03": WRONG}),
        ({"format": "%m/%d/%Y %I:%M %p %z"}, TWELVE_HOURS),
        ({"format": "epoch"}, EPOCH),
        ({"format": "epoch_ms"}, {"1260759144000": "2009-12-14T02:52:24", "x": WRONG}),
        (
            {"format": "excel"},
            {"45292.25": "2024-01-01T06:00:00", "0": "1899-12-30T00:00:00"},
        ),
        ({"format": "%H:%M"}, {"08:15": "1900-01-01T08:15:00", "24:15": WRONG}),
        ({"timezone": "Europe/Berlin"}, BERLIN),
        ({"timezone": "America/Sao_Paulo"}, {"2018-11-04": "2018-11-04T03:00:00"}),
        ({"timezone": "America/New_York"}, {"9999-12-31T23:00": WRONG}),
        (
            {"missing_values": ["never", "0000-00-00"]},
            {"never": None, "0000-00-00": None},
        ),
    ],
)
def test_a_text_is_a_timestamp(
    column: dict[str, Any],
    texts: dict[str, str | None],
) -> None:
    assert {text: parse_times([text], **column)[0] for text in texts} == texts
    assert dict(zip(texts, parse_times([*texts], **column), strict=True)) == texts


@pytest.mark.parametrize(
    "column",
    [
        {"format": "%d.%m"},
        {"format": "%Y %Q"},
        {"format": "1.234,5"},
        {"timezone": "Berlin"},
        {"values": ["2024-05-31"]},
        {"min": 3},
    ],
)
def test_an_invalid_declaration_of_a_datetime_column_is_an_error(
    column: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError):
        Column.model_validate({"kind": "datetime"} | column)


def test_timestamps_of_parquet_do_not_depend_on_the_declared_format(
    tmp_path: Path,
) -> None:
    at = {"kind": "datetime", "format": "%d.%m.%Y", "timezone": "Asia/Tokyo"}
    local = pd.to_datetime(["2024-05-31 09:00", "2024-06-30 09:00"])
    expected = pd.to_datetime(["2024-05-31", "2024-06-30"], utc=True)
    for timestamps in (local, local.tz_localize("Asia/Tokyo").tz_convert("UTC")):
        pd.DataFrame({"at": timestamps, "y": [0, 1]}).to_parquet(tmp_path / "t.parquet")
        (table,) = read_table(tmp_path / "t.parquet", build_schema("binary", at=at))
        assert table["at"].to_pylist() == list(expected)
