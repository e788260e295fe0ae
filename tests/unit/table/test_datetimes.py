"""A date or a time means the same timestamp in every time zone of the machine."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from keras_tabular.config.schema import Column
from keras_tabular.table.cells import parse
from tests.helpers import build_schema, read_table

WRONG = "wrong"


def parse_texts(texts: list[str], **column: Any) -> list[Any]:
    """Parse texts to ISO 8601 in UTC; a missing text becomes None, an invalid one `WRONG`."""
    declared = Column.model_validate({"kind": "datetime"} | column)
    values, invalid = parse(pa.array(texts, pa.string()), declared)
    return [
        WRONG if is_invalid else value and f"{value:%Y-%m-%dT%H:%M:%S}"
        for value, is_invalid in zip(values.to_pylist(), invalid.to_pylist(), strict=True)
    ]


ISO_8601 = {
    "2024-05-31": "2024-05-31T00:00:00", " 2024-02-29T23:59:59.5 ": "2024-02-29T23:59:59",
    "2024-05-31 14:30": "2024-05-31T14:30:00", "2024-05-31T14:30Z": "2024-05-31T14:30:00",
    "2024-05-31T14:30:00+02:00": "2024-05-31T12:30:00",
    "2024-05-31 14:30:00-0330": "2024-05-31T18:00:00",
    "1899-12-31": "1899-12-31T00:00:00", "9999-12-31": "9999-12-31T00:00:00", "": None,
}  # fmt: skip
NO_TIMESTAMPS = (
    "2023-02-29", "2024-13-01", "2024-05-31T24:30", "2024", "20240531", "31.05.2024", "today",
    "now", "NaT", "nan", "2024-05-31 +02:00", "2024-05-31t14:30z", "0000-01-01",
    "0001-01-01T00:00+05:00",
)  # fmt: skip


DAY_FIRST = {"31.05.2024 14:30": "2024-05-31T14:30:00", "31.05.2024": WRONG, "x": WRONG}
TWELVE_HOURS = {
    "12/31/2019 11:00 PM -0500": "2020-01-01T04:00:00", "12/31/2019 23:00 PM -0500": WRONG,
}  # fmt: skip
EPOCH = {"1260759144": "2009-12-14T02:52:24", "-1.5": "1969-12-31T23:59:58", "1e15": WRONG}
BERLIN = {
    "2024-05-31 14:30": "2024-05-31T12:30:00", "2024-01-31 14:30": "2024-01-31T13:30:00",
    "2024-01-31 14:30Z": "2024-01-31T14:30:00", "2024-05-31T14+02": "2024-05-31T12:00:00",
    "2024-03-31 02:30": "2024-03-31T01:00:00",  # daylight saving time skips it
    "2024-10-27 02:30": "2024-10-27T00:30:00",  # the first of two
    "0001-01-01": WRONG,
}  # fmt: skip


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        ({}, ISO_8601 | dict.fromkeys(NO_TIMESTAMPS, WRONG)),
        ({"format": "%d.%m.%Y %H:%M"}, DAY_FIRST),
        ({"format": "%b-%Y"}, {"Mar-2018": "2018-03-01T00:00:00", "2018-03": WRONG}),
        ({"format": "%m/%d/%Y %I:%M %p %z"}, TWELVE_HOURS),
        ({"format": "epoch"}, EPOCH),
        ({"format": "epoch_ms"}, {"1260759144000": "2009-12-14T02:52:24", "x": WRONG}),
        ({"format": "excel"}, {"45292.25": "2024-01-01T06:00:00", "0": "1899-12-30T00:00:00"}),
        ({"format": "%H:%M"}, {"08:15": "1900-01-01T08:15:00", "24:15": WRONG}),
        ({"timezone": "Europe/Berlin"}, BERLIN),
        ({"timezone": "America/Sao_Paulo"}, {"2018-11-04": "2018-11-04T03:00:00"}),
        ({"timezone": "America/New_York"}, {"9999-12-31T23:00": WRONG}),
        ({"missing_values": ["never", "0000-00-00"]}, {"never": None, "0000-00-00": None}),
    ],
)
def test_a_text_is_a_timestamp(column: dict[str, Any], texts: dict[str, str | None]) -> None:
    assert {text: parse_texts([text], **column)[0] for text in texts} == texts
    assert dict(zip(texts, parse_texts([*texts], **column), strict=True)) == texts


FORMATS = ("%d.%m", "%Y %Q", "%Y %Y", "1.234,5")
OTHERS: list[dict[str, Any]] = [{"timezone": "Berlin"}, {"values": ["2024-05-31"]}, {"min": 3}]


@pytest.mark.parametrize("column", [*({"format": form} for form in FORMATS), *OTHERS])
def test_an_invalid_declaration_of_a_datetime_column_is_an_error(column: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Column.model_validate({"kind": "datetime"} | column)


def test_timestamps_of_parquet_do_not_depend_on_the_declared_format(tmp_path: Path) -> None:
    at = {"kind": "datetime", "format": "%d.%m.%Y", "timezone": "Asia/Tokyo"}
    local = pd.to_datetime(["2024-05-31 09:00", "2024-06-30 09:00"])
    for timestamps in (local, local.tz_localize("Asia/Tokyo").tz_convert("UTC")):
        pd.DataFrame({"at": timestamps, "y": [0, 1]}).to_parquet(tmp_path / "t.parquet")
        (table,) = read_table(tmp_path / "t.parquet", build_schema("binary", at=at))
        assert table["at"].to_pylist() == [*pd.to_datetime(["2024-05-31", "2024-06-30"], utc=True)]
