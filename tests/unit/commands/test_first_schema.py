"""A first schema reads ordinary tables as they are meant, and asks where that is not known."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.helpers import read_table
from tests.unit.commands.test_infer_schema import described, infer


def written(folder: Path, columns: Mapping[str, Iterable[Any]], delimiter: str = ",") -> str:
    """Write a table, infer its schema, and return the text of the schema."""
    pd.DataFrame(columns).to_csv(folder / "t.csv", index=False, sep=delimiter)
    infer(folder)
    return (folder / "schema.yaml").read_text()


def ingested(folder: Path, column: str) -> list[Any]:
    """Return the values of a column as the stage `ingest` reads them."""
    schema = infer(folder)
    (table,) = read_table(folder / "t.csv", schema)
    values: list[Any] = table[column].to_pylist()
    return values


NUMBERS = np.random.default_rng(0).normal(0, 3, 60)
COMMAS = [f"{value:.3f}".replace(".", ",") for value in NUMBERS]
NO_LEADING_ZERO = [text for text in COMMAS if not text.lstrip("-").startswith("0")]
NO_LEADING_ZERO = (NO_LEADING_ZERO * 4)[:60]
LABELS = ["a", "b"] * 30


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_a_number_with_a_leading_zero_has_no_thousands(delimiter: str, tmp_path: Path) -> None:
    text = written(tmp_path, {"x": COMMAS, "y": LABELS}, delimiter)
    assert ingested(tmp_path, "x") == pytest.approx(NUMBERS, abs=5e-4)
    assert "both fit" not in text


@pytest.mark.parametrize(
    ("delimiter", "other", "comma_is_decimal", "asked"),
    [
        (";", [f"{n},5" for n in range(60)], True, False),
        (";", [f"{n}.5" for n in range(60)], False, False),
        (";", [*range(60)], True, False),
        (",", [*range(60)], False, False),
        ("\t", [*range(60)], False, True),
        ("\t", [f"{n},25" for n in range(60)], True, False),
    ],
)
def test_other_columns_and_the_delimiter_tell_decimal_commas_from_thousands(
    delimiter: str, other: list[Any], comma_is_decimal: bool, asked: bool, tmp_path: Path
) -> None:
    columns = {"x": NO_LEADING_ZERO, "other": other, "y": LABELS}
    text = written(tmp_path, columns, delimiter)
    mark = "." if comma_is_decimal else ""
    assert ingested(tmp_path, "x") == [float(cell.replace(",", mark)) for cell in NO_LEADING_ZERO]
    assert ("; or numbers written as 1.234,5? both fit" in text) == asked


def test_points_are_thousands_where_other_columns_have_decimal_commas(tmp_path: Path) -> None:
    points = [text.replace(",", ".") for text in NO_LEADING_ZERO]
    written(tmp_path, {"x": points, "share": [f"{n},5" for n in range(60)], "y": LABELS}, ";")
    assert ingested(tmp_path, "x") == [float(text.replace(".", "")) for text in points]
    assert "both fit" in written(tmp_path, {"x": points, "y": LABELS}, ";")
    assert ingested(tmp_path, "x") == [float(text) for text in points]


def test_decimal_commas_may_have_an_exponent(tmp_path: Path) -> None:
    texts = [f"{value:.4e}".replace(".", ",") for value in NUMBERS]
    written(tmp_path, {"x": texts, "y": LABELS}, ";")
    assert ingested(tmp_path, "x") == [float(text.replace(",", ".")) for text in texts]


def test_a_name_with_a_line_break_or_commas_does_not_hide_the_delimiter(tmp_path: Path) -> None:
    assert "delimiter: ;" in written(
        tmp_path, {"a\nb": NUMBERS, "1,2,3": NUMBERS, "y": LABELS}, ";"
    )


def test_numbers_that_look_like_dates_are_asked_about(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=60).strftime("%Y%m%d").astype(int)
    _, noted = described(tmp_path, {"x": days, "y": LABELS})
    assert "dates written as %Y%m%d? then kind: datetime" in noted["x"]


def test_spellings_that_differ_in_case_or_blanks_are_one_value(tmp_path: Path) -> None:
    colours = ["red", "Red", " red", "blue"] * 15
    answers = ["yes", "Yes ", "no", "NO", "yes", "no"] * 10
    text = written(tmp_path, {"colour": colours, "y": answers})
    assert "differ in case or blanks alone: one value? if not, remove them from replace" in text
    schema = infer(tmp_path)
    assert schema.classes == ("no", "yes")
    assert {*schema.columns["colour"].replace.values()} == {"red"}
    assert {*ingested(tmp_path, "colour")} == {"red", "blue"}
    assert {*ingested(tmp_path, "y")} == {"yes", "no"}


def test_a_date_column_may_have_several_formats(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=60)
    dates = [day.strftime("%Y-%m-%d" if day.day % 3 else "%d.%m.%Y") for day in days]
    schema, noted = described(tmp_path, {"day": dates, "y": LABELS})
    assert schema.columns["day"].format == ("ISO8601", "%d.%m.%Y")
    assert "60 different dates or times" in noted["day"]
    expected = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days]
    assert ingested(tmp_path, "day") == expected


def test_dates_with_day_and_month_in_both_orders_are_asked_about(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=60)
    dates = [day.strftime("%m/%d/%Y" if day.day % 2 else "%d/%m/%Y") for day in days]
    schema, noted = described(tmp_path, {"day": dates, "x": [*range(20)] * 3, "y": LABELS})
    assert schema.ignore == ("day",)
    assert "kind datetime? then change or list such cells in replace" in noted["day"]


@pytest.mark.parametrize("name", ["customer_id", "Nr", "No", "key", "uuid", "orderNo"])
def test_identifiers_are_found_by_their_name_although_rows_repeat(
    name: str, tmp_path: Path
) -> None:
    numbers = np.random.default_rng(0).permutation(10**6)[:60]
    table = pd.DataFrame({name: numbers, "x": [*range(20)] * 3, "y": LABELS})
    schema, noted = described(tmp_path, pd.concat([table, table[:5]]))
    assert schema.ignore == (name,)
    (note,) = (note for key, note in noted.items() if key.strip('"') == name)
    assert "an identifier? if not, move it to columns" in note


def test_identifiers_are_found_by_their_values(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).permutation(10**6)[:60]
    table = pd.DataFrame(
        {
            "row": np.arange(100, 160),
            "customer": numbers,
            "code": [f"{number:07x}" for number in numbers],
            "year": np.arange(1950, 2010),
            "x": [*range(20)] * 3,
            "y": LABELS,
        }
    )
    schema, noted = described(tmp_path, pd.concat([table, table[:5]]))
    assert schema.ignore == ("row", "code")
    questions = {name for name, note in noted.items() if "an identifier?" in note}
    assert questions == {"row", "code", "customer"}


def test_a_column_of_few_values_is_ignored_with_a_question(tmp_path: Path) -> None:
    few = [1.5, None, 2.5, *[None] * 57]
    schema, noted = described(tmp_path, {"few": few, "x": [*range(20)] * 3, "y": LABELS})
    assert schema.ignore == ("few",)
    assert noted["few"].startswith("2 of 60 rows have a value: of use? if so, move it to columns")


def test_a_count_is_a_number_to_predict_and_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    visits = [*np.random.default_rng(0).poisson(4, 200), 18]
    schema, noted = described(tmp_path, {"x": [*range(67)] * 3, "y": visits})
    assert schema.task == "regression"
    assert "predicted by regression, or multiclass? then change task above" in noted["y"]
    assert "will stop at validate" not in capsys.readouterr().out


def test_what_validate_would_stop_at_is_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ["cat"] * 40 + ["dog"] * 40 + ["emu"] * 2
    described(tmp_path, {"x": [*range(41)] * 2, "y": kinds})
    printed = capsys.readouterr().out
    assert (
        "`dvc repro` will stop at validate. Decide:\n  y: 2 of 82 rows fail rare_class" in printed
    )
    assert "found 2 rows of emu" in printed
    assert "validate.rare_class in params.yaml" in printed


def test_a_column_that_determines_the_target_is_ignored_with_a_question(tmp_path: Path) -> None:
    codes = ["c1" if label == "a" else "c2" for label in LABELS]
    schema, noted = described(tmp_path, {"x": [*range(15)] * 4, "code": codes, "y": LABELS})
    assert schema.ignore == ("code",)
    question = "explains 100.00% of y by itself: a copy of it? if not, move it to columns as"
    assert noted["code"].startswith(question)


def test_a_group_whose_rows_have_one_label_is_asked_about_and_not_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    person = np.repeat(np.arange(60), 10)
    labels = np.array(LABELS)[np.random.default_rng(0).permutation(60)][person]
    table = {"person": [f"p{n}" for n in person], "x": [*range(20)] * 30, "y": labels}
    schema, noted = described(tmp_path, table)
    assert "person" in schema.columns
    assert "then group: person in a line of its own above" in noted["person"]
    assert "person: 600 of 600 rows fail leak" in capsys.readouterr().out
