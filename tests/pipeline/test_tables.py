"""Tables of many kinds go from `infer_schema` to scores."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_tabular.config.schema import load_schema
from keras_tabular.table.parquet import FOLD_KEY
from tests import projects
from tests.commands import call_command
from tests.projects import (
    LONGER_TRAINING,
    change_settings,
    read_scores,
    run_stages,
)
from tests.tables import make_mixed_table, make_shop_sales


def read_subsets(folder: Path) -> list[pd.DataFrame]:
    """Return the training rows and the test rows."""
    split = folder / "data/split"
    return [pd.read_parquet(split / name) for name in ("train", "test")]


def test_columns_of_every_kind_improve_the_scores(
    trained_project: Callable[[str], Path],
) -> None:
    sales = trained_project("shops")
    scores = read_scores(sales)
    mae, baseline = (
        scores.value("test", "mae", m) for m in ("model", "gradient_boosting")
    )
    assert mae
    assert baseline
    assert mae < baseline
    assert scores.value("forward_chaining", "mae")
    importance = pd.read_csv(sales / "metrics/plots/importance.csv").set_index("column")
    assert set(importance.index) == {"day", "review", "shop_id"}
    assert (importance["low"] > 0).all()
    train, test = read_subsets(sales)
    assert train["day"].max() < test["day"].min()


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all roles of columns.

    The table is in two files with line breaks in cells. Every seventh row has no class.
    Most rows of the classes a and b have the other class and a weight of 0. The class c
    is rare.
    """
    rng = np.random.default_rng(1)
    rows = 1500
    x = rng.normal(size=rows)
    code = np.digitize(x + rng.normal(size=rows) / 4, [0.2, 1.6])
    is_wrong = (rng.random(rows) < 0.6) & (code < 2)
    classes = np.array(["a", "b", "c"])[np.where(is_wrong, 1 - code, code)]
    frame = pd.DataFrame(
        {
            "key": [f"k{number}" for number in range(rows)],
            "x": x.round(4),
            "words": rng.choice(["one\ntwo", "three"], rows),
            "leak": code,
            "hint": code + rng.random(rows).round(2),
            "subset": np.where(np.arange(rows) % 3, "train", "test"),
            "counts": np.where(is_wrong, 0, rng.integers(1, 4, rows)),
            "y": np.where(np.arange(rows) % 7, classes, ""),
        },
    )
    folder = projects.create_project(
        tmp_path_factory.mktemp("orders") / "project",
        frame,
    )
    roles = {
        "source": "data/raw",
        "split": "subset",
        "weight": "counts",
        "ignore": ["key", "leak"],
    }
    change_settings(folder, roles | {"columns": {"leak": {"kind": "integer"}}})
    change_settings(
        folder,
        split={"by": "column"},
        train=LONGER_TRAINING | {"ignore": ["hint"]},
    )
    change_settings(folder, evaluate={"slices": {"high": {"leak": {"low": 1}}}})
    frame[:700].to_csv(folder / "data/raw/t.csv", index=False)
    frame[700:].to_csv(folder / "data/raw/u.csv", index=False)
    run_stages(folder)
    call_command(folder, "report")
    return folder


def test_rows_count_by_their_weights(orders: Path) -> None:
    """With equal weights, the model would learn the opposite: most labels are wrong."""
    scores = read_scores(orders)
    rows = pd.read_parquet(orders / "data/split/test")
    for model in ("model", "linear"):
        assert (scores.value("test", "accuracy", model) or 0) > 0.85
    predictions = pd.read_parquet(orders / "data/predictions")
    is_right = predictions["predicted"] == predictions["actual"]
    accuracy = np.average(is_right, weights=rows["counts"])
    assert scores.value("test", "accuracy") == pytest.approx(accuracy, abs=1e-6)


def test_columns_with_another_role_are_not_features(
    orders: Path,
    tmp_path: Path,
) -> None:
    """An ignored column may define a slice, and new rows do not need it."""
    assert {*load_schema(orders / "data/schema.yaml").features} == {
        "x",
        "words",
        "hint",
    }
    assert projects.read_json(orders / "metrics/networks.json")["columns"].keys() == {
        "x",
        "words",
    }
    scores = read_scores(orders)
    test = pd.read_parquet(orders / "data/split/test")
    assert (scores.value("test", "accuracy", "gradient_boosting") or 1) < 1
    assert scores.rows("slices.high") == (test["leak"] >= 1).sum() > 0
    page = (orders / "report.html").read_text()
    assert page.count("not read</td>") == 4
    assert page.count("high; leak from 1") == 1
    test[["x", "words", "counts", "y"]].to_csv(tmp_path / "new.csv", index=False)
    for command, option in (("predict", "-o"), ("drift", "--json"), ("score", "-o")):
        call_command(
            orders,
            command,
            tmp_path / "new.csv",
            option,
            tmp_path / "output.csv",
        )


def test_predictions_of_the_test_rows_name_file_line_and_identifier(
    orders: Path,
) -> None:
    predictions = pd.read_parquet(orders / "data/predictions")
    outputs = ["predicted", "probability_a", "probability_b", "probability_c"]
    assert [*predictions] == ["file", "line", "key", "leak", "hint", "actual", *outputs]
    assert {*predictions["file"]} == {"data/raw/t.csv", "data/raw/u.csv"}
    columns = ["file", "line", "key", "actual"]
    for file, line, key, y in predictions[columns].itertuples(index=False):
        text = "\n".join((orders / file).read_text().splitlines()[line - 1 : line + 1])
        assert re.match(rf"{key},[^k]*,{y}(\n|$)", text)


def test_test_rows_can_be_groups_or_separate_files(tmp_path: Path) -> None:
    """A group is in one fold, and if groups are split, also in one subset."""
    frame = make_shop_sales()
    folder = projects.create_project(tmp_path, frame)
    source = tmp_path / "data/raw/shops"
    source.mkdir()
    frame[:700].to_csv(source / "a.csv", index=False)
    frame[700:900].to_csv(source / "last.csv", index=False)
    frame[900:].astype({"shop_id": str}).to_parquet(source / "z.parquet")
    roles = {"source": "data/raw/shops", "test_files": ["last.csv"], "group": "shop_id"}
    change_settings(folder, roles, split={"by": "file"})
    run_stages(folder, last="split")
    train, test = read_subsets(folder)
    assert sorted(test["sales"]) == sorted(frame["sales"][700:900])
    assert len(train) == 1000

    change_settings(folder, split={"by": "group"})
    run_stages(folder, "split", "split")
    train, test = read_subsets(folder)
    assert len(train) + len(test) == 1200
    assert 0.2 < len(test) / 1200 < 0.45
    assert not set(train["shop_id"]) & set(test["shop_id"])
    assert (train.groupby("shop_id")[FOLD_KEY].nunique() == 1).all()
    change_settings(folder, {"test_files": ["other.csv"]})
    with pytest.raises(
        SystemExit,
        match=r"test_files in data/schema\.yaml needs other\.csv",
    ):
        run_stages(folder, last="ingest")


def test_rows_that_fail_a_check_stop_validate_or_are_dropped(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With `error`, validate writes no table; with `drop`, the other rows.

    A column that is declared and ignored is checked too. The table is in three parts.
    """
    frame = make_mixed_table("binary").sort_values(
        "colour",
        ascending=False,
    )  # valid rows first
    places = np.flatnonzero(frame["colour"] == "blue, dark") + 2  # line 1 is the header
    folder = projects.create_project(tmp_path, frame)
    declared = {
        "id": {"kind": "integer", "max": 598},
        "colour": {"values": ["red", "green"]},
    }
    change_settings(folder, {"columns": declared}, ingest={"rows_per_file": 200})
    with pytest.raises(SystemExit) as end:
        run_stages(folder, last="validate")
    assert "id: 1 of 600 rows fail range" in str(end.value)
    change_settings(folder, {"columns": {"id": {"max": 599}}})
    problem = f"colour: {len(places)} of 600 rows"
    first = f"(data/raw/t.csv, line {places[0]}; data/raw/t.csv, line {places[1]}; "
    for part in (problem, "['red', 'green'], got blue, dark", first, "validate.values"):
        assert part in str(end.value)
    assert not (folder / "data/validated").exists()
    change_settings(folder, validate={"values": "drop"})
    run_stages(folder, "validate", "validate")
    assert f"drop: {problem}" in capsys.readouterr().out
    valid = pd.read_parquet(folder / "data/validated")
    assert set(valid["colour"].dropna()) == {"red", "green"}
    rejected = pd.read_parquet(folder / "data/rejected")
    assert len(valid) == 600 - len(places)
    lines = [f"data/raw/t.csv, line {place}" for place in places]
    assert rejected["rejected_line"].tolist() == lines
    reason = "colour: expected one of ['red', 'green'], got 'blue, dark'"
    assert {*rejected["rejected_reason"]} == {reason}


def test_a_header_without_rows_ends_ingest_without_an_output(tmp_path: Path) -> None:
    folder = projects.create_project(tmp_path, make_mixed_table("binary"))
    make_mixed_table("binary")[:0].to_csv(folder / "data/raw/t.csv", index=False)
    with pytest.raises(
        SystemExit,
        match=r"^error: data/raw/t\.csv: expected rows, got only a ",
    ):
        run_stages(folder, last="ingest")
    assert not (folder / "data/ingested").exists()
