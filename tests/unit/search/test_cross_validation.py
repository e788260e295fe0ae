"""The last score of a trial is the one that train and evaluate would give."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from tabular.evaluation.scores import Predictions, score
from tabular.model.training.fit import fit
from tabular.model.training.selection import blended
from tabular.model.training.setup import set_up
from tabular.search.study import fold_predictions
from tabular.table.parquet import arrow_schema, write_part
from tests.helpers import schema_of, train_params


def test_the_last_score_is_that_of_all_rows(tmp_path: Path) -> None:
    """Each fold trains two networks of one architecture and one of another."""
    schema = schema_of("multiclass")
    train = train_params({"plain": {"epochs": 1, "units": (4,), "batch_size": 40}}, folds=2)
    members = [{"network": "plain", "count": 2}, {"network": "other"}]
    other = train.value("networks.plain")
    train = train.changed({"networks.other": other, "members": members})
    resolved = train.resolved(60, "multiclass", 8)
    x = np.random.default_rng(0).normal(size=60)
    labels = np.digitize(x, [-0.5, 0.5])
    y = [schema.classes[label] for label in labels]
    write_part(tmp_path, 0, pa.table({"x": x, "y": y}, schema=arrow_schema(schema)))
    predictions = fold_predictions(resolved, tmp_path, schema, 0.5)
    first, last = (score(of_folds, schema) for of_folds in predictions)
    setup = set_up(tmp_path, schema, resolved)
    ensemble = blended(setup, list(fit(setup)))
    assert first != last == score(Predictions(labels, ensemble.oof, np.ones(60)), schema)
