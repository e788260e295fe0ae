"""The score of a trial is the one that train and evaluate would give."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tabular.evaluation.scores import Predictions, score
from tabular.model.training.fit import fit
from tabular.model.training.selection import blended
from tabular.model.training.setup import Setup
from tabular.search.study import fold_predictions
from tabular.table.parquet import arrow_schema, write_part
from tests.helpers import schema_of, train_params


def test_the_last_score_is_that_of_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all members: two of one kind of network and one of another for each fold."""
    schema = schema_of("multiclass")
    train = train_params({"plain": {"epochs": 1, "units": (4,), "batch_size": 40}}, folds=2)
    members = [{"network": "plain", "count": 2}, {"network": "other"}]
    other = train.value("networks.plain")
    train = train.changed({"networks.other": other, "members": members})
    x = np.random.default_rng(0).normal(size=60)
    of_rows = np.digitize(x, [-0.5, 0.5])
    y = [schema.classes[place] for place in of_rows]
    write_part(tmp_path, 0, pa.table({"x": x, "y": y}, schema=arrow_schema(schema)))
    setups, fitted = [], []

    def recorded(setup: Setup) -> Any:
        setups.append(setup)
        for member in fit(setup):
            fitted.append(member)
            yield member

    monkeypatch.setattr("tabular.search.study.fit", recorded)
    outputs = fold_predictions(train.resolved(60, "multiclass", 8), tmp_path, schema, 0.5)
    first, last = (score(of, schema) for of in outputs)
    found = blended(setups[0], fitted)
    assert first != last == score(Predictions(of_rows, found.oof, np.ones(60)), schema)
    assert len(fitted) == 6
