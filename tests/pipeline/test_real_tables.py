"""Dates, texts, many categories and weights, in files of several kinds, split by several rules."""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from keras_tabular.config.schema import load_schema
from tests.commands import call_main
from tests.projects import LONGER_TRAINING, change_settings, create_project, read_scores, run_stages
from tests.tables import make_shop_sales


@pytest.fixture(scope="module")
def sales(trained_project: Callable[[str], Path]) -> Path:
    return trained_project("shops")


def test_every_kind_is_recognised_and_says_something(sales: Path) -> None:
    kinds = {name: c.kind for name, c in load_schema(sales / "data/schema.yaml").columns.items()}
    expected = {"day": "datetime", "review": "text", "shop_id": "category", "sales": "real"}
    assert kinds == expected
    scores = read_scores(sales)
    assert scores["test"]["mae"] < scores["baseline"]["gradient_boosting"]["mae"]
    importance = pd.read_csv(sales / "metrics/plots/importance.csv").set_index("column")
    assert set(importance.index) == {"day", "review", "shop_id"}
    assert (importance["low"] > 0).all()


def test_later_days_test_what_earlier_ones_taught(sales: Path) -> None:
    train, test = (pd.read_parquet(sales / f"data/split/{name}") for name in ("train", "test"))
    assert train["day"].max() < test["day"].min()


def test_all_layers_of_the_model_are_those_of_keras(sales: Path) -> None:
    with zipfile.ZipFile(sales / "models/model.keras") as file:
        of_ours = re.findall(r'"registered_name": "[^"]*>', file.read("config.json").decode())
    assert of_ours == []


def test_predict_reads_texts_as_ingest_did_and_names_a_wrong_one(
    sales: Path, tmp_path: Path
) -> None:
    rows = pd.read_parquet(sales / "data/split/test")[["day", "review", "shop_id"]]
    rows.to_parquet(tmp_path / "new.parquet")
    rows["day"] = rows["day"].dt.strftime("%d.%m.%Y")
    rows.to_csv(tmp_path / "new.csv", index=False)
    seen = pd.read_parquet(sales / "data/predictions")["output_0"].to_numpy()
    output = str(tmp_path / "predictions.parquet")
    for name in ("new.csv", "new.parquet"):
        call_main(sales, "keras_tabular.cli.predict", str(tmp_path / name), "-o", output)
        found = pd.read_parquet(output)["predicted"].to_numpy(np.float32)
        assert found.tobytes() == seen.tobytes(), name
    (tmp_path / "bad.csv").write_text("day,review,shop_id\n31.02.2020,stale,1001\n")
    message = "bad.csv: line 2, column day: found '31.02.2020'; expected a date or a time written"
    with pytest.raises(SystemExit, match=rf"{message} as .*%d\.%m\.%Y"):
        call_main(sales, "keras_tabular.cli.predict", str(tmp_path / "bad.csv"), "-o", output)


def test_test_rows_come_in_files_of_their_own(tmp_path: Path) -> None:
    """Among files of several kinds in one folder; each is checked as the others are."""
    folder = create_project(tmp_path, make_shop_sales())
    source = folder / "data/raw/shops"
    source.mkdir()
    frame = make_shop_sales()
    frame[:700].to_csv(source / "a.csv", index=False)
    frame[700:900].to_csv(source / "last.csv", index=False)
    frame[900:].astype({"shop_id": str}).to_parquet(source / "z.parquet")
    declared: dict[str, Any] = {"source": "data/raw/shops", "test_files": ["last.csv"]}
    change_settings(folder, declared, split={"by": "file"})
    run_stages(folder, last="split")
    test = pd.read_parquet(folder / "data/split/test")
    assert sorted(test["sales"]) == sorted(frame["sales"][700:900])
    assert len(pd.read_parquet(folder / "data/split/train")) == 1000
    change_settings(folder, {"test_files": ["other.csv"]})
    with pytest.raises(SystemExit, match=r"test_files in data/schema\.yaml needs other\.csv"):
        run_stages(folder, last="ingest")


def classes(wrong_share: float) -> pd.DataFrame:
    """A third of the rows is positive; a share has the wrong label and a weight of 0."""
    rows = 900
    rng = np.random.default_rng(1)
    x = rng.normal(size=rows)
    positive = x + rng.normal(size=rows) / 4 > 0.5
    wrong = rng.random(rows) < wrong_share
    label = np.where(positive ^ wrong, "yes", "no")
    counts = np.where(wrong, 0, rng.integers(1, 4, rows))
    return pd.DataFrame({"x": x.round(4), "counts": counts, "label": label})


def test_a_row_counts_as_much_as_its_weight_says(tmp_path: Path) -> None:
    """With equal weights the opposite would be learnt."""
    folder = create_project(tmp_path, classes(0.6))
    change_settings(folder, {"weight": "counts"}, train=LONGER_TRAINING)
    run_stages(folder)
    assert "counts" not in load_schema(folder / "data/schema.yaml").features
    scores = read_scores(folder)
    assert scores["test"]["accuracy"] > 0.85
    rows = pd.read_parquet(folder / "data/split/test")
    y = pd.read_parquet(folder / "data/predictions")
    right = (y["output_0"] >= 0.5) == (y["actual"] == 1)
    mean = np.average(right, weights=rows["counts"])
    assert scores["test"]["accuracy"] == pytest.approx(mean, abs=1e-6)
    assert scores["baseline"]["logistic_regression"]["accuracy"] > 0.85


def test_the_threshold_is_chosen_out_of_fold_and_goes_with_the_model(tmp_path: Path) -> None:
    folder = create_project(tmp_path, classes(0.2).drop(columns="counts"))
    change_settings(folder, train=LONGER_TRAINING, evaluate={"threshold": {"recall": 0.95}})
    run_stages(folder)
    scores = read_scores(folder)
    assert scores["cross_validation"]["recall"] >= 0.95
    with zipfile.ZipFile(folder / "models/model.keras") as file:
        threshold = json.loads(file.read("tabular.json"))["threshold"]
    assert scores["threshold"] == pytest.approx(threshold, abs=1e-6)
    assert threshold < 0.4
    pd.DataFrame({"x": np.linspace(-2, 2, 200)}).to_csv(folder / "new.csv", index=False)
    call_main(folder, "keras_tabular.cli.predict", "new.csv", "-o", "new.parquet")
    found = pd.read_parquet(folder / "new.parquet")
    expected = np.where(found["probability_yes"] >= threshold, "yes", "no")
    assert found["predicted"].tolist() == expected.tolist()
