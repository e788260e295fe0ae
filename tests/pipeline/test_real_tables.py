"""Dates, texts, many categories and weights, in files of several kinds, split by several rules."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tabular.schema import load_schema
from tests.helpers import COMMANDS, call, must, project_of, read_scores, run

GOOD, BAD = ["lovely", "great taste"], ["stale", "bad smell"]
KERAS = """\
import keras, numpy as np, sys
rows = {k: a.astype(object) if a.dtype.kind == "U" else a for k, a in np.load(sys.argv[1]).items()}
model = keras.models.load_model(sys.argv[2], safe_mode=True)
np.save("outputs.npy", model.predict_on_batch(rows))
"""


def shops(rows: int = 1200) -> pd.DataFrame:
    """The sales of days: they hang on the weekday, the words of a text, and the shop."""
    rng = np.random.default_rng(0)
    day = pd.Timestamp("2019-03-01") + pd.to_timedelta(rng.integers(0, 1500, rows), unit="D")
    good = rng.random(rows) > 0.5
    noise = [f"word{number}" for number in range(200)]
    words = [
        f"{' '.join(rng.choice(noise, 3))} {rng.choice(GOOD if g else BAD)} {rng.choice(noise)}"
        for g in good
    ]
    shop = rng.integers(0, 60, rows)
    level = rng.normal(size=60)[shop] + 2.0 * (day.day_of_week >= 5) + 2.0 * good
    return pd.DataFrame(
        {
            "day": day.strftime("%d.%m.%Y"),
            "review": words,
            "shop_id": shop + 1000,
            "sales": (10 + level + rng.normal(size=rows) / 3).round(2),
        }
    )


def run_stages(folder: Path) -> None:
    """All stages up to evaluate, in this process."""
    for name, (_, _, script, *arguments) in COMMANDS.items():
        if name != "gate":
            call(folder, script, *arguments)


def change(folder: Path, schema: dict[str, Any] | None = None, **sections: dict[str, Any]) -> None:
    """Other values in params.yaml and in the schema, and a short training."""
    path = folder / "params.yaml"
    found = yaml.safe_load(path.read_text())
    found["train"] |= {"members": [{"network": "plain"}], "folds": 3}
    found["train"]["networks"]["plain"] |= {"epochs": 60, "l2": 0.001}
    found["gate"] = {}
    for name, keys in sections.items():
        found[name] |= keys
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    if schema:
        path = folder / "data/schema.yaml"
        declared = yaml.safe_load(path.read_text()) | schema
        path.write_text(yaml.safe_dump(declared, sort_keys=False))


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = project_of(tmp_path_factory.mktemp("sales"), shops())
    change(folder)
    run_stages(folder)
    return folder


def test_every_kind_is_recognised_and_says_something(sales: Path, tmp_path: Path) -> None:
    kinds = {name: c.kind for name, c in load_schema(sales / "data/schema.yaml").columns.items()}
    expected = {"day": "datetime", "review": "text", "shop_id": "category", "sales": "real"}
    assert kinds == expected
    mae = read_scores(sales)["test"]["mae"]
    assert mae < read_scores(sales)["baseline"]["gradient_boosting"]["mae"]
    for name in ("day", "review", "shop_id"):
        folder = project_of(tmp_path / name, shops().drop(columns=name))
        change(folder)
        run_stages(folder)
        assert read_scores(folder)["test"]["mae"] > 1.2 * mae, name


def test_plain_keras_takes_seconds_and_texts(sales: Path, tmp_path: Path) -> None:
    rows = pd.read_parquet(sales / "data/split/test")
    seconds = rows["day"].astype("int64").to_numpy() / 1e6
    texts = {name: rows[name].to_numpy(str) for name in ("review", "shop_id")}
    np.savez(tmp_path / "rows.npz", day=seconds, **texts)
    model = str(sales / "models/model.keras")
    must(tmp_path, sys.executable, "-c", KERAS, "rows.npz", model)
    seen = pd.read_parquet(sales / "data/predictions")["output_0"].to_numpy()
    found = np.load(tmp_path / "outputs.npy")[:, 0]
    np.testing.assert_allclose(found, seen, rtol=1e-5)


def test_predict_reads_texts_as_ingest_did_and_names_a_wrong_one(
    sales: Path, tmp_path: Path
) -> None:
    rows = pd.read_parquet(sales / "data/split/test")
    rows.drop(columns="sales").to_parquet(tmp_path / "new.parquet")
    rows["day"] = rows["day"].dt.strftime("%d.%m.%Y")
    rows.drop(columns="sales").to_csv(tmp_path / "new.csv", index=False)
    seen = pd.read_parquet(sales / "data/predictions")["output_0"].to_numpy()
    for name in ("new.csv", "new.parquet"):
        output = str(tmp_path / "predictions.parquet")
        call(sales, "commands.predict", str(tmp_path / name), "-o", output)
        found = pd.read_parquet(output)["predicted"].to_numpy(np.float32)
        assert found.tobytes() == seen.tobytes(), name
    (tmp_path / "bad.csv").write_text("day,review,shop_id\n31.02.2020,stale,1001\n")
    done = run(sales, sys.executable, "-m", "commands.predict", str(tmp_path / "bad.csv"))
    assert done.returncode == 1
    assert "bad.csv: line 2, column day: found '31.02.2020'; expected a date or a time written as"
    assert "%d.%m.%Y" in done.stderr
    assert "Traceback" not in done.stderr


def test_later_days_test_what_earlier_ones_taught(tmp_path: Path) -> None:
    folder = project_of(tmp_path, shops())
    change(folder, {"time": "day"}, split={"by": "time"})
    run_stages(folder)
    train, test = (pd.read_parquet(folder / f"data/split/{name}") for name in ("train", "test"))
    assert train["day"].max() < test["day"].min()
    assert load_schema(folder / "data/schema.yaml").features.keys() >= {"day"}
    plot = pd.read_csv(folder / "metrics/plots/residuals_over_time.csv")
    assert plot["time"].between(2021.5, 2023.5).all()
    assert len(plot) > 100


def test_test_rows_come_in_files_of_their_own(tmp_path: Path) -> None:
    """Among files of several kinds in one folder; each is checked as the others are."""
    folder = project_of(tmp_path, shops())
    source = folder / "data/raw/shops"
    source.mkdir()
    frame = shops()
    frame[:700].to_csv(source / "a.csv", index=False)
    frame[700:900].to_csv(source / "last.csv", index=False)
    frame[900:].astype({"shop_id": str}).to_parquet(source / "z.parquet")
    declared: dict[str, Any] = {"source": "data/raw/shops", "test_files": ["last.csv"]}
    change(folder, declared, split={"by": "file"})
    run_stages(folder)
    test = pd.read_parquet(folder / "data/split/test")
    assert sorted(test["sales"]) == sorted(frame["sales"][700:900])
    assert len(pd.read_parquet(folder / "data/split/train")) == 1000
    change(folder, {"test_files": ["other.csv"]})
    done = run(folder, *COMMANDS["ingest"])
    assert "test_files in data/schema.yaml needs other.csv" in done.stderr


def classes(rows: int = 900) -> pd.DataFrame:
    """A third of the rows is positive; a fifth has the wrong label and a weight of 0."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=rows)
    positive = x + rng.normal(size=rows) / 4 > 0.5
    wrong = rng.random(rows) < 0.2
    label = np.where(positive ^ wrong, "yes", "no")
    counts = np.where(wrong, 0, rng.integers(1, 4, rows))
    return pd.DataFrame({"x": x.round(4), "counts": counts, "label": label})


def test_a_row_counts_as_much_as_its_weight_says(tmp_path: Path) -> None:
    weighted = project_of(tmp_path / "weighted", classes())
    alike = project_of(tmp_path / "alike", classes().drop(columns="counts"))
    change(weighted, {"weight": "counts"})
    change(alike)
    for folder in (weighted, alike):
        run_stages(folder)
    assert "counts" not in load_schema(weighted / "data/schema.yaml").features
    scores = read_scores(weighted)
    assert scores["test"]["accuracy"] > 0.85
    assert read_scores(alike)["test"]["accuracy"] < 0.85
    rows = pd.read_parquet(weighted / "data/split/test")
    y = pd.read_parquet(weighted / "data/predictions")
    right = (y["output_0"] >= 0.5) == (y["actual"] == 1)
    mean = np.average(right, weights=rows["counts"])
    assert scores["test"]["accuracy"] == pytest.approx(mean, abs=1e-6)
    linear = scores["baseline"]["logistic_regression"]
    assert linear["accuracy"] > 0.85


def test_the_threshold_is_chosen_out_of_fold_and_goes_with_the_model(tmp_path: Path) -> None:
    folder = project_of(tmp_path, classes().drop(columns="counts"))
    change(folder, evaluate={"threshold": {"recall": 0.95}})
    run_stages(folder)
    scores = read_scores(folder)
    assert scores["cross_validation"]["recall"] >= 0.95
    linear = scores["baseline"]["logistic_regression"]
    assert linear["cross_validation"]["recall"] >= 0.95
    labels = pd.read_parquet(folder / "data/split/test")["label"]
    majority = scores["baseline"]["majority"]["accuracy"]
    assert majority == pytest.approx((labels == "no").mean(), abs=1e-6)
    with zipfile.ZipFile(folder / "models/model.keras") as file:
        threshold = json.loads(file.read("tabular.json"))["threshold"]
    assert scores["threshold"] == pytest.approx(threshold, abs=1e-6)
    assert threshold < 0.4
    pd.DataFrame({"x": np.linspace(-2, 2, 200)}).to_csv(folder / "new.csv", index=False)
    call(folder, "commands.predict", "new.csv", "-o", "new.parquet")
    found = pd.read_parquet(folder / "new.parquet")
    expected = np.where(found["probability_yes"] >= threshold, "yes", "no")
    assert found["predicted"].tolist() == expected.tolist()
    change(folder, train={"folds": 1}, evaluate={"threshold": {"best": "f1"}})
    done = run(folder, *COMMANDS["calibrate"])
    assert "evaluate.threshold: is chosen on out-of-fold predictions" in done.stderr
