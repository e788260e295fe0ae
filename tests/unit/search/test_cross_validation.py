"""The score of a trial is the one that train and evaluate would give."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tabular.evaluation.scores import score
from tabular.model import ensemble
from tabular.model.dataset import all_labels
from tabular.search.cross_validation import fold_scores
from tabular.table.parquet import arrow_schema, write_part
from tests.helpers import schema_of, train_params


@pytest.mark.parametrize(("task", "name"), [("regression", "rmse"), ("multiclass", "macro.f1")])
def test_the_last_score_is_that_of_all_rows(task: str, name: str, tmp_path: Path) -> None:
    schema = schema_of(task)
    plain = {"epochs": 5, "units": (4,), "batch_size": 40}
    both = train_params({"plain": plain}, folds=3).changed(
        {"networks.other": train_params().value("networks.plain") | plain | {"units": (8,)}}
    )
    members = [{"network": "plain", "count": 2}, {"network": "other"}]
    train = both.changed({"members": members}).resolved(60, task)
    x = np.random.default_rng(0).normal(size=60)
    y = 1000 + 50 * x
    if task == "multiclass":
        y = np.array(schema.classes)[np.digitize(x, [-0.5, 0.5])]
    write_part(tmp_path, 0, pa.table({"x": x, "y": y.tolist()}, schema=arrow_schema(schema)))

    first, _, last = fold_scores(train, tmp_path, schema, name, 0.5)

    setup = ensemble.set_up(tmp_path, schema, train)
    found = ensemble.blend(setup, list(ensemble.fit(setup)))
    expected: Any = score(all_labels(tmp_path, schema)[:, 0], found.oof, schema, 0.5)
    for key in name.split("."):
        expected = expected[key]
    assert last == expected
    assert first != last
