"""What a page writes for a value."""

from tabular.report import formats


def test_a_range_is_of_numbers_or_of_dates() -> None:
    assert formats.range_of({"min": 0.5, "max": 12000.0}) == "0.5 to 12,000"
    dates = {"min": "2020-01-01", "max": "2021-12-31 14:05:00"}
    assert formats.range_of(dates) == "2020-01-01 to 2021-12-31 14:05:00"
    assert formats.range_of({"kind": "string"}) == ""
