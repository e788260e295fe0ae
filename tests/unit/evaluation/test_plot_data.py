"""The data of the plots fits git, and says what it left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tabular.evaluation.importance import REPEATS, permutation_importance
from tabular.evaluation.plot_data import HEADERS, write_plot_data
from tests.helpers import schema_of


def test_no_plot_passes_200_kb_and_the_confusion_says_what_it_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300_000).astype(float)
    predicted = rng.random((len(y), 1), dtype=np.float32)
    write_plot_data(tmp_path, y, predicted, {"x": rng.random(10)}, schema_of("binary"), 0.5)
    sizes = {path.stem: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == HEADERS.keys()
    assert max(sizes.values()) < 200_000
    rows = pd.read_csv(tmp_path / "confusion.csv")
    (step,) = rows["true class"].str.extract(r"1 row of (\d+)")[0].astype(int).unique()
    assert len(rows) == pytest.approx(len(y) / step, abs=1)
    positive = rows["predicted class"].mean()
    assert positive == pytest.approx((predicted >= 0.5).mean(), abs=2 / len(rows))


def test_the_column_that_a_model_reads_is_the_important_one() -> None:
    schema = schema_of("regression", used={"kind": "real"}, unused={"kind": "real"})
    rng = np.random.default_rng(0)
    rows = pa.table({name: rng.random(200) for name in schema.columns})
    y = rows["used"].to_numpy()
    rises = permutation_importance(lambda columns: columns["used"][:, None], rows, y, schema, 1)
    assert (rises["unused"] == 0).all()
    # Of two independent draws with the variance of the rows the squared difference is twice it.
    assert rises["used"].mean() == pytest.approx(2 * y.var(), rel=0.2)
    assert len(rises["used"]) == REPEATS
