"""The first schema of a table fits its columns, and asks about what cannot be known."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keras_tabular.config.schema import Schema, load_schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.typed_yaml import format_yaml
from keras_tabular.table.rows import parse_files
from keras_tabular.table.source import source_files
from tests.commands import call_main
from tests.helpers import read_table
from tests.tables import make_mixed_table

COMMAND = "keras_tabular.cli", "infer-schema"
LABELS = ["a", "b"] * 30
RNG = np.random.default_rng(0)
ROWS = np.arange(500)
NUMBERS = RNG.normal(size=60)
MEASURED = RNG.normal(100, 10, 500).round()
IDS = RNG.permutation(10**6)[:60]


def run_and_load(folder: Path, table: str = "t.csv", target: str = "y") -> Schema:
    """Run the command for a table in a folder, and load the schema that it writes."""
    call_main(folder, *COMMAND, table, f"--target={target}", "-o", "schema.yaml")
    return load_schema(folder / "schema.yaml")


def infer_from_frame(
    folder: Path,
    table: dict[str, Any] | pd.DataFrame,
    delimiter: str = ",",
) -> tuple[Schema, dict[str, str]]:
    """Return the schema that the command writes, and each column's comment."""
    pd.DataFrame(table).to_csv(
        folder / "t.csv",
        index=False,
        sep=delimiter,
    )
    schema = run_and_load(folder)
    comments = dict[str, str]()
    for line in (folder / "schema.yaml").read_text().splitlines():
        key, _, comment = line.strip().removeprefix("- ").partition(" # ")
        comments[key.partition(":")[0].strip('"')] = comment
    return schema, comments


def read_column(folder: Path, column: str) -> list[Any]:
    """Return the values of a column that the stage `ingest` would read."""
    (table,) = read_table(folder / "t.csv", load_schema(folder / "schema.yaml"))
    values: list[Any] = table[column].to_pylist()
    return values


def test_csv_and_parquet_files_have_the_same_schema(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    frame = make_mixed_table("binary")
    frame.to_csv(tmp_path / "t.csv", index=False)
    call_main(tmp_path, *COMMAND, "t.csv", "--target", "y", "-o", "-")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    printed = capsys.readouterr().out
    schema = run_and_load(tmp_path)
    assert (tmp_path / "schema.yaml").read_text() == printed
    assert schema.task == "binary"
    assert schema.classes == ("neg", "pos")
    assert schema.ignore == ("id",)
    assert {name: column.kind for name, column in schema.columns.items()} == {
        "cast": "real",
        "colour": "category",
        "zip/code": "category",
        "flag": "boolean",
        "count": "integer",
        "y": "category",
    }
    assert schema.columns["count"].missing_values == ("?",)
    frame.to_parquet(tmp_path / "t.parquet")
    of_parquet = run_and_load(tmp_path, "t.parquet")
    assert of_parquet.model_copy(update={"source": "t.csv"}) == schema


def test_rows_of_every_file_in_a_folder_are_read(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "1.csv").write_text("y,x\n" + "0,1\n1,2\n" * 30)
    (files / "2.csv").write_text("x,y\n" + "0.5,0\n,1\nn/a,1\n" * 30)
    x = run_and_load(tmp_path, "files").columns["x"]
    assert x.kind == "real"
    assert x.nullable is True
    assert x.missing_values == ("n/a",)
    call_main(tmp_path, *COMMAND, "files", "--target=y", "--rows=20", "-o", "few.yaml")
    file = tmp_path / "few.yaml"
    assert file.read_text().startswith("# Inferred from the first 20 rows.")
    # Ten rows of each file have been read.
    assert load_schema(file).columns["x"].kind == "real"


def test_files_of_a_folder_may_have_other_columns(tmp_path: Path) -> None:
    """They differ in columns, delimiter and encoding; all are named at once."""
    folder = tmp_path / "months"
    folder.mkdir()

    def write(name: str, header: str, encoding: str) -> None:
        text = header
        for n in range(20):
            text += f"\nKöln;{n % 9};{n % 2}"
            if "neu" in header:
                text += f";{n % 3}"
        if encoding == "utf-8":
            text = text.replace(";", ",")
        (folder / name).write_bytes(text.encode(encoding))

    write("1.csv", "Ort;Größe;y", "utf-8")
    write("2.csv", "Ort;Größe;y;neu", "cp1252")
    write("3.csv", "Ort;Fläche;y;neu", "utf-8")
    schema = run_and_load(tmp_path, "months")
    nullable = {name for name, column in schema.columns.items() if column.nullable}
    assert nullable == {"Größe", "Fläche", "neu"}
    text = (tmp_path / "schema.yaml").read_text()
    assert "Not in 3.csv. Is it named Fläche there?" in text
    assert "Not in 1.csv. Is it missing there?" in text
    table = pa.concat_tables(parse_files(source_files(str(folder)), schema))
    assert table["Ort"].unique().to_pylist() == ["Köln"]
    assert table["Größe"].null_count == 20
    assert table["Fläche"].null_count == 40
    assert table["neu"].null_count == 20
    write("4.csv", "Ort;Größe;z;neu", "utf-8")
    write("5.csv", "Ort;Grösse;y;neu", "utf-8")
    new = (
        r"4\.csv, .*missing: y; neither .*: z(?s:.*)5\.csv, .*Grösse.* Did you mean"
        r" 'Größe'\?"
    )
    with pytest.raises(UserError, match=new):
        list(parse_files(source_files(str(folder)), schema))


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
    text: str | None,
    message: str,
    tmp_path: Path,
) -> None:
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        run_and_load(tmp_path)
    assert not (tmp_path / "schema.yaml").exists()


# Texts that YAML 1.1, YAML 1.2 or people read as something else than a plain text.
TRICKY_WORDS = (
    "yes no on off y n true ~ null 1e5 1_000 0x10 0o7 12:30 = << - a: # ' "
    "'' a'b [a] {a} *a &a !a !!str %a @a `a | > --- ...  2024-01-31 1.5 "
    "0b1 .inf .nan 1. +1 source columns kind"
)
TRICKY_TEXTS = st.sampled_from(
    [
        *TRICKY_WORDS.split(),
        "- a",
        "a: b",
        "a #b",
        " a",
        '"',
        "a\nb",
        "\t",
        "\\n",
        "é",
        "\U0001f600",
        "\x85",
        "\u2028",
        "\ufeffa",
        "x" * 200,
    ],
)
TEXTS = TRICKY_TEXTS | st.text(st.characters(codec="utf-8"), max_size=6)


@given(
    st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS | st.booleans() | st.floats(-9, 9))),
)
def test_a_value_is_written_in_one_line_of_yaml(value: dict[str, Any]) -> None:
    line = format_yaml(value)
    assert len(line.split("\n")) == 1
    assert yaml.safe_load(f"key: {line} # comment") == {"key": value}
    for name in value:
        assert yaml.safe_load(f"{format_yaml(name)}: 1") == {name: 1}


def test_a_name_with_a_line_break_or_commas_does_not_hide_the_delimiter(
    tmp_path: Path,
) -> None:
    classes = ["on", "1e5", "a\nb", "#"]
    table: Any = dict.fromkeys(["12:30", "yes", "a\nb: #", "1,2,3"], NUMBERS)
    table["y"] = classes * 15
    schema, _ = infer_from_frame(tmp_path, table, ";")
    assert schema.delimiter == ";"
    assert list(schema.columns) == list(table)
    assert set(schema.classes) == set(classes)


LINES = ""
for number in range(40):
    region = "S" if number % 2 else "N"
    label = "n" if number % 3 else "y"
    LINES += f"{region};{number},5;{number * 7 % 11};{label}\n"
HEADER = "region;weight;price;y\n"
TABBED = (HEADER + LINES).replace(";", '"\t"').replace("\n", '"\n"').removesuffix('"')
LAST_LINE = (
    r"skip_lines: \[\] # Is the last line .*a total\) a row\? If not, set skip_lines:"
    r" \[-1\]\."
)
ASK_ENCODING = "set encoding: cp1250"
# A word of a file, its encoding, and a question about the encoding.
WORDS = [
    ("москва", "cp1251", ASK_ENCODING),
    ("żółty", "cp1250", ASK_ENCODING),
    ("Málaga – 5 m³", "cp1252", ""),
    ("naïve nº 1", "cp1252", ""),
]
# A file of 40 rows, its encoding, the lines that are left out, and a question about the
# table.
FILES: list[tuple[str, str, list[int], str]] = [
    (f"Sales;;;\n;;;\n{HEADER}-;[kg];1/min;\n{LINES}", "utf-16", [1, 4], "Not rows"),
    (f"{HEADER}{HEADER}{LINES}N;12\n", "utf-16", [2, 43], "Not rows"),
    (f"{HEADER}N;N/A;(missing);y\n{LINES[len('N;0,5;0;y') :]}", "utf-16", [], ""),
    (
        HEADER + LINES.replace("\n", f"\n{HEADER}", 39),
        "utf-16",
        [*range(3, 81, 2)],
        "Not rows",
    ),
    (
        f'{HEADER}{LINES}Summe;123,4;56;\n\n"Of June.";;;\n',
        "utf-16",
        [-1, -2],
        "Not rows",
    ),
    (f'"{TABBED}', "utf-16-le", [], ""),
    (f"{HEADER}{LINES}Total;123,4;56;y\n", "utf-8", [], LAST_LINE),
    (f"{HEADER}{LINES};123,4;56;\n", "utf-8", [], LAST_LINE),
    *(
        (HEADER + LINES.replace("N;", f"{word};"), encoding, [], question)
        for word, encoding, question in WORDS
    ),
]


@pytest.mark.parametrize(("text", "encoding", "skip_lines", "question"), FILES)
def test_the_form_of_a_file_is_recognised_or_asked_about(
    text: str,
    encoding: str,
    skip_lines: list[int],
    question: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    schema = run_and_load(tmp_path)
    assert schema.encoding == ("cp1252" if encoding.startswith("cp") else encoding)
    assert schema.delimiter == ("\t" if "\t" in text else ";")
    assert [*schema.skip_lines] == skip_lines
    kinds = [column.kind for column in schema.columns.values()]
    assert kinds == ["category", "real", "integer", "category"]
    assert len(read_column(tmp_path, "y")) == 40 + (question == LAST_LINE)
    head = (tmp_path / "schema.yaml").read_text().partition("columns:")[0]
    assert head.count("?") == bool(question)
    assert re.search(question, head)


DAYS, MONTHS = (pd.date_range("2020-01-01", periods=rows) for rows in (60, 500))
AMOUNTS = [f"{value:.1f}" for value in np.random.default_rng(2).gamma(3, 40, 240) + 1]
CLOCK = [f"{number // 10:02}:{number % 10:02}" for number in range(240)]
VOCABULARY = [f"word{number}" for number in range(400)]
PHRASES = [" ".join(RNG.choice(VOCABULARY, 4)) for _ in ROWS]
ZIP_CODES = [f"{10_000 + n % 99}" for n in range(240)]
MISSING = "mean missing?"
IDENTIFIER = "Is it an identifier?"
CODES = "Are these numbers? Then declare ... together?"
GENRES = ["|".join(sorted(RNG.choice([*"abcdefg"], 3))) for _ in ROWS]


def insert(text: str, step: int = 240, texts: list[str] = AMOUNTS) -> list[str]:
    """Return a column in which every `step`-th text is another one."""
    return [text if row % step == 1 else other for row, other in enumerate(texts)]


def mix(first: str, second: str) -> list[str]:
    """Return days in two formats."""
    return [f"{day:{first if day.day % 3 else second}}" for day in DAYS]


# The name of a column and its values, the kind and format that are inferred, and its
# questions.
COLUMNS: list[tuple[str, Any, str, str]] = [
    # A value far from the others stands for a missing value, or is wrong.
    ("glucose", np.where(ROWS % 15 == 0, 0, MEASURED), "real", MISSING),
    (
        "grade",
        np.where(RNG.random(500) < 0.1, 9, RNG.integers(1, 5, 500)),
        "integer",
        MISSING,
    ),
    ("age", np.where(ROWS < 5, 999, RNG.integers(18, 91, 500)), "integer", MISSING),
    (
        "wind_speed",
        np.where(ROWS == 7, 1048, MEASURED),
        "real",
        "1048 right? If not, add missing_values: [1048], nullable: true, or set max",
    ),
    (
        "depth",
        np.where(ROWS == 5, -5000, MEASURED),
        "real",
        "-5000 right? If not, add missing_values: [-5000], nullable: true, or set min",
    ),
    # But no rain, -9 degrees and the end of a long tail are plausible.
    (
        "rain",
        np.where(RNG.random(500) < 0.4, 0, RNG.exponential(3, 500).round(1)),
        "real",
        "",
    ),
    ("fahrenheit", RNG.normal(20, 15, 500).round(), "real", ""),
    ("out_of_9", RNG.integers(1, 10, 500), "integer", ""),
    ("income", RNG.lognormal(10, 1.5, 500).round(), "real", ""),
    # Values that repeat may be groups.
    (
        "customer",
        [f"C{n:04}" for n in RNG.integers(0, 695, 3000)],
        "category",
        "together? Then add group: customer",
    ),
    ("customer_id", RNG.integers(100, 160, 500), "category", "together?"),
    ("state", [f"S{number}" for number in RNG.integers(0, 50, 3000)], "category", ""),
    ("team", [f"T{n % 300 if n > 1000 else 0}" for n in range(3000)], "category", ""),
    ("price", RNG.choice(RNG.normal(size=700).round(3), 3000), "real", ""),
    # Spellings, columns that are nearly constant, and texts.
    ("colour", ["red", "Red", " red", "blue"] * 250, "category", "mean the same?"),
    ("names", ["ab", "ac"] * 500, "category", ""),
    (
        "flag",
        np.arange(1000) == 5,
        "boolean",
        "999 of 1000 rows are False. Is it useful?",
    ),
    (
        "few",
        [3.5, 4.5, *[None] * 998],
        "ignored",
        "2 of 1000 rows have a value. Can ... ?",
    ),
    ("rare", np.arange(1000) < 20, "boolean", ""),
    ("title", PHRASES, "text", ""),
    ("genres", GENRES, "text", "lists of 7 labels between | ... together?"),
    # Dates and times.
    (
        "compact",
        DAYS[:30].strftime("%Y%m%d").astype(int),
        "integer",
        'dates? ... : "%Y%m%d"',
    ),
    ("day", mix("%m/%d/%Y", "%d/%m/%Y"), "ignored", "Are these dates? ... %m/%d/%Y"),
    (
        "day",
        DAYS.strftime("%m/%d/%Y"),
        "datetime %m/%d/%Y",
        "earlier ones? Then add time: day",
    ),
    ("day", mix("%Y-%m-%d", "%d.%m.%Y"), "datetime ISO8601|%d.%m.%Y", "ones?"),
    ("created_at", 1_600_000_000 + 40_000 * ROWS, "datetime epoch", "ones?"),
    ("month", MONTHS.strftime("%b-%Y"), "datetime %b-%Y", "ones?"),
    (
        "either",
        ["03/04/2020", "05/06/2021"] * 200,
        "datetime %m/%d/%Y",
        "written as %d/%m/%Y? ... ones?",
    ),
    (
        "Kaufdatum",
        np.arange(60) * 15 + 44_564,
        "integer",
        "? Then ... datetime, format: excel}",
    ),
    ("x", insert("n. d.", 9, CLOCK), "datetime %H:%M", "day? ... missing? If not"),
    # Numbers in other clothes.
    (
        "price",
        [f"${value:,.2f}" for value in RNG.random(500) * 5000],
        "real $1,234.5",
        "",
    ),
    (
        "cost",
        [f"${10_000 + 7 * n:,}" for n in ROWS],
        "integer $1,234.5",
        "identifier? Then",
    ),
    ("x", [f"Fr. 1\u2019{a:0>5}" for a in AMOUNTS], "real Fr. 1\u2019234.5", ""),
    # Nearly numbers.
    (
        "x",
        insert("<5", 20),
        "real",
        "(t.csv, line 3) a mistake? Add replace: {<5: NEW}",
    ),
    (
        "some",
        [*(f"{value} to" for value in range(498)), "?5", "~6"],
        "integer 1,234.5 to",
        "Is '?5' (t.csv, line 500) a mistake? Add replace: {\"?5\": NEW",
    ),
    ("x", insert("k.A.", 3), "real", "'k.A.' 80 times: missing?"),
    (
        "x",
        insert("3", texts=[f"{a}%" for a in AMOUNTS]),
        "real 1,234.5%",
        "Is '3' in % too?",
    ),
    # Codes and several units are no numbers.
    (
        "code",
        [f"c{number}" for number in RNG.integers(0, 90, 500)],
        "category",
        "together?",
    ),
    (
        "x",
        [f"{n % 60}" if n % 11 else f"{n % 60}b" for n in range(240)],
        "category",
        CODES,
    ),
    (
        "x",
        insert("127.10 g", 2, [f"{a} kg" for a in AMOUNTS]),
        "text",
        "numbers? Then declare",
    ),
    ("zip_code", insert("K1A 0B1", texts=ZIP_CODES), "category", CODES),
    # Identifiers.
    *((n, IDS, "ignored", IDENTIFIER) for n in ("user_id", "Nr", "uuid", "orderNo")),
    ("row", np.arange(100, 160), "ignored", IDENTIFIER),
    ("code", [f"{number:07x}" for number in IDS], "ignored", IDENTIFIER),
    ("customer", IDS, "integer", IDENTIFIER),
    ("year", np.arange(1950, 2010), "integer", ""),
]


@pytest.mark.parametrize(("name", "values", "kind", "question"), COLUMNS)
def test_the_kind_of_a_column_is_inferred_with_a_question_or_none(
    name: str,
    values: Any,
    kind: str,
    question: str,
    tmp_path: Path,
) -> None:
    rows = max(len(values), 60)
    y = np.random.default_rng(1).permutation(np.resize(LABELS, rows))
    table = pd.DataFrame(
        {
            name: np.resize(values, rows),
            "z": np.resize(NUMBERS, rows),
            "y": y,
        },
    )
    repeated = table[:5] if "identifier" in question else table[:0]
    schema, comments = infer_from_frame(tmp_path, pd.concat([table, repeated]))
    assert_asked(comments[name], question)
    if kind == "ignored":
        assert schema.ignore == (name,)
        return
    form = schema.columns[name].format or ""
    form = form if isinstance(form, str) else "|".join(form)
    assert f"{schema.columns[name].kind} {form}".strip() == kind
    if "mistake" not in question:
        assert len(read_column(tmp_path, name)) == len(table) + len(repeated)


def assert_asked(comment: str, question: str) -> None:
    """Assert that a comment contains these questions and no other."""
    mark = re.compile(r"\?(?: |$)")
    assert len(mark.findall(comment)) == len(mark.findall(question)), comment
    for part in question.split(" ... "):
        assert part in comment


# The cells of the target, its classes, the positive one, and the questions.
TARGETS: list[tuple[Any, tuple[Any, ...], Any, str]] = [
    (["1", " 1", "0", "0 "], (0, 1), 1, ""),
    (["1", "2", "3", "3 "], (1, 2, 3), None, ""),
    (["0.0", "1.0"], ("0.0", "1.0"), "1.0", ""),
    (["01", "1"], ("01", "1"), "1", "? If not, set positive: "),
    # A frequent class is never missing.
    (["y", "spam", "ham"], ("y", "ham", "spam"), None, ""),
    (["empty", "half", "full"], ("full", "half", "empty"), None, "mean missing?"),
    (
        ["mild", "severe"] * 27 + ["none"] * 3 + ["fehlt"] * 2,
        ("mild", "severe"),
        "severe",
        "'none' 3 times, 'fehlt' 2 times: missing? If not, move it from ... ?",
    ),
    # The positive class is yes or the rarer one.
    (
        ["mit Befund", "mit Befund", "ohne Befund"],
        ("ohne Befund", "mit Befund"),
        "mit Befund",
        "",
    ),
    (["TRUE", "1", "FALSE", "0", "1"], (False, True), True, "Are these numbers?"),
    (
        ["disease", "disease", "no disease"],
        ("no disease", "disease"),
        "disease",
        "? If not, set positive: ",
    ),
    (["N", "N", "S"], ("N", "S"), "S", "? If not, set positive: "),  # not no
    # The last one is the name of the column.
    ([*["oui", "non"] * 13, "\\N", "inconnu", "y"], ("non", "oui"), "oui", "missing? "),
]


@pytest.mark.parametrize(("labels", "classes", "positive", "question"), TARGETS)
def test_the_classes_are_inferred(
    labels: list[str],
    classes: tuple[Any, ...],
    positive: Any,
    question: str,
    tmp_path: Path,
) -> None:
    table = {"x": NUMBERS, "y": np.resize(labels, 60)}
    schema, comments = infer_from_frame(tmp_path, table)
    assert schema.task == ("binary" if len(classes) == 2 else "multiclass")
    assert schema.classes == classes
    assert schema.positive == positive
    assert_asked(comments["y"], question)


def test_spellings_of_a_value_become_one(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    colours = ["red", "Red", " red", "blue", "red"] * 14
    colours += [" " * n + "Red" for n in range(30)]
    table = {"c": colours, "y": ["yes", "Yes ", "no", "NO"] * 25}
    schema, _ = infer_from_frame(tmp_path, table)
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
    delimiter: str,
    texts: list[str],
    other: list[Any],
    marks: str,
    is_asked: bool,
    tmp_path: Path,
) -> None:
    """The first of the `marks` is replaced by the second, or removed."""
    table = {"x": texts, "other": other, "y": LABELS}
    _, comments = infer_from_frame(tmp_path, table, delimiter)
    expected = [float(text.replace(marks[0], marks[1:])) for text in texts]
    assert read_column(tmp_path, "x") == expected
    assert ("Both formats fit." in comments["x"]) == is_asked


def test_columns_that_may_be_known_after_the_target_are_asked_about(
    tmp_path: Path,
) -> None:
    y = RNG.normal(10, 2, 600).round(3)
    error, noise = RNG.normal(0, 0.3, (2, 600))
    table = {
        "log": np.log(y).round(4),
        "near": y + error,
        "noise": noise,
        "y": [f"${value:.3f}" for value in y],
    }
    schema, comments = infer_from_frame(tmp_path, table)
    assert schema.task == "regression"
    columns = [name for name in table if "known before y is?" in comments[name]]
    assert columns == ["log", "near"]


def test_a_line_answers_a_question_about_several_columns(tmp_path: Path) -> None:
    names = [f"q{n}" for n in range(90)]
    table = {name: RNG.choice([1, 2, 3, 4, 99], 500) for name in names}
    _, comments = infer_from_frame(tmp_path, {**table, "y": ["a", "b"] * 250})
    assert [name for name in names if "missing?" in comments[name]] == ["q0"]
    assert "missing_values: [99], nullable: true. The same for q1, " in comments["q0"]
    file = tmp_path / "schema.yaml"
    keys = "{kind: integer, missing_values: [99], nullable: true}"
    file.write_text(file.read_text().replace("{kind: integer}", keys, 1))
    assert set(read_column(tmp_path, "q89")) == {1, 2, 3, 4, None}


def test_checks_that_will_fail_are_reported(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    visits = [*np.random.default_rng(0).poisson(4, 200), 18]
    schema, comments = infer_from_frame(tmp_path, {"x": [*range(67)] * 3, "y": visits})
    assert schema.task == "regression"
    assert "change task above to multiclass" in comments["y"]
    assert "will stop" not in capsys.readouterr().out
    animals = ["cat"] * 40 + ["dog"] * 40 + ["emu"] * 2
    numbers = [*map(str, range(81)), "1,2,3"]
    infer_from_frame(tmp_path, {"x": numbers, "y": animals})
    printed = capsys.readouterr().out
    assert (
        "`make repro` will stop. Decide:\n  x: expected integer, got '1,2,3'" in printed
    )
    assert re.search("y: 2 of 82 rows .* emu.* validate.rare_class", printed)
    person = np.repeat(np.arange(60), 10)
    labels = np.array(LABELS)[np.random.default_rng(0).permutation(60)][person]
    table = {
        "person": [f"p{n}" for n in person],
        "x": [*range(20)] * 30,
        "y": labels,
    }
    _, comments = infer_from_frame(tmp_path, table)
    assert "add group: person" in comments["person"]
    assert "person: 600 of 600 rows fail leak" in capsys.readouterr().out


def test_a_number_that_goes_on_to_new_values_in_time_is_named(tmp_path: Path) -> None:
    table = {"day": DAYS[::-1].astype(str), "x": np.arange(60) * 1.5, "y": [*"ab"] * 30}
    _, comments = infer_from_frame(tmp_path, table | {"wave": np.arange(60) % 7 + 0.5})
    assert [name for name in comments if "Most values" in comments[name]] == ["x"]


DATES = DAYS.astype(str)
PEOPLE = [f"p{n // 2}" for n in range(60)]


@pytest.mark.parametrize(
    ("columns", "proposal"),
    [
        (
            {"day": DATES, "person_id": PEOPLE},
            "time, since the rows are in the order of day;",
        ),
        ({"day": DATES[::-1]}, "time,"),
        ({"day": DATES[[*range(30), 31, 30, *range(32, 60)]]}, "time,"),  # one is late
        (
            {"birth_date": DATES, "person_id": PEOPLE},
            "group, since rows share person_id;",
        ),
        (
            {"policy": [f"p{n % 60}" for n in range(120)]},
            "group if rows with the same policy belong together",
        ),
        ({"day": DATES[np.random.default_rng(0).permutation(60)]}, "random,"),
        # The split needs the time of each row.
        ({"day": [*DATES[:59], None]}, "random,"),
        ({"opening": [f"{n // 60 + 8:02}:{n % 60:02}" for n in range(60)]}, "random,"),
    ],
)
def test_the_split_is_proposed(
    columns: dict[str, Any],
    proposal: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = len(next(iter(columns.values())))
    infer_from_frame(tmp_path, {**columns, "y": [*"ab"] * (rows // 2)})
    assert f"\nsplit.by: I would choose {proposal}" in capsys.readouterr().out
