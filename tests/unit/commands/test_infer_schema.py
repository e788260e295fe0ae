"""A table is described as it is written, and the description is read back as it was meant."""

import csv
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tabular.errors import UserError
from tabular.params.loading import load_params
from tabular.schema import Schema, input_name, load_schema
from tabular.table.checks import check_table
from tabular.table.inference import MISSING, infer_dialect
from tests.helpers import PROJECT, call, mixed_table, read_table


def infer(folder: Path, table: str = "t.csv", target: str = "y") -> Schema:
    """What the command writes for a table in a folder, read back."""
    try:
        call(folder, "commands.infer_schema", table, f"--target={target}", "-o", "schema.yaml")
    except SystemExit as end:
        raise UserError(str(end.code)) from None
    return load_schema(folder / "schema.yaml")


def write_csv(file: Path, rows: Iterable[Iterable[str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as content:
        csv.writer(content).writerows(rows)


def test_kinds_missing_values_and_identifiers_are_recognised(tmp_path: Path) -> None:
    mixed_table("binary").to_csv(tmp_path / "t.csv", index=False)
    schema = infer(tmp_path)
    assert (schema.task, schema.classes, schema.ignore) == ("binary", ("neg", "pos"), ("id",))
    assert {name: column.kind for name, column in schema.columns.items()} == {
        "cast": "real",
        "colour": "category",
        "zip/code": "category",
        "flag": "boolean",
        "count": "integer",
        "y": "category",
    }
    assert schema.columns["count"].missing_values == ("?",)


def test_the_whole_file_is_written_with_its_comments(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    rows = ["x,id,y", *(f"{i % 7},{i},{'no' if i % 3 else 'yes'}" for i in range(60))]
    (tmp_path / "a/t.csv").write_text("\n".join(rows).replace(",", ";"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/schema.yaml").write_text("what: was there before\n")
    call(tmp_path, "commands.infer_schema", "a/t.csv", "--target", "y")
    assert (tmp_path / "data/schema.yaml").read_text() == (
        """\
# From all 60 rows. Check every comment.
source: a/t.csv
delimiter: ;
task: binary # of binary, multiclass, regression
target: y
positive: "yes" # the class to find
columns:
  x: {kind: integer} # 7 different values, 0 to 6
  y: {kind: category, values: ["no", "yes"]} # 2 different values: no, yes; the target
ignore:
  - id # a number for each row
"""
    )


def test_the_schema_goes_to_stdout_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed_table("regression").to_csv(tmp_path / "t.csv", index=False)
    call(tmp_path, "commands.infer_schema", "t.csv", "--target", "y", "-o", "-")
    (tmp_path / "s.yaml").write_text(capsys.readouterr().out)
    assert load_schema(tmp_path / "s.yaml") == infer(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.yaml", "schema.yaml", "t.csv"]


def test_zeros_far_from_the_rest_are_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("data/raw/diabetes.csv", "--target", "Outcome", "-o", "-")
    call(PROJECT, "commands.infer_schema", *arguments)
    lines = capsys.readouterr().out.splitlines()
    for column in ("Glucose", "BloodPressure", "BMI"):
        (line,) = [line for line in lines if line.strip().startswith(column)]
        assert "does 0 (" in line


def test_a_column_of_many_numbers_is_described_at_once(tmp_path: Path) -> None:
    """In time that grows with the values, not with their square; 0 and 0.0 are one number."""
    values = np.random.default_rng(0).normal(size=50_000)
    frame = pd.DataFrame({"a": values, "zero": ["0", "0.0"] * 25_000, "y": values})
    frame.to_csv(tmp_path / "t.csv", index=False)
    start = time.monotonic()
    schema = infer(tmp_path)
    assert time.monotonic() - start < 10  # below 1 on an idle machine; the square took minutes
    assert schema.columns["a"].kind == "real"


@pytest.mark.parametrize(
    ("texts", "kind", "task", "values"),
    [
        (["1", " 1", "0", "0 "], "integer", "binary", (0, 1)),
        (["true", "TRUE", "False"], "boolean", "binary", (False, True)),
        (["1", "2", "3", "3 "], "integer", "multiclass", (1, 2, 3)),
        (["0.0", "1.0"], "category", "binary", ("0.0", "1.0")),
        (["01", "1"], "category", "binary", ("01", "1")),
    ],
)
def test_two_texts_of_one_value_are_one_class(
    texts: list[str], kind: str, task: str, values: tuple[Any, ...], tmp_path: Path
) -> None:
    write_csv(
        tmp_path / "t.csv", [["x", "y"], *([f"{i % 5}", texts[i % len(texts)]] for i in range(60))]
    )
    schema = infer(tmp_path)
    assert (schema.task, schema.columns["y"].kind) == (task, kind)
    assert schema.classes == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,a\n1,a\n", "--target: y has one value or none in 2 rows; nothing to learn"),
        ("x,z\n1,a\n", "--target: found 'y'; the columns are x, z"),
        ("x,x,y\n1,1,a\n", "t.csv: line 1: found 'x' more than once; is the header missing?"),
        ("x,y\n", "t.csv: found a header and no rows; expected some"),
        ("", "t.csv: the file is empty; expected a header line"),
        ("x,y\n1\n", "t.csv: line 2: found 1 cells; expected 2"),
        (
            "x,y\n1,a\n1,b\n",
            "t.csv: columns: needs the target and at least one more column",
        ),
    ],
)
def test_what_cannot_be_described_is_named_and_nothing_is_written(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=f"^error: {re.escape(message)}$"):
        infer(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


# Texts that YAML 1.1, YAML 1.2 or people read as something else.
TRICKY = st.sampled_from(
    ["yes", "no", "on", "off", "y", "n", "true", "~", "null", "1e5", "1_000", "0x10", "0o7",
     "12:30", "=", "<<", "-", "- a", "? a", ": a", "a: b", "a:", "#", "a #b", " a", "a ", "'",
     '"', "''", "a'b", "[a]", "{a}", "a, b", "*a", "&a", "!a", "!!str", "%a", "@a", "`a", "|",
     ">", "---", "...", "a\nb", "a\n\nb", "\n", "\t", "a\tb", "\\n", "é", "日本", "\U0001f600",
     "\x85", "\u2028", "\ufeffa", "\x7f", "2024-01-31", "1.5", "0b1", ".inf", ".nan", "1.", "+1",
     "source", "columns", "kind", "x" * 200]
)  # fmt: skip
TEXTS = st.one_of(
    TRICKY, st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)
)
CLASSES = st.lists(
    TEXTS.filter(lambda text: text not in MISSING), min_size=2, max_size=4, unique=True
)


@settings(max_examples=50, deadline=None)
@given(
    names=st.lists(TEXTS, min_size=1, max_size=4, unique=True),
    target=TEXTS.filter(lambda text: text != "--"),  # argparse takes it for no value
    classes=CLASSES,
    categories=CLASSES,
    file=st.sampled_from(["t.csv", "a: b.csv", "yes", "#.csv", "é '\".csv", "1e5", "a\nb"]),
)
@example(["?0", ","], "0?", ["0?", "?0"], ["[", "]"], "t.csv")
@example(["=", "a\nb"], "yes", ["on", "off"], ["#", ": "], "t.csv")
@example(["12:30"], "1e5", ["12:30", "1e5"], ["no", "yes"], "t.csv")
def test_what_is_written_reads_back_to_the_same_names_and_values(
    names: list[str], target: str, classes: list[str], categories: list[str], file: str
) -> None:
    header = [*names, target, "number"]
    assume(len(set(map(input_name, header))) == len(header))
    assume(not header[0].startswith("\ufeff"))
    rows = [
        [*(categories[(i + j) % len(categories)] for j in range(len(names))),
         classes[i % len(classes)], f"{i % 5}.5"]
        for i in range(60)
    ]  # fmt: skip
    with TemporaryDirectory() as folder:
        table = Path(folder, file)
        write_csv(table, [header, *rows])
        assume(infer_dialect(table).delimiter == ",")
        schema = infer(Path(folder), file, target)
    assert schema.source == file
    assert schema.target == target
    assert [name for name in header if name in schema.columns] == list(schema.columns)
    assert {*schema.columns, *schema.ignore} == set(header)
    assert len(schema.columns) + len(schema.ignore) == len(header)
    if schema.columns[target].kind == "category":
        assert set(schema.classes) == set(classes)


CELLS = st.one_of(
    st.none(),
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6, allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5),
)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, st.sampled_from(["no", "yes"])), max_size=30),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3),
)
def test_any_table_ends_well_or_with_our_message(
    rows: list[tuple[Any, ...]],
    flips: list[tuple[int, int]],
) -> None:
    """Described as it is written, then read with some of its bytes flipped."""
    with TemporaryDirectory() as folder, suppress(UserError):
        table = Path(folder, "t.csv")
        pd.DataFrame(rows, columns=["a", "b", "y"]).to_csv(table, index=False)
        schema = infer(Path(folder))
        params = load_params("validate", schema=schema, path=PROJECT / "params.yaml")
        content = bytearray(table.read_bytes())
        for position, byte in flips:
            content[position % len(content)] = byte
        table.write_bytes(content)
        parts = list(read_table(table, schema))
        rows_read, checks = check_table(parts, schema, params.validate, Path(folder, "hashes"))
        assert rows_read == sum(map(len, parts))
        assert all(check.failed_rows <= max(rows_read, 1) for check in checks.values())


def test_numbers_and_dates_are_read_in_the_form_in_which_they_are_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "price": [f"${value:,.2f}" for value in rng.random(300) * 5000],
            "share": [f"{value:.0f}%" for value in rng.random(300) * 40],
            "german": [f"1.{value},5" for value in rng.integers(100, 900, 300)],
            "weight": [f"{value} kg" for value in rng.integers(1, 900, 300)],
            "some": [*(f"{value} to" for value in range(298)), "?5", "~6"],
            "day": pd.date_range("2020-01-01", periods=300).strftime("%d.%m.%Y"),
            "code": [f"a{value}" for value in rng.integers(0, 9, 300)],
            "y": rng.integers(0, 2, 300),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    columns = infer(tmp_path).columns
    forms = {name: column.format for name, column in columns.items() if column.format}
    assert forms == {
        **{"price": "$1,234.5", "share": "1,234.5%", "german": "1.234,5", "weight": "1,234.5 kg"},
        "day": "%d.%m.%Y",
    }
    lines = (tmp_path / "schema.yaml").read_text().splitlines()
    noted = {name: next(line for line in lines if name in line) for name in frame}
    assert "write them as plain numbers" in noted["some"]
    assert columns["day"].kind == "datetime"
    assert columns["code"].kind == "category"
    assert "write" not in noted["code"]


def test_only_a_value_that_stands_apart_may_mean_missing(tmp_path: Path) -> None:
    """Not a 0 for none, nor −9 degrees among others."""
    rng = np.random.default_rng(0)
    measured = rng.normal(100, 10, 500).round()
    frame = pd.DataFrame(
        {
            "glucose": np.where(rng.random(500) < 0.02, 0, measured),
            "garage": np.where(rng.random(500) < 0.4, 0, measured),
            "fahrenheit": rng.normal(20, 15, 500).round(),
            "code": np.where(rng.random(500) < 0.3, -9, rng.integers(1, 6, 500)),
            "y": rng.integers(0, 2, 500),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    infer(tmp_path)
    asked = [
        line
        for line in (tmp_path / "schema.yaml").read_text().splitlines()
        if "mean missing" in line
    ]
    assert [line.split(":")[0].strip() for line in asked] == ["glucose", "code"]


def test_dates_texts_labels_and_identifiers_are_told_apart_with_what_to_check(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    rows = 600
    y = rng.normal(10, 2, rows).round(3)
    words = [f"word{number}" for number in range(400)]
    frame = pd.DataFrame(
        {
            "row": np.arange(5, rows + 5),
            "day": pd.date_range("2020-01-01", periods=rows).strftime("%m/%d/%Y"),
            "created_at": 1_600_000_000 + 40_000 * np.arange(rows),
            "month": pd.date_range("2020-01-01", periods=rows).strftime("%b-%Y"),
            "customer_id": rng.integers(100, 160, rows),
            "title": [" ".join(rng.choice(words, 4)) for _ in range(rows)],
            "genres": ["|".join(sorted(rng.choice(list("abcdefg"), 3))) for _ in range(rows)],
            "plate": [f"X{number}Y" for number in range(rows)],
            "code": [f"c{number}" for number in rng.integers(0, 90, rows)],
            "log": np.log(y).round(4),
            "y": y,
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    schema = infer(tmp_path)
    assert {name: column.kind for name, column in schema.columns.items()} == {
        **{"day": "datetime", "created_at": "datetime", "month": "datetime"},
        **{"customer_id": "category", "title": "text", "genres": "text", "code": "category"},
        **{"log": "real", "y": "real"},
    }
    assert schema.ignore == ("row", "plate")
    formats = {name: schema.columns[name].format for name in ("day", "created_at", "month")}
    assert formats == {"day": "%m/%d/%Y", "created_at": "epoch", "month": "%b-%Y"}
    noted = {}
    for line in (tmp_path / "schema.yaml").read_text().splitlines():
        key, _, comment = line.strip().removeprefix("- ").partition(" # ")
        noted[key.partition(":")[0]] = comment
    assert (
        "then group: customer_id in a line of its own above, and split.by: group"
        in noted["customer_id"]
    )
    assert "then time: day in a line of its own above, and split.by: time" in noted["day"]
    assert "of its variance by itself: known before y is?" in noted["log"]
    assert "7 labels between |" in noted["genres"]
    assert not any("by itself" in noted[name] for name in noted if name != "log")
    (tmp_path / "t.csv").write_text("d,y\n" + "03/04/2020,1\n05/06/2021,2\n01/02/2020,3\n" * 9)
    infer(tmp_path)
    assert "; or %d/%m/%Y? both fit" in (tmp_path / "schema.yaml").read_text()


def test_numbers_in_a_form_are_one_kind_whatever_they_are_for(tmp_path: Path) -> None:
    """Prices of which each is another, identifiers with commas, and a target of two numbers."""
    frame = pd.DataFrame(
        {
            "price": [f"${10_000 + 7 * number:,}" for number in range(400)],
            "user_id": [f"{1000 + number % 90:,}" for number in range(400)],
            "y": ["1,5", "2,5"] * 200,
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    columns = infer(tmp_path).columns
    assert (columns["price"].kind, columns["price"].format) == ("integer", "$1,234.5")
    assert (columns["user_id"].kind, columns["user_id"].format) == ("category", None)
    assert columns["y"].values == ("1,5", "2,5")
    infer(tmp_path, target="price")


def test_a_parquet_file_is_described_as_the_csv_of_its_table_is(tmp_path: Path) -> None:
    frame = mixed_table("binary")
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    from_csv, from_parquet = infer(tmp_path), infer(tmp_path, "t.parquet")
    assert from_parquet.model_copy(update={"source": "t.csv"}) == from_csv


def test_one_long_cell_takes_no_longer_than_its_length(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "x,y\n" + "".join(f"{'1' * 200_000}é{i},{i % 2}\n" for i in range(9))
    )
    start = time.monotonic()
    infer(tmp_path)
    assert time.monotonic() - start < 3


def test_a_cell_that_keeps_a_column_from_being_dates_is_shown(tmp_path: Path) -> None:
    days = [*pd.date_range("2020-01-01", periods=99).strftime("%m/%d/%Y"), "1/2/2020-3/4/2020"]
    pd.DataFrame({"day": days, "y": range(100)}).to_csv(tmp_path / "t.csv", index=False)
    infer(tmp_path)
    text = (tmp_path / "schema.yaml").read_text()
    assert "most are dates as %m/%d/%Y, unlike '1/2/2020-3/4/2020'" in text
