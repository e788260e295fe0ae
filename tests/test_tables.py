"""Other people's tables run from `infer_schema` to scores without an edit by hand."""

import json
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets

from stages.infer_schema import replace_section, section
from stages.lib.checks import check_table
from stages.lib.params import Data, load_params
from stages.lib.source import read_csv
from stages.lib.stage import UserError
from stages.lib.table import arrow_schema, in_parts
from tests.conftest import PROJECT, must, run

COMMANDS = [s["cmd"] for s in yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"].values()]


def mixed(task: str) -> pd.DataFrame:
    """600 rows of all kinds with gaps; the target hangs on a number and a colour."""
    rng = np.random.default_rng(0)
    rows = 600
    frame = pd.DataFrame(
        {
            "id": np.arange(rows),
            "cast": rng.normal(size=rows).round(3),  # the name of a Keras operation
            "colour": rng.choice(["red", "green", "blue, dark"], rows),
            "zip/code": rng.choice(["00123", "00456"], rows),
            "flag": rng.random(rows) > 0.5,
            "count": rng.integers(0, 100, rows).astype(str),
        }
    )
    signal = frame["cast"] + (frame["colour"] == "red") + rng.normal(size=rows) / 2
    if task == "regression":
        frame["y"] = (1e6 + 1e4 * signal).round(1)
    else:
        frame["y"] = np.where(signal > 0.3, "pos", "neg")
    for column, gap in {"cast": np.nan, "colour": None, "count": "?"}.items():
        frame.loc[rng.random(rows) < 0.1, column] = gap
    return frame


def shipped(name: str) -> pd.DataFrame:
    return getattr(datasets, f"load_{name}")(as_frame=True).frame


TABLES = {
    "iris": lambda: shipped("iris"),
    "wine": lambda: shipped("wine"),
    "breast_cancer": lambda: shipped("breast_cancer"),
    "diabetes": lambda: shipped("diabetes"),
    "words": lambda: mixed("binary"),
    "values": lambda: mixed("regression"),
}


def project(folder: Path, frame: pd.DataFrame) -> Path:
    """A folder with the stages and the table, described by `infer_schema`."""
    (folder / "data/raw").mkdir(parents=True)
    frame.to_csv(folder / "data/raw/t.csv", index=False)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(PROJECT / name, folder)
    (folder / "stages").symlink_to(PROJECT / "stages")
    must(
        folder,
        *(sys.executable, "-m", "stages.infer_schema", "data/raw/t.csv"),
        *("--target", frame.columns[-1], "--write", "params.yaml"),
    )
    return folder


def run_stages(folder: Path, last: str = "evaluate") -> str:
    """The commands of `dvc.yaml` up to a stage; the output of the last one."""
    for command in COMMANDS:
        output = must(folder, *command.split())
        if f"stages.{last} " in command:
            return output
    raise AssertionError(last)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_runs_to_scores_that_beat_the_simplest_baseline(name: str, tmp_path: Path) -> None:
    frame = TABLES[name]()
    folder = project(tmp_path, frame)
    output = run_stages(folder)
    metrics = json.loads((folder / "metrics/metrics.json").read_text())
    if load_params(folder / "params.yaml").data.task == "regression":
        assert metrics["test"]["mae"] < 0.8 * metrics["baseline"]["mean"]["mae"]
        assert metrics["test"]["r2"] > 0.3
        assert output.startswith("Mean absolute error: ")
    else:
        assert metrics["test"]["accuracy_low"] > metrics["baseline"]["majority"]["accuracy"]
        assert output.startswith("Accuracy: ")

    # The saved model takes raw rows: unseen categories and gaps too.
    rows = frame.iloc[:3, :-1].copy()
    if "colour" in rows:
        rows.loc[0, "colour"], rows.loc[1, "colour"], rows.loc[1, "cast"] = "mauve", None, np.nan
        rows["count"] = [5.0, np.nan, 7.0]
    arrays = {
        name.replace("/", "_"): column.fillna("").to_numpy(object)
        if pd.api.types.is_string_dtype(column)
        else column.to_numpy(float)
        for name, column in rows.drop(columns="id", errors="ignore").items()
    }
    np.savez(
        tmp_path / "rows.npz",
        **{k: a.astype(str) if a.dtype == object else a for k, a in arrays.items()},
    )
    code = (
        "import keras, numpy as np\n"
        f"rows = dict(np.load({str(tmp_path / 'rows.npz')!r}))\n"
        "rows = {k: a.astype(object) if a.dtype.kind == 'U' else a for k, a in rows.items()}\n"
        f"model = keras.models.load_model({str(folder / 'models/model.keras')!r}, safe_mode=True)\n"
        "assert np.isfinite(model.predict(rows, verbose=0)).all()\n"
    )
    (tmp_path / "elsewhere").mkdir()
    must(tmp_path / "elsewhere", sys.executable, "-c", code)


def test_other_column_order_and_line_ends_give_the_same_outputs(tmp_path: Path) -> None:
    frame = mixed("binary")
    plain = project(tmp_path / "plain", frame)
    other = project(tmp_path / "other", frame)
    shuffled = frame[[*frame.columns[::-1]]]
    shuffled.to_csv(other / "data/raw/t.csv", index=False, lineterminator="\r\n")
    for folder in (plain, other):
        run_stages(folder, last="split")
    files = [file.relative_to(plain) for file in (plain / "data").rglob("*.parquet")]
    assert len(files) >= 6
    for file in [*files, Path("metrics/profile.json"), Path("metrics/validation.json")]:
        assert (plain / file).read_bytes() == (other / file).read_bytes(), file


def declared(text: str) -> Data:
    return Data.model_validate(yaml.safe_load(text)["data"])


def test_rows_that_fail_end_validate_with_lines_or_are_set_aside(tmp_path: Path) -> None:
    """Under `error` nothing is written that a later stage reads; under `drop` the rest goes on."""
    frame = mixed("binary")
    wrong = int((frame["colour"] == "blue, dark").sum())
    folder = project(tmp_path, frame)
    params = folder / "params.yaml"
    text = params.read_text().replace(
        "colour: {kind: category,", "colour: {kind: category, values: [red, green],"
    )
    params.write_text(text)
    run_stages(folder, last="ingest")
    ingest, validate = COMMANDS[:2]
    done = run(folder, *validate.split())
    assert done.returncode == 1
    assert f"colour: {wrong} of 600 rows fail values: found blue, dark, blue, dark" in done.stderr
    assert "data/raw/t.csv: line " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "data/validated").exists()
    report = json.loads((folder / "metrics/validation.json").read_text())
    assert report["checks"]["colour.values"] == {"failed_rows": wrong, "verdict": "error"}

    params.write_text(text.replace("  values: error", "  values: drop"))
    must(folder, *ingest.split())
    assert f"drop: colour: {wrong} of 600 rows" in must(folder, *validate.split())
    assert len(pd.read_parquet(folder / "data/validated")) == 600 - wrong
    rejected = pd.read_parquet(folder / "data/rejected")
    assert set(rejected["rejected_reason"]) == {"colour: values"}
    lines = (folder / "data/raw/t.csv").read_text().splitlines()
    for where, zip_code in zip(rejected["rejected_line"], rejected["zip/code"], strict=True):
        line = lines[int(where.split("line ")[1]) - 1]
        assert "blue, dark" in line
        assert zip_code in line


def test_what_infer_schema_writes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    mixed("binary").to_csv(path, index=False)
    text = section(path, "y", 1000)
    data = declared(text)
    assert (data.task, data.classes, data.ignore) == ("binary", ("neg", "pos"), ("id",))
    assert {name: column.kind for name, column in data.columns.items()} == {
        "cast": "real",
        "colour": "category",
        "zip/code": "category",
        "flag": "boolean",
        "count": "integer",
        "y": "category",
    }
    assert data.columns["count"].missing_values == ("?",)
    params = replace_section((PROJECT / "params.yaml").read_text(), text)
    before = yaml.safe_load((PROJECT / "params.yaml").read_text())
    assert yaml.safe_load(params) == before | yaml.safe_load(text)
    assert "# What a failed check does" in params


def test_zeros_far_from_the_rest_are_pointed_out() -> None:
    text = section(PROJECT / "data/raw/diabetes.csv", "Outcome", 1000)
    for column in ("Glucose", "BloodPressure", "BMI"):
        (line,) = [line for line in text.splitlines() if line.strip().startswith(column)]
        assert "does 0 (" in line


def test_a_column_of_many_numbers_is_described_at_once(tmp_path: Path) -> None:
    """In time that grows with the values, not with their square; 0 and 0.0 are one number."""
    path = tmp_path / "t.csv"
    values = np.random.default_rng(0).normal(size=50_000)
    pd.DataFrame({"a": values, "zero": ["0", "0.0"] * 25_000, "y": values}).to_csv(
        path, index=False
    )
    start = time.monotonic()
    data = declared(section(path, "y", 100_000))
    assert time.monotonic() - start < 10  # below 1 on an idle machine; the square took minutes
    assert data.columns["a"].kind == "real"


CELLS = st.one_of(
    st.none(),
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6, allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5),
)


@settings(max_examples=60, deadline=None)
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
        table, params = Path(folder) / "t.csv", Path(folder) / "params.yaml"
        pd.DataFrame(rows, columns=["a", "b", "y"]).to_csv(table, index=False)
        written = section(table, "y", 1000)
        params.write_text(replace_section((PROJECT / "params.yaml").read_text(), written))
        data = load_params(params).data
        content = bytearray(table.read_bytes())
        for place, byte in flips:
            content[place % len(content)] = byte
        table.write_bytes(content)
        parts = list(in_parts(read_csv(table, data), arrow_schema(data), 7))
        rows_read, checks = check_table(parts, data, load_params(params).validate_)
        assert rows_read == sum(map(len, parts))
        assert all(check.failed_rows <= max(rows_read, 1) for check in checks.values())
