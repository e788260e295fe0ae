"""New rows are predicted in their order, whatever file they come from and go to."""

import gzip
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import make_friedman1

from tabular.evaluation.temperature import tempered
from tabular.model.metadata import read_metadata
from tabular.model.saved_model import read_model
from tabular.report.network import read_networks
from tabular.schema import load_schema
from tabular.table.arrays import feature_arrays
from tests.helpers import COMMANDS, PROJECT, call, run, table_of, trained_project

Tables = Callable[[str], Path]
COMMAND = f"{sys.executable} -m commands.predict --model models/model.keras"


def predict(folder: Path, *arguments: str) -> None:
    call(folder, "commands.predict", *arguments)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Folders in which the pipeline has run, with short trainings, once for each table."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = trained_project(tmp_path_factory.mktemp(name), table_of(name))
        return made[name]

    return make


@pytest.fixture
def words(tables: Tables) -> Path:
    """The folder of a binary table with all kinds of columns."""
    return tables("words")


OUTPUTS = {
    "words": ["probability_pos"],
    "wine": ["probability_0", "probability_1", "probability_2"],
    "values": ["predicted"],
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_rows_of_the_test_set_get_the_numbers_that_evaluate_saw(tables: Tables, name: str) -> None:
    """Bit for bit, read from a CSV whose columns are in another order, or its rows."""
    folder = tables(name)
    schema = load_schema(folder / "data/schema.yaml")
    rows = pq.read_table(folder / "data/split/test").select([*schema.features][::-1])
    pa_csv.write_csv(rows, folder / "test.csv")
    predict(folder, "test.csv", "-o", "predictions.csv")
    predictions = pd.read_csv(folder / "predictions.csv")
    seen = pd.read_parquet(folder / "data/predictions")
    numbers = predictions[OUTPUTS[name]].to_numpy(np.float32)
    assert numbers.tobytes() == seen.filter(like="output_").to_numpy().tobytes()
    turned = rows.take(np.arange(len(rows))[:0:-1])  # all but the first
    pa_csv.write_csv(turned, folder / "test.csv")
    predict(folder, "test.csv", "-o", "predictions.parquet")
    again = pq.read_table(folder / "predictions.parquet").select(OUTPUTS[name]).to_pandas()
    assert again.to_numpy()[::-1].tobytes() == numbers[1:].tobytes()
    if name != "values":
        indices = numbers.argmax(axis=1) if name == "wine" else (numbers[:, 0] >= 0.5).astype(int)
        assert predictions["predicted"].tolist() == np.array(schema.classes)[indices].tolist()


def test_a_value_has_an_interval_that_holds_as_many_as_was_asked(tables: Tables) -> None:
    """What evaluate says of the test rows is what predict gives for them."""
    folder = tables("values")
    schema = load_schema(folder / "data/schema.yaml")
    rows = pq.read_table(folder / "data/split/test")
    pa_csv.write_csv(rows.select([*schema.features]), folder / "test.csv")
    predict(folder, "test.csv", "-o", "predictions.csv")
    found = pd.read_csv(folder / "predictions.csv")
    assert (found["low"] < found["predicted"]).all()
    assert (found["predicted"] < found["high"]).all()
    inside = rows[schema.target].to_pandas().between(found["low"], found["high"]).mean()
    interval = json.loads((folder / "metrics/scores.json").read_text())["interval"]
    assert interval["coverage"] == pytest.approx(inside, abs=0.006)
    assert interval["coverage_low"] < interval["asked"] == 0.9 < interval["coverage_high"]
    width = (found["high"] - found["low"]).mean()
    assert interval["mean_width"] == pytest.approx(width, rel=1e-5)


def test_a_row_has_the_same_bits_among_few_and_many_whichever_came_first(tmp_path: Path) -> None:
    """Of a model that reads dates, texts and many categories."""
    rng = np.random.default_rng(0)
    rows = 900
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=rows),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, rows), "D"),
            "who": rng.choice([f"name {n}" for n in range(40)], rows),
            "said": [
                " ".join(rng.choice(["late", "kind", "broken", "box"], 9)) for _ in range(rows)
            ],
        }
    )
    frame["y"] = 3 * frame["x"] + frame["said"].str.count("late") + rng.normal(size=rows)
    folder = trained_project(tmp_path / "project", frame)
    schema = load_schema(folder / "data/schema.yaml")
    table = pq.read_table(folder / "data/validated").slice(0, 500)
    few, many = (feature_arrays(table.slice(0, count), schema) for count in (5, 500))
    first, second = (read_model(folder / "models/model.keras") for _ in range(2))
    one, two = first.predict(few), first.predict(many)
    three, four = second.predict(many), second.predict(few)
    assert two.tobytes() == three.tobytes()
    assert one.tobytes() == four.tobytes() == two[:5].tobytes()


def test_so_many_values_of_new_rows_are_in_their_intervals_as_was_asked(tmp_path: Path) -> None:
    """Of 4,000 rows that nothing was learnt from, whose errors are larger where values are."""
    rng = np.random.default_rng(0)
    x, y = make_friedman1(6000, random_state=0)
    frame = pd.DataFrame(x, columns=[f"x{n}" for n in range(10)])
    frame["y"] = y + rng.normal(size=len(y)) * y / 10
    folder = trained_project(tmp_path / "project", frame[:2000])
    frame[2000:].to_csv(folder / "new.csv", index=False)
    predict(folder, "new.csv", "-o", "out.csv")
    found = pd.read_csv(folder / "out.csv")
    inside = frame["y"][2000:].reset_index(drop=True).between(found["low"], found["high"])
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    ordered = inside[found["predicted"].argsort()].to_numpy()
    for part in np.array_split(ordered, 4):  # of low and of high values alike
        assert part.mean() == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("name", ["words", "wine"])
def test_a_temperature_is_in_the_saved_model_and_in_all_scores(
    tables: Tables, name: str, tmp_path: Path
) -> None:
    """Plain Keras gives the same, and no class changes."""
    folder = tmp_path / "project"
    shutil.copytree(tables(name), folder, symlinks=True)
    before = pd.read_parquet(folder / "data/predictions").filter(like="output_").to_numpy()
    scores = json.loads((folder / "metrics/scores.json").read_text())
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("temperature: auto", "temperature: 2"))
    for stage in ("calibrate", "evaluate"):
        _, _, script, *arguments = COMMANDS[stage]
        call(folder, script, *arguments)
    after = pd.read_parquet(folder / "data/predictions").filter(like="output_").to_numpy()
    np.testing.assert_allclose(after, tempered(before, 2.0), atol=1e-6)
    cooler = json.loads((folder / "metrics/scores.json").read_text())
    assert cooler["calibration"] == {"temperature": 2.0}
    for rows in ("test", "cross_validation"):
        assert cooler[rows]["loss_low"] != scores[rows]["loss_low"]
        assert cooler[rows]["balanced_accuracy"] == scores[rows]["balanced_accuracy"]
    import keras

    schema = load_schema(folder / "data/schema.yaml")
    plain = keras.models.load_model(folder / "models/model.keras", safe_mode=True)
    columns = feature_arrays(pq.read_table(folder / "data/split/test"), schema)
    np.testing.assert_allclose(plain.predict_on_batch(columns), after, atol=1e-6)
    assert read_networks((folder / "models/model.keras").read_bytes())


ROWS = """y,count,flag,zip/code,id,colour,cast
?,5,true,00123,007,red,0.25
pos,?,False,99999,"a, b",,
,-3,0,00456,,mauve,1e-3
"""


def test_files_and_streams_of_all_kinds_agree(words: Path, tmp_path: Path) -> None:
    """Identifiers stay texts, rows keep their order, the target is not looked at."""
    (tmp_path / "new.csv").write_text(ROWS)
    (tmp_path / "new.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    frame = pd.read_csv(tmp_path / "new.csv", dtype={"zip/code": str, "id": str}, na_values="?")
    frame.to_parquet(tmp_path / "new.parquet", index=False)
    for source in ("new.csv", "new.csv.gz", "new.parquet"):
        for output in ("predictions.csv", "predictions.csv.gz", "predictions.parquet"):
            predict(words, str(tmp_path / source), "-o", str(tmp_path / source) + output)
    text = (tmp_path / "new.csvpredictions.csv").read_text()
    assert re.fullmatch(
        r"""id,predicted,probability_pos
007,(pos|neg),0\.\d+
"a, b",(pos|neg),0\.\d+
,(pos|neg),0\.\d+
""",
        text,
    )
    for source in ("new.csv", "new.csv.gz", "new.parquet"):
        predictions = str(tmp_path / source) + "predictions"
        assert Path(f"{predictions}.csv").read_text() == text
        assert gzip.decompress(Path(f"{predictions}.csv.gz").read_bytes()).decode() == text
        table = pq.read_table(f"{predictions}.parquet")
        assert table["id"].to_pylist()[:2] == ["007", "a, b"]
        assert table["probability_pos"].cast(pa.string()).to_pylist() == [
            line.rsplit(",", 1)[1] for line in text.splitlines()[1:]
        ]
    piped = run(words, "bash", "-c", f"{COMMAND} < {tmp_path}/new.csv.gz | cat")
    new = "1 of 3 rows hold a category that the model does not know:"
    said = f"warn: colour: {new} 'mauve' (1)\nwarn: zip/code: {new} '99999' (1)\n"
    assert (piped.stdout, piped.stderr) == (text, said)


def test_a_reader_that_goes_away_ends_it_without_a_word(words: Path, tmp_path: Path) -> None:
    rows = (ROWS + ROWS.split("\n", 1)[1] * 5000).replace("99999", "00123")
    (tmp_path / "new.csv").write_text(rows)
    command = f"cat {tmp_path}/new.csv | {COMMAND} --rejects {tmp_path}/rejects.csv"
    done = run(words, "bash", "-c", f"{command} | head -1; echo ${{PIPESTATUS[1]}}")
    assert (done.stdout, done.stderr) == ("row,id,predicted,probability_pos\n141\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_a_model_alone_is_all_that_predicting_takes(words: Path, tmp_path: Path) -> None:
    """In an empty folder: the same answers, the same checks, and nothing left behind."""
    (tmp_path / "rows.csv").write_text(ROWS.replace("99999", "00123").replace("mauve", "red"))
    predict(words, str(tmp_path / "rows.csv"), "-o", str(tmp_path / "predictions.csv"))
    shutil.copy(words / "models/model.keras", tmp_path / "m.keras")
    alone = ("python", "-m", "commands.predict", "m.keras", "rows.csv")
    done = run(tmp_path, *alone, PYTHONPATH=str(PROJECT))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (tmp_path / "predictions.csv").read_text()
    (tmp_path / "rows.csv").write_text(ROWS.replace("0.25", "cold"))
    done = run(tmp_path, *alone, PYTHONPATH=str(PROJECT))
    assert done.returncode == 1
    assert "rows.csv: line 2, column cast: found 'cold'; expected a finite number" in done.stderr
    metadata = read_metadata((tmp_path / "m.keras").read_bytes())
    assert metadata["trained_on"]["rows"] == len(pd.read_parquet(words / "data/split/train"))
    assert metadata["trained_on"]["packages"]["keras"] == version("keras")


BAD = """id,cast,colour,zip/code,flag,count
1,0.5,red,00123,true,1
2,1e999,red,00123,true,1
3,0.5,"two

lines",00123,true,1
4,0.5,red,,maybe,1.5

5,0.5,red,00456,true,3000
"""


@pytest.fixture
def checked(words: Path) -> Iterator[Path]:
    """The same folder, `count` declared to be at most 100."""
    files = words / "params.yaml", words / "data/schema.yaml"
    texts = [file.read_text() for file in files]
    files[1].write_text(texts[1].replace("count: {", "count: {max: 100, "))
    yield words
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)


def test_a_row_that_fails_ends_it_with_line_and_reason(
    checked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.csv").write_text(BAD)
    with pytest.raises(SystemExit) as end:
        predict(checked, str(tmp_path / "bad.csv"), "-o", str(tmp_path / "predictions.csv"))
    file = tmp_path / "bad.csv"
    assert end.value.code == (
        f"error: {file}: line 3, column cast: found '1e999'; expected a finite number\n"
        f"{file}: line 7, column flag: found 'maybe'; expected true, false, 1 or 0\n"
        f"{file}: line 7, column count: found '1.5'; expected a whole number of at most 64 bits\n"
        f"{file}: line 7, column zip/code: found ''; expected a value in every row\n"
        f"{file}: line 9, column count: found '3000'; expected at most 100\n"
        "--rejects FILE sets such rows aside"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rejects_are_set_aside_and_the_others_get_their_numbers(
    checked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """`row` counts the rows of the file from 0, as pandas does."""
    bad, predictions, rejects = (
        tmp_path / f"{name}.csv" for name in ("bad", "predictions", "rejects")
    )
    bad.write_text(BAD)
    where = ["line 3", "line 7", "line 9"]
    if kind == "parquet":
        pd.read_csv(bad, dtype=str).to_parquet(tmp_path / "bad.parquet")
        bad, where = tmp_path / "bad.parquet", ["row 1", "row 3", "row 4"]
    where = [f"{bad}: {line}" for line in where]
    predict(checked, str(bad), "-o", str(predictions), "--rejects", str(rejects))
    assert capsys.readouterr().err == (
        "warn: colour: 1 of 5 rows hold a category that the model does not know: "
        r"'two\n\nlines' (1)"
        "\n"
        f"3 of 5 rows set aside in {rejects}\n"
    )
    assert pd.read_csv(predictions)[["row", "id"]].to_numpy().tolist() == [[0, 1], [2, 3]]
    assert pd.read_csv(rejects, dtype=str, keep_default_na=False).to_numpy().tolist() == [
        ["2", "1e999", "red", "00123", "true", "1", where[0],
         "cast: found '1e999'; expected a finite number"],
        ["4", "0.5", "red", "", "maybe", "1.5", where[1],
         "flag: found 'maybe'; expected true, false, 1 or 0; "
         "count: found '1.5'; expected a whole number of at most 64 bits; "
         "zip/code: found ''; expected a value in every row"],
        ["5", "0.5", "red", "00456", "true", "3000", where[2],
         "count: found '3000'; expected at most 100"],
    ]  # fmt: skip


def test_other_columns_are_left_out_and_formulas_are_texts_where_asked(
    words: Path, tmp_path: Path
) -> None:
    header, first, *_ = ROWS.splitlines()
    (tmp_path / "new.csv").write_text(f"{header},more\n{first.replace('007', '=1+2')},@x\n")
    with pytest.raises(SystemExit, match="neither in columns nor in ignore: more"):
        predict(words, str(tmp_path / "new.csv"), "-o", str(tmp_path / "p.csv"))
    new = [str(tmp_path / "new.csv"), "--ignore-extra", "--escape-formulas"]
    predict(words, *new, "-o", str(tmp_path / "p.csv"))
    assert (tmp_path / "p.csv").read_text().splitlines()[1].startswith("'=1+2,")


def test_what_only_warned_of_the_training_rows_only_warns(
    checked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = checked / "params.yaml"
    params.write_text(params.read_text().replace("  range: error", "  range: warn"))
    (tmp_path / "new.csv").write_text(BAD.splitlines()[0] + "\n" + BAD.splitlines()[-1] + "\n")
    predict(checked, str(tmp_path / "new.csv"), "-o", str(tmp_path / "predictions.csv"))
    assert capsys.readouterr().err == "warn: count: range: 1 of 1 rows fail\n"
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 1


HEADER = "cast,colour,zip/code,flag,count\n"
MISTAKES: dict[str, tuple[str, str | bytes, tuple[str, ...], str]] = {
    "no file": ("none.csv", "", (), "none.csv: No such file or directory"),
    "a missing column": ("n.csv", "cast,colour,flag,count\n", (), "missing: zip/code"),
    "an unknown column": (
        "n.csv", "x," + HEADER, (), "neither in columns nor in ignore: x",
    ),
    "an identifier twice": ("n.csv", "id,id," + HEADER, (), "more than once: id"),
    "a short row": ("n.csv", HEADER + "x,red,1,1,1\n1,red\n", (), "line 3: found 2 cells"),
    "Latin-1": ("n.csv", HEADER.encode() + b"1,\xe9,1,1,1\n", (), "line 2: found byte 0xe9"),
    "a cut gzip": (
        "n.csv.gz", gzip.compress((HEADER + "1,red,1,1,1\n" * 9999).encode())[:-50], (),
        "the gzip file is cut off",
    ),
    "no Parquet": ("n.parquet", "x", (), "n.parquet: not a Parquet file that can be read"),
    "no model": ("n.csv", HEADER, ("--model", "none.keras"), "none.keras: no model here"),
    "no number": ("n.csv", HEADER + "1e300,red,1,1,1\n", (), "expected a number from the model"),
    "a strange ending": ("n.csv", HEADER, ("-o", "a.xlsx"), "ends in .csv, .csv.gz or .parquet"),
    "no second file": ("n.csv", HEADER, ("-o", "a.csv", "--rejects", "a.csv"), "named twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(words: Path, tmp_path: Path, name: str) -> None:
    file, content, arguments, message = MISTAKES[name]
    path = tmp_path / file
    if content:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SystemExit) as end:
        predict(words, str(path), "-o", str(tmp_path / "predictions.csv"), *arguments)
    assert message in str(end.value.code)
    assert not (tmp_path / "predictions.csv").exists()


def test_a_model_of_another_table_is_refused(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(HEADER)
    wine = tables("wine") / "models/model.keras"
    with pytest.raises(SystemExit, match=r"input alcohol, .* 3 outputs for 1"):
        predict(tables("words"), str(tmp_path / "new.csv"), "--model", str(wine))


def test_a_model_that_knows_the_classes_in_another_order_is_refused(
    words: Path, tmp_path: Path
) -> None:
    """Or it would give the probability of the one class as that of the other."""
    for name in ("params.yaml", "models"):
        (tmp_path / name).symlink_to(words / name)
    text = (words / "data/schema.yaml").read_text()
    assert "positive: pos" in text
    (tmp_path / "data").mkdir()
    (tmp_path / "data/schema.yaml").write_text(text.replace("positive: pos", "positive: neg"))
    (tmp_path / "new.csv").write_text(HEADER)
    with pytest.raises(SystemExit, match=r"classes \['neg', 'pos'\] in the model"):
        predict(tmp_path, str(tmp_path / "new.csv"))
