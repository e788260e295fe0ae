"""The data of the plots is correct, and small enough for git."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from sklearn.metrics import precision_recall_curve, roc_curve

from keras_tabular.evaluation import plot_data
from keras_tabular.inspection.importance import REPEATS, permutation_importance
from keras_tabular.scoring.scores import Predictions
from tests.helpers import BINARY, PROJECT, build_schema


def test_dvc_plots_read_files_and_columns_that_are_written() -> None:
    plots = yaml.safe_load((PROJECT / "metrics/dvc.yaml").read_text())["plots"]
    for plot in (plot for entry in plots for plot in entry.values()):
        ((file, y),) = plot["y"].items()
        if file != "curves/loss.csv":
            columns = {plot["x"], *([y] if isinstance(y, str) else y)}
            assert columns <= {*plot_data.HEADERS[Path(file).stem]}


@pytest.mark.parametrize("digits", [1, 9])
def test_the_curves_are_those_of_scikit_learn(digits: int) -> None:
    rng = np.random.default_rng(0)
    truth, probability = rng.random(200) < 0.3, rng.random(200).round(digits)
    weight = rng.integers(1, 4, 200).astype(float)
    plots = plot_data.ranking_plots(truth, probability, weight)
    expected = np.column_stack(roc_curve(truth, probability, sample_weight=weight)[:2])
    computed = np.column_stack(plots["roc"])
    assert {*map(tuple, computed.round(12))} <= {*map(tuple, expected.round(12))}
    along = np.interp(expected.sum(axis=1), computed.sum(axis=1), computed[:, 1])
    np.testing.assert_allclose(along, expected[:, 1], atol=1e-12)  # omitted points lie on lines
    precision, recall, _ = precision_recall_curve(truth, probability, sample_weight=weight)
    best = pd.Series(precision).groupby(recall).max()
    np.testing.assert_array_equal(plots["precision_recall"], [best.index, best])


def test_no_plot_passes_200_kb_and_the_confusion_counts_every_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 50_000).astype(float)
    predicted = rng.random((len(y), 1), dtype=np.float32)
    test = Predictions(BINARY, y, predicted, np.ones(len(y)), 0.7)
    plots = plot_data.compute_plots(test, {"x": rng.random(10)})
    plot_data.write_plots(tmp_path, plots, test, np.arange(len(y)))
    sizes = {path.stem: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {*plot_data.HEADERS, "test_rows"}
    assert max(sizes.values()) < 200_000
    rows = pd.read_csv(tmp_path / "confusion.csv")
    assert rows["rows"].sum() == len(y)
    assert rows["rows"][rows["predicted class"] == 1].sum() == (predicted >= 0.7).sum()
    assert rows.groupby("true class")["share"].sum().tolist() == pytest.approx([1, 1])


def test_the_cost_of_each_threshold_is_computed() -> None:
    y, p = np.array([0.0, 0.0, 1.0, 1.0]), np.array([[0.1], [0.6], [0.4], [0.9]])
    test = Predictions(BINARY, y, p, np.ones(4), costs=((0, 1), (5, 0)))
    thresholds, *columns = plot_data.compute_plots(test, {})["threshold"]
    points = dict(zip(thresholds, zip(*columns, strict=True), strict=True))
    assert points[0.5] == (0.5, 0.5, 0.5, 0.5, (5 + 1) / 4)
    assert np.isnan(points[0.95][1])  # precision


def permute(feature: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the importance of a column that is predicted exactly, and of an unused column."""
    columns = {name: {"kind": "real"} for name in ("used", "unused", "weight")}
    schema = build_schema("regression", **columns).model_copy(update={"weight": "weight"})
    rows = pa.table({"used": feature, "unused": feature, "weight": weight.astype(float)})
    return permutation_importance(lambda inputs: inputs["used"][:, None], rows, feature, schema, 1)


def test_a_weight_counts_like_repeated_rows_and_only_columns_that_are_read_are_important() -> None:
    rng = np.random.default_rng(0)
    feature, repeats, once = rng.random(1000), rng.integers(0, 4, 1000), np.ones(1000)
    repeats[feature > 0.5] = 9
    copies, ones = np.repeat(np.arange(1000), repeats), np.ones(repeats.sum())
    importance = permute(feature, once)
    assert (importance["unused"] == 0).all()
    assert len(importance["used"]) == REPEATS
    # The expected squared difference of two independent rows is twice the variance.
    unweighted = importance["used"].mean()
    assert unweighted == pytest.approx(2 * feature.var(), rel=0.2)
    repeated = permute(feature[copies], ones)["used"].mean()
    assert permute(feature, repeats)["used"].mean() == pytest.approx(repeated, rel=0.1)
    assert unweighted > 1.3 * repeated

    y = (rng.random(1000) < feature).astype(float)
    rows = Predictions(BINARY, y, feature[:, None], repeats.astype(float))
    plots = plot_data.probability_plots(rows)
    expected = plot_data.probability_plots(rows.select(copies)._replace(weight=ones))
    np.testing.assert_allclose(plots["calibration"][:2], expected["calibration"][:2])
    np.testing.assert_allclose(plots["roc"], expected["roc"])
