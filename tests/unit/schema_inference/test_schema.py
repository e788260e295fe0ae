"""The first schema of a table fits its columns, and asks about what cannot be known."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keras_tabular.config.schema import Schema, load_schema
from keras_tabular.config.typed_yaml import format_yaml
from keras_tabular.core.errors import UserError
from tests.commands import call_main
from tests.helpers import read_table
from tests.tables import make_mixed_table

COMMAND = "keras_tabular.cli.infer_schema"
NUMBERS = np.random.default_rng(0).normal(size=60)
LABELS = ["a", "b"] * 30


def run_and_load(folder: Path, table: str = "t.csv", target: str = "y") -> Schema:
    """Run the command for a table in a folder, and load the schema that it writes."""
    call_main(folder, COMMAND, table, f"--target={target}", "-o", "schema.yaml")
    return load_schema(folder / "schema.yaml")


def infer_from_frame(
    folder: Path, table: dict[str, Any] | pd.DataFrame, delimiter: str = ","
) -> tuple[Schema, dict[str, str]]:
    """Return the schema that the command writes for a table, and the comment on each column."""
    pd.DataFrame(table).to_csv(folder / "t.csv", index=False, sep=delimiter)
    schema, comments = run_and_load(folder), dict[str, str]()
    for line in (folder / "schema.yaml").read_text().splitlines():
        key, _, comment = line.strip().removeprefix("- ").partition(" # ")
        comments[key.partition(":")[0].strip('"')] = comment
    return schema, comments


def columns_with_comment(words: str, comments: dict[str, str]) -> list[str]:
    return [name for name, comment in comments.items() if words in comment]


def read_column(folder: Path, column: str) -> list[Any]:
    """Return the values of a column that the stage `ingest` would read."""
    (table,) = read_table(folder / "t.csv", load_schema(folder / "schema.yaml"))
    values: list[Any] = table[column].to_pylist()
    return values


def test_csv_and_parquet_files_have_the_same_schema(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = make_mixed_table("binary")
    frame.to_csv(tmp_path / "t.csv", index=False)
    call_main(tmp_path, COMMAND, "t.csv", "--target", "y", "-o", "-")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    printed = capsys.readouterr().out
    schema = run_and_load(tmp_path)
    assert (tmp_path / "schema.yaml").read_text() == printed
    assert (schema.task, schema.classes, schema.ignore) == ("binary", ("neg", "pos"), ("id",))
    kinds = {"cast": "real", "colour": "category", "zip/code": "category", "flag": "boolean"}
    kinds |= {"count": "integer", "y": "category"}
    assert {name: column.kind for name, column in schema.columns.items()} == kinds
    assert schema.columns["count"].missing_values == ("?",)
    frame.to_parquet(tmp_path / "t.parquet")
    assert run_and_load(tmp_path, "t.parquet").model_copy(update={"source": "t.csv"}) == schema


def test_the_default_output_is_the_schema_of_the_project(tmp_path: Path) -> None:
    """Its comments name the rows that were read, and what each column contains."""
    rows = ["x;id;y", *(f"{i % 7};{i};{'no' if i % 3 else 'yes'}" for i in range(60))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    (tmp_path / "data").mkdir()
    file = tmp_path / "data/schema.yaml"
    file.write_text("earlier: schema\n")
    call_main(tmp_path, COMMAND, "t.csv", "--target", "y")
    schema, text = load_schema(file), file.read_text()
    assert (schema.delimiter, schema.positive, schema.ignore) == (";", "yes", ("id",))
    for comment in ("all 60 rows", "values from 0 to 6", "values: no, yes", "Is it an identifier?"):
        assert comment in text


def test_rows_of_every_file_in_a_folder_are_read(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "1.csv").write_text("y,x\n" + "0,1\n1,2\n" * 30)
    (files / "2.csv").write_text("x,y\n" + "0.5,0\n,1\nn/a,1\n" * 30)
    x = run_and_load(tmp_path, "files").columns["x"]
    assert (x.kind, x.nullable, x.missing_values) == ("real", True, ("n/a",))
    call_main(tmp_path, COMMAND, "files", "--target=y", "--rows=20", "-o", "few.yaml")
    assert (tmp_path / "few.yaml").read_text().startswith("# Inferred from the first 20 rows.")
    assert load_schema(tmp_path / "few.yaml").columns["x"].kind == "real"  # ten rows of each file
    (files / "3.csv").write_text("x,y,z\n1,0,0\n")
    with pytest.raises(SystemExit, match=r"3\.csv: expected the columns of .*1\.csv\. .* has z\.$"):
        run_and_load(tmp_path, "files")


@pytest.mark.parametrize(
    ("texts", "task", "values"),
    [
        (["1", " 1", "0", "0 "], "binary", (0, 1)),
        (["1", "2", "3", "3 "], "multiclass", (1, 2, 3)),
        (["0.0", "1.0"] * 2, "binary", ("0.0", "1.0")),
        (["01", "1"] * 2, "binary", ("01", "1")),
    ],
)
def test_different_texts_for_a_value_are_one_class(
    texts: list[str], task: str, values: tuple[Any, ...], tmp_path: Path
) -> None:
    schema, _ = infer_from_frame(tmp_path, {"x": [*range(5)] * 12, "y": texts * 15})
    assert (schema.task, schema.classes) == (task, values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,a\n1,a\n", r"target: .* column y, got \['a'\]"),
        ("x,z\n1,a\n", "target: expected one of x, z, got 'y'"),
        ("x,x,y\n1,1,a\n", "t.csv, line 1: .* 'x' more than once. Rename"),
        ("x,y\n", "t.csv: expected rows"),
        ("", "t.csv: .* empty file"),
        (None, "t.csv: no such file"),
    ],
)
def test_no_schema_is_written_if_the_table_or_target_is_wrong(
    text: str | None, message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        run_and_load(tmp_path)
    assert not (tmp_path / "schema.yaml").exists()


# Texts that YAML 1.1, YAML 1.2 or people read as something else than a plain text.
TRICKY_TEXTS = st.sampled_from(
    ["yes", "no", "on", "off", "y", "n", "true", "~", "null", "1e5", "1_000", "0x10", "0o7",
     "12:30", "=", "<<", "-", "- a", "? a", ": a", "a: b", "a:", "#", "a #b", " a", "a ", "'",
     '"', "''", "a'b", "[a]", "{a}", "a, b", "*a", "&a", "!a", "!!str", "%a", "@a", "`a", "|",
     ">", "---", "...", "a\nb", "a\n\nb", "\n", "\t", "a\tb", "\\n", "é", "日本", "\U0001f600",
     "\x85", "\u2028", "\ufeffa", "\x7f", "2024-01-31", "1.5", "0b1", ".inf", ".nan", "1.", "+1",
     "source", "columns", "kind", "x" * 200]
)  # fmt: skip
TEXTS = TRICKY_TEXTS | st.text(st.characters(codec="utf-8"), max_size=6)


@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS | st.booleans() | st.floats(-9, 9))))
def test_a_value_is_written_in_one_line_of_yaml(value: dict[str, Any]) -> None:
    line = format_yaml(value)
    assert len(line.split("\n")) == 1
    assert yaml.safe_load(f"key: {line} # comment") == {"key": value}
    for name in value:
        assert yaml.safe_load(f"{format_yaml(name)}: 1") == {name: 1}


def test_a_name_with_a_line_break_or_commas_does_not_hide_the_delimiter(tmp_path: Path) -> None:
    table = dict.fromkeys(["12:30", "yes", "a\nb: #", "1,2,3"], NUMBERS)
    schema, _ = infer_from_frame(tmp_path, table | {"y": ["on", "1e5", "a\nb", "#"] * 15}, ";")
    assert (schema.delimiter, [*schema.columns]) == (";", [*table, "y"])
    assert {*schema.classes} == {"on", "1e5", "a\nb", "#"}


LINES = "".join(f"{'NS'[n % 2]};{n},5;{n * 7 % 11};{'yn'[n % 3 > 0]}\n" for n in range(40))
HEADER = "region;weight;price;y\n"
EXTRA_LINES: list[tuple[str, list[int]]] = [
    (HEADER + LINES + "\n;;;\n", []),
    (f"Sales, by region\nJune, 2024\n\n{HEADER}{LINES}", [1, 2]),
    (f"Sales;;;\n;;;\n{HEADER}-;[kg];EUR;\n{LINES}", [1, 4]),
    (f"{HEADER}{LINES}Total;123,4;56;\nSource: the office, 2024\n", [-1, -2]),
    (f"{HEADER}{LINES}(40 rows);;;\n", [-1]),
    (f"{HEADER}{HEADER}{LINES}N;12\n", [2, 43]),
    (f"{HEADER}N;N/A;(missing);y\n{LINES[len('N;0,5;0;y') :]}", []),
    ("".join(f"{HEADER}{line}\n" for line in LINES.splitlines()), [*range(3, 81, 2)]),
    (f'{HEADER}{LINES}Summe;123,4;56;\n\n"These are figures of June.";;;\n', [-1, -2]),
]


@pytest.mark.parametrize(("text", "skip_lines"), EXTRA_LINES)
def test_lines_that_are_no_rows_are_found(tmp_path: Path, text: str, skip_lines: list[int]) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))
    schema = run_and_load(tmp_path)
    assert (schema.delimiter, schema.encoding) == (";", "utf-16")
    assert [*schema.skip_lines] == skip_lines
    assert [column.kind for column in schema.columns.values()] == [
        *("category", "real", "integer", "category"),
    ]
    assert len(read_column(tmp_path, "y")) == 40


@pytest.mark.parametrize(
    ("word", "encoding", "is_asked"),
    [("москва", "cp1251", True), ("Łódź", "cp1250", True), ("żółty", "cp1250", True)]
    + [
        (word, "cp1252", False) for word in ("Málaga – 5 m³", "¿Qué?", "naïve nº 1", "Crème brûlée")
    ],
)
def test_letters_of_another_encoding_are_asked_about(
    word: str, encoding: str, is_asked: bool, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_bytes((HEADER + LINES.replace("N;", f"{word};")).encode(encoding))
    schema = run_and_load(tmp_path)
    assert schema.encoding == "cp1252"
    text = (tmp_path / "schema.yaml").read_text()
    assert ("set encoding: cp1250" in text) == is_asked


@pytest.mark.parametrize("line", ["Total;123,4;56;y\n", "Media;123,4;56;\n", ";123,4;56;\n"])
def test_a_line_that_may_be_a_row_is_kept_with_a_question(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.csv").write_text(HEADER + LINES + line)
    assert run_and_load(tmp_path).skip_lines == ()
    text = (tmp_path / "schema.yaml").read_text()
    assert "skip_lines: [] # Is the last line" in text
    assert "a total) a row? If not, set skip_lines: [-1]." in text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_tabs_between_quotes_and_utf_16_without_a_mark_are_recognised(
    encoding: str, tmp_path: Path
) -> None:
    text = (HEADER + LINES).replace(";", '"\t"').replace("\n", '"\n"').removesuffix('"')
    (tmp_path / "t.csv").write_text(f'"{text}', encoding)
    schema = run_and_load(tmp_path)
    assert (schema.delimiter, schema.encoding) == ("\t", encoding)
    assert len(read_column(tmp_path, "weight")) == 40


def test_kinds_and_formats_are_inferred(tmp_path: Path) -> None:
    """A column without a kind is ignored."""
    rng, rows = np.random.default_rng(0), 600
    y, words = rng.normal(10, 2, rows).round(3), [f"word{number}" for number in range(400)]
    days = pd.date_range("2020-01-01", periods=rows)
    genres = ["|".join(sorted(rng.choice(list("abcdefg"), 3))) for _ in range(rows)]
    columns: dict[str, tuple[Any, ...]] = {
        "row": (np.arange(5, rows + 5),),
        "price": ([f"${value:,.2f}" for value in rng.random(rows) * 5000], "real", "$1,234.5"),
        "share": ([f"{value:.0f}%" for value in rng.random(rows) * 40], "integer", "1,234.5%"),
        "weight": ([f"{n} kg" for n in rng.integers(1, 900, rows)], "integer", "1,234.5 kg"),
        "cost": ([f"${10_000 + 7 * n:,}" for n in range(rows)], "integer", "$1,234.5"),
        "user_id": ([f"{1000 + number % 70:,}" for number in range(rows)], "category", None),
        "some": (
            [*(f"{value} to" for value in range(rows - 2)), "?5", "~6"],
            "integer",
            "1,234.5 to",
        ),
        "day": (days.strftime("%m/%d/%Y"), "datetime", "%m/%d/%Y"),
        "created_at": (1_600_000_000 + 40_000 * np.arange(rows), "datetime", "epoch"),
        "month": (days.strftime("%b-%Y"), "datetime", "%b-%Y"),
        "either": (["03/04/2020", "05/06/2021", "01/02/2020"] * 200, "datetime", "%m/%d/%Y"),
        "customer_id": (rng.integers(100, 160, rows), "category", None),
        "title": ([" ".join(rng.choice(words, 4)) for _ in range(rows)], "text", None),
        "genres": (genres, "text", None),
        "plate": ([f"X{number}Y" for number in range(rows)],),
        "code": ([f"c{number}" for number in rng.integers(0, 90, rows)], "category", None),
        "log": (np.log(y).round(4), "real", None),
        "near": (y + rng.normal(0, 0.3, rows), "real", None),
        "y": (y, "real", None),
    }
    schema, comments = infer_from_frame(
        tmp_path, {n: values for n, (values, *_) in columns.items()}
    )
    expected = {name: (*kind,) for name, (_, *kind) in columns.items() if kind}
    assert {name: (c.kind, c.format) for name, c in schema.columns.items()} == expected
    assert schema.ignore == ("row", "plate")
    for words_in_comment, column in {
        "group: customer_id": "customer_id",
        "time: day": "day",
        "lists of 7 labels between |": "genres",
        "Is '?5' (t.csv, line 600) a mistake? Add replace: {\"?5\": NEW": "some",
        "written as %d/%m/%Y?": "either",
    }.items():
        assert columns_with_comment(words_in_comment, comments) == [column]
    assert columns_with_comment("known before y is?", comments) == ["log", "near"]
    assert run_and_load(tmp_path, target="cost").task == "regression"


RNG, ROWS = np.random.default_rng(0), np.arange(500)
MEASURED = RNG.normal(100, 10, 500).round()
DAYS = pd.date_range("2020-01-01", periods=60)
QUESTIONS: list[tuple[str, Any, str | None]] = [
    # A value far from the others stands for a missing value, or is wrong.
    ("glucose", np.where(ROWS % 15 == 0, 0, MEASURED), "mean missing"),
    ("longitude", np.where(ROWS < 4, 0, -MEASURED), "mean missing"),
    ("code", np.where(RNG.random(500) < 0.3, -9, RNG.integers(1, 6, 500)), "mean missing"),
    ("grade", np.where(RNG.random(500) < 0.1, 9, RNG.integers(1, 5, 500)), "mean missing"),
    ("age", np.where(ROWS < 5, 999, RNG.integers(18, 91, 500)), "mean missing"),
    ("calls", np.where(RNG.random(500) < 0.1, -1, RNG.poisson(4, 500)), "mean missing"),
    (
        "wind_speed",
        np.where(ROWS == 7, 1048, MEASURED),
        "1048 right? If not, add missing_values: [1048], nullable: true, or set max",
    ),
    (
        "depth",
        np.where(ROWS == 5, -5000, MEASURED),
        "-5000 right? If not, add missing_values: [-5000], nullable: true, or set min",
    ),
    # But no rain, -9 degrees and the end of a long tail are plausible.
    ("rain", np.where(RNG.random(500) < 0.4, 0, RNG.exponential(3, 500).round(1)), None),
    ("fahrenheit", RNG.normal(20, 15, 500).round(), None),
    ("out_of_9", RNG.integers(1, 10, 500), None),
    ("income", RNG.lognormal(10, 1.5, 500).round(), None),
    # Values that repeat may be groups.
    ("customer", [f"C{number:04}" for number in RNG.integers(0, 695, 3000)], "group: customer"),
    ("state", [f"S{number}" for number in RNG.integers(0, 50, 3000)], None),
    ("job", [f"J{number}" for number in RNG.zipf(1.5, 3000)], None),
    ("amount", RNG.gamma(2, 100, 3000).round(), None),
    ("price", RNG.choice(RNG.normal(size=700).round(3), 3000), None),
    # Spellings, columns that are nearly constant, and dates.
    ("colour", ["red", "Red", " red", "blue"] * 250, "mean the same?"),
    ("names", ["ab", "ac"] * 500, None),
    ("flag", np.arange(1000) == 5, "999 of 1000"),
    ("few", [3.5, 4.5, *[None] * 998], "2 of 1000"),
    ("rare", np.arange(1000) < 20, None),
    ("compact", DAYS[:30].strftime("%Y%m%d").astype(int), 'format: "%Y%m%d"'),
    ("day", [f"{day:%m/%d/%Y}" if day.day % 2 else f"{day:%d/%m/%Y}" for day in DAYS], "%m/%d/%Y"),
]


@pytest.mark.parametrize(("name", "values", "question"), QUESTIONS)
def test_a_column_is_asked_about_once_or_not_at_all(
    name: str, values: Any, question: str | None, tmp_path: Path
) -> None:
    rows = max(len(values), 60)
    y = np.random.default_rng(1).permutation(np.resize(LABELS, rows))
    table = {name: np.resize(values, rows), "x": np.resize(NUMBERS, rows), "y": y}
    _, comments = infer_from_frame(tmp_path, table)
    assert comments[name].count("?") == bool(question), comments[name]
    assert (question or "") in comments[name]


def test_spellings_of_a_value_become_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = [*["red", "Red", " red", "blue", "red"] * 14, *(" " * n + "Red" for n in range(30))]
    schema, _ = infer_from_frame(tmp_path, {"c": colours, "y": ["yes", "Yes ", "no", "NO"] * 25})
    assert schema.classes == ("no", "yes")
    assert {*read_column(tmp_path, "c")} == {"red", "blue"}
    assert {*read_column(tmp_path, "y")} == {"yes", "no"}
    assert "questions in these lines: 7, 8." in capsys.readouterr().out


COMMAS = [f"{value:.3f}".replace(".", ",") for value in 3 * NUMBERS]
AMBIGUOUS = ["1,234", "-2,500", "12,345"] * 20  # thousands, or decimals


@pytest.mark.parametrize(
    ("delimiter", "texts", "other", "marks", "is_asked"),
    [
        # No thousands follow a leading zero.
        (";", COMMAS, LABELS, ",.", False),
        (",", COMMAS, LABELS, ",.", False),
        # The other columns tell, then the delimiter.
        (";", AMBIGUOUS, [f"{n},5" for n in range(60)], ",.", False),
        (";", AMBIGUOUS, [f"{n}.5" for n in range(60)], ",", False),
        (";", AMBIGUOUS, [*range(60)], ",.", False),
        (",", AMBIGUOUS, [*range(60)], ",", False),
        ("\t", AMBIGUOUS, [*range(60)], ",", True),
        (";", [t.replace(",", ".") for t in AMBIGUOUS], LABELS, "..", True),
    ],
)
def test_decimal_commas_and_thousands_separators_are_told_apart(
    delimiter: str, texts: list[str], other: list[Any], marks: str, is_asked: bool, tmp_path: Path
) -> None:
    """The first of the `marks` is replaced by the second, or removed if there is no second."""
    _, comments = infer_from_frame(tmp_path, {"x": texts, "other": other, "y": LABELS}, delimiter)
    expected = [float(text.replace(marks[0], marks[1:])) for text in texts]
    assert read_column(tmp_path, "x") == expected
    assert ("Both formats fit." in comments["x"]) == is_asked


@pytest.mark.parametrize("forms", [("ISO8601", "%d.%m.%Y"), ("%d/%m/%Y", "%Y/%m/%d")])
def test_dates_may_have_several_formats(forms: tuple[str, str], tmp_path: Path) -> None:
    first, second = (form.replace("ISO8601", "%Y-%m-%d") for form in forms)
    days = [f"{day:{first if day.day % 3 else second}}" for day in DAYS]
    schema, _ = infer_from_frame(tmp_path, {"day": days, "y": LABELS})
    assert schema.columns["day"].format == forms
    assert read_column(tmp_path, "day") == [*DAYS.tz_localize("UTC")]


AMOUNTS = [f"{value:.1f}" for value in np.random.default_rng(2).gamma(3, 40, 240) + 1]
CLOCK = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(10)]


def insert(text: str, step: int = 240, texts: list[str] = AMOUNTS) -> list[str]:
    """Return a column in which every `step`-th text from the second on is another one."""
    return [text if row % step == 1 else other for row, other in enumerate(texts)]


@pytest.mark.parametrize(
    ("values", "form", "question"),
    [
        (insert("12o"), None, "Is '12o' (t.csv, line 3) a mistake? Add replace: {12o: \"120\"}"),
        (insert("140,4", 20), None, 'a mistake? Add replace: {"140,4": "140.4"}'),
        (insert("<5", 20), None, "(t.csv, line 3) a mistake? Add replace: {<5: NEW}"),
        (insert("k.A.", 3), None, "'k.A.' 80 times: missing?"),
        (insert("huge", 24), None, "'huge' 10 times: missing?"),
        (insert("-", 9), None, "'-' 27 times: missing?"),
        (insert("n. d.", 9, CLOCK), "%H:%M", "missing? If not"),
        (CLOCK, "%H:%M", "Are these times of day?"),
        (insert("3", texts=[f"{a}%" for a in AMOUNTS]), "1,234.5%", "Is '3' in % too?"),
        (insert("(7)"), "1,234.5", "Is '(7)' negative?"),
        ([f"{a}kWh" for a in AMOUNTS], "1,234.5kWh", ""),
        ([f"{a} km/h" for a in AMOUNTS], "1,234.5 km/h", ""),
        ([f"1\u00a0{a:0>5}" for a in AMOUNTS], "1\u00a0234.5", ""),
        ([f"1'{a:0>5}".replace(".", ",") for a in AMOUNTS], "1'234,5", ""),
        ([f"Fr. 1\u2019{a:0>5}" for a in AMOUNTS], "Fr. 1\u2019234.5", ""),
        ([f"{float(a):.3e}".replace(".", ",") for a in AMOUNTS], "1.234,5", ""),
    ],
)
def test_a_column_is_nearly_or_in_other_clothes_a_number(
    values: list[str], form: str | None, question: str, tmp_path: Path
) -> None:
    schema, comments = infer_from_frame(tmp_path, {"x": values, "y": LABELS * 4})
    assert schema.columns["x"].kind in ("real", "integer", "datetime")
    assert schema.columns["x"].format == form
    assert question in comments["x"]
    if "mistake" not in question:
        assert len(read_column(tmp_path, "x")) == 240


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("x", [f"A{n % 50}" for n in range(240)]),
        ("x", [f"{n % 60}" if n % 11 else f"{n % 60},{n % 7},2" for n in range(240)]),
        ("x", [f"{n % 60}" if n % 11 else f"{n % 60}b" for n in range(240)]),
        ("x", [f"{a} kg" if n % 2 else f"{a}0 g" for n, a in enumerate(AMOUNTS)]),
        ("zip_code", insert("K1A 0B1", texts=[f"{10_000 + n % 99}" for n in range(240)])),
    ],
)
def test_codes_and_several_units_are_no_numbers(
    name: str, values: list[str], tmp_path: Path
) -> None:
    schema, comments = infer_from_frame(tmp_path, {name: values, "z": AMOUNTS, "y": LABELS * 4})
    assert schema.columns[name].kind in ("category", "text")
    assert ("Are these numbers? Then declare" in comments[name]) == ("A" not in values[0])


def test_the_first_run_stops_at_a_mistake_until_a_key_is_pasted(tmp_path: Path) -> None:
    infer_from_frame(tmp_path, {"x": insert("12o"), "y": LABELS * 4})
    with pytest.raises(UserError, match=r"line 3, column x: .*\n.*replace: \{'12o': NEW\}"):
        read_column(tmp_path, "x")
    file = tmp_path / "schema.yaml"
    keys = 'replace: {12o: "120"}'
    assert keys in file.read_text()
    file.write_text(file.read_text().replace("x: {kind: real", f"x: {{kind: real, {keys}"))
    assert read_column(tmp_path, "x")[1] == 120


def test_a_missing_class_is_asked_about(tmp_path: Path) -> None:
    classes = [*np.resize(["mild", "severe"], 55), *["none"] * 3, *["fehlt"] * 2]
    schema, comments = infer_from_frame(tmp_path, {"x": NUMBERS, "y": classes})
    assert {*schema.classes} == {"mild", "severe"}
    assert "'none' 3 times, 'fehlt' 2 times: missing? If not, move it from" in comments["y"]


@pytest.mark.parametrize("classes", [("y", "spam", "ham"), ("empty", "half", "full")])
def test_a_frequent_class_is_never_missing(classes: tuple[str, ...], tmp_path: Path) -> None:
    schema, _ = infer_from_frame(tmp_path, {"x": NUMBERS, "y": np.resize(classes, 60)})
    assert {*schema.classes} == {*classes}


def test_days_of_excel_are_asked_about(tmp_path: Path) -> None:
    days = np.random.default_rng(0).permutation(np.arange(45_000, 45_060))
    _, comments = infer_from_frame(tmp_path, {"date": days, "x": NUMBERS, "y": LABELS})
    assert "declare {kind: datetime, format: excel}" in comments["date"]


@pytest.mark.parametrize(
    ("classes", "positive", "is_asked"),
    [
        (("nein", "ja", "ja"), "ja", False),
        (("mit Befund", "mit Befund", "ohne Befund"), "mit Befund", False),
        (("ei", "kyllä", "kyllä"), "kyllä", False),
        (("TRUE", "1", "FALSE", "0", "1"), True, False),
        (("disease", "disease", "no disease"), "disease", True),
        (("a", "a", "b"), "b", True),
        (("N", "N", "S"), "S", True),  # not no
        # The last one is the name of the column.
        ((*("oui", "non") * 13, "\\N", "inconnu", "y"), "oui", False),
    ],
)
def test_the_positive_class_is_yes_or_the_rarer_one(
    classes: tuple[str, ...], positive: str | bool, is_asked: bool, tmp_path: Path
) -> None:
    schema, comments = infer_from_frame(tmp_path, {"x": NUMBERS, "y": np.resize(classes, 60)})
    assert schema.positive == positive
    assert ("If not, set positive: " in comments["y"]) == is_asked


@pytest.mark.parametrize("name", ["customer_id", "Nr", "No", "key", "uuid", "orderNo"])
def test_identifiers_are_recognised_by_their_name_or_values(name: str, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).permutation(10**6)[:60]
    frame = pd.DataFrame({name: numbers, "row": np.arange(100, 160), "customer": numbers})
    frame["code"] = [f"{number:07x}" for number in numbers]
    frame = frame.assign(year=np.arange(1950, 2010), x=[*range(20)] * 3, y=LABELS)
    schema, comments = infer_from_frame(tmp_path, pd.concat([frame, frame[:5]]))
    assert schema.ignore == (name, "row", "code")
    assert columns_with_comment("Is it an identifier", comments) == ["customer", *schema.ignore]


def test_checks_that_will_fail_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    visits = [*np.random.default_rng(0).poisson(4, 200), 18]
    schema, comments = infer_from_frame(tmp_path, {"x": [*range(67)] * 3, "y": visits})
    assert schema.task == "regression"
    assert "change task above to multiclass" in comments["y"]
    assert "will stop at validate" not in capsys.readouterr().out
    animals = ["cat"] * 40 + ["dog"] * 40 + ["emu"] * 2
    infer_from_frame(tmp_path, {"x": [*range(41)] * 2, "y": animals})
    printed = capsys.readouterr().out
    assert "will stop at validate" in printed
    assert re.search("y: 2 of 82 rows .* emu.* validate.rare_class", printed)
    person = np.repeat(np.arange(60), 10)
    labels = np.array(LABELS)[np.random.default_rng(0).permutation(60)][person]
    table = {"person": [f"p{n}" for n in person], "x": [*range(20)] * 30, "y": labels}
    _, comments = infer_from_frame(tmp_path, table)
    assert "add group: person" in comments["person"]
    assert "person: 600 of 600 rows fail leak" in capsys.readouterr().out


DAYS_IN_2024 = pd.date_range("2024-01-01", periods=60).astype(str)
PEOPLE = [f"p{n // 2}" for n in range(60)]


@pytest.mark.parametrize(
    ("columns", "proposal"),
    [
        (
            {"day": DAYS_IN_2024, "person_id": PEOPLE},
            "time, since the rows are in the order of day;",
        ),
        ({"day": DAYS_IN_2024[::-1]}, "time,"),
        ({"shop": [*"ab"] * 60, "day": DAYS_IN_2024.repeat(2)}, "time,"),
        (
            {
                "day": [
                    *DAYS_IN_2024[:30],
                    *DAYS_IN_2024[31:32],
                    *DAYS_IN_2024[30:31],
                    *DAYS_IN_2024[32:],
                ]
            },
            "time,",
        ),  # one is late
        (
            {"birth_date": DAYS_IN_2024, "person_id": PEOPLE},
            "group, since rows share person_id;",
        ),
        ({"day": DAYS_IN_2024[np.random.default_rng(0).permutation(60)]}, "random,"),
        ({"day": DAYS_IN_2024[[0] * 50 + [5, 1, 9, 3, 7, 2, 8, 6, 4, 10]]}, "random,"),
        ({"day": [*DAYS_IN_2024[:59], None]}, "random,"),  # the split needs the time of each row
        ({"opening": [f"{n // 60 + 8:02}:{n % 60:02}" for n in range(60)]}, "random,"),
    ],
)
def test_the_split_is_proposed(
    columns: dict[str, Any], proposal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = len(next(iter(columns.values())))
    infer_from_frame(tmp_path, {**columns, "y": [*"ab"] * (rows // 2)})
    assert f"\nsplit.by: I would choose {proposal}" in capsys.readouterr().out
