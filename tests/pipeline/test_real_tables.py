"""Tables with dates, texts, many categories or weights, in several files, with several splits."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_tabular.config.schema import load_schema
from tests.commands import call_command
from tests.projects import LONGER_TRAINING, change_settings, create_project, read_scores, run_stages
from tests.tables import make_shop_sales


@pytest.fixture(scope="module")
def sales(trained_project: Callable[[str], Path]) -> Path:
    return trained_project("shops")


def test_columns_of_every_kind_improve_the_scores(sales: Path) -> None:
    columns = load_schema(sales / "data/schema.yaml").columns
    kinds = {"day": "datetime", "review": "text", "shop_id": "category", "sales": "real"}
    assert {name: column.kind for name, column in columns.items()} == kinds
    scores = read_scores(sales)
    assert scores["test"]["mae"] < scores["baseline"]["gradient_boosting"]["mae"]
    importance = pd.read_csv(sales / "metrics/plots/importance.csv").set_index("column")
    assert set(importance.index) == {"day", "review", "shop_id"}
    assert (importance["low"] > 0).all()
    train, test = (pd.read_parquet(sales / f"data/split/{name}") for name in ("train", "test"))
    assert train["day"].max() < test["day"].min()
    with zipfile.ZipFile(sales / "models/model.keras") as file:  # all layers are those of Keras
        assert not re.search(r'"registered_name": "[^"]*>', file.read("config.json").decode())


def test_predict_parses_dates_as_ingest_did(sales: Path, tmp_path: Path) -> None:
    part, new = sales / "data/split/test/part-00000.parquet", tmp_path / "new.csv"
    rows = pd.read_parquet(part)[["day", "review", "shop_id"]]
    rows.assign(day=rows["day"].dt.strftime("%d.%m.%Y")).to_csv(new, index=False)
    expected = pd.read_parquet(sales / "data/predictions")["predicted"].to_numpy()
    output = str(tmp_path / "predictions.parquet")
    for file in (new, part):
        call_command(sales, "predict", file, "-o", output)
        predicted = pd.read_parquet(output)["predicted"].to_numpy(np.float32)
        assert predicted.tobytes() == expected.tobytes(), file


def test_test_rows_can_be_in_separate_files(tmp_path: Path) -> None:
    frame = make_shop_sales()
    folder, source = create_project(tmp_path, frame), tmp_path / "data/raw/shops"
    source.mkdir()
    frame[:700].to_csv(source / "a.csv", index=False)
    frame[700:900].to_csv(source / "last.csv", index=False)
    frame[900:].astype({"shop_id": str}).to_parquet(source / "z.parquet")
    test_files = {"source": "data/raw/shops", "test_files": ["last.csv"]}
    change_settings(folder, test_files, split={"by": "file"})
    run_stages(folder, last="split")
    test = pd.read_parquet(folder / "data/split/test")
    assert sorted(test["sales"]) == sorted(frame["sales"][700:900])
    assert len(pd.read_parquet(folder / "data/split/train")) == 1000
    change_settings(folder, {"test_files": ["other.csv"]})
    with pytest.raises(SystemExit, match=r"test_files in data/schema\.yaml needs other\.csv"):
        run_stages(folder, last="ingest")


def test_rows_count_by_their_weights(tmp_path: Path) -> None:
    """With equal weights, the model would learn the opposite: most labels are wrong."""
    rng = np.random.default_rng(1)
    x, is_wrong = rng.normal(size=900), rng.random(900) < 0.6
    is_positive = x + rng.normal(size=900) / 4 > 0.5
    counts = np.where(is_wrong, 0, rng.integers(1, 4, 900))
    label = np.where(is_positive ^ is_wrong, "yes", "no")
    frame = pd.DataFrame({"x": x.round(4), "counts": counts, "label": label})
    folder = create_project(tmp_path, frame)
    change_settings(folder, {"weight": "counts"}, train=LONGER_TRAINING)
    run_stages(folder)
    assert "counts" not in load_schema(folder / "data/schema.yaml").features
    scores = read_scores(folder)
    assert scores["test"]["accuracy"] > 0.85
    assert scores["baseline"]["logistic_regression"]["accuracy"] > 0.85
    rows = pd.read_parquet(folder / "data/split/test")
    predictions = pd.read_parquet(folder / "data/predictions")
    is_right = predictions["predicted"] == predictions["actual"]
    accuracy = np.average(is_right, weights=rows["counts"])
    assert scores["test"]["accuracy"] == pytest.approx(accuracy, abs=1e-6)
