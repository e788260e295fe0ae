"""Measure how often the gate warns of models that are right, or that are wrong.

Nothing is trained: the rows and models that explain 0.35 of the variance of the target
are drawn by `benchmarks.rows`. These are the simulations:

- `calibration`: a calibrated model; of classes, also one whose logits are 2.5 times too
  large or too small, with 300 rows.
- `leaks`: a model that predicts 20 or 300 test rows perfectly.
- `identifiers`: columns that the schema does not declare as groups. One has the groups
  of the rows, if there are any, and two others have nothing to do with the rows.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from scipy.special import expit, logit

from benchmarks.rows import (
    CLUSTER_SIZE,
    DEPENDENT,
    KINDS,
    REGRESSION,
    Rows,
    tasks_of_kind,
)
from benchmarks.simulations import Measurement, Simulations, build_schema
from benchmarks.verdicts import BEAT_ALL, judge_models
from keras_tabular.evaluation.calibration import measure_calibration
from keras_tabular.evaluation.records import Evaluation
from keras_tabular.evaluation.result import find_undeclared_groups
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.evaluation.summary import range_warnings
from keras_tabular.table.parquet import write_part

SHARE = 0.35
FACTORS = {"too large": 2.5, "too small": 0.4}
WRONG_ROWS = 300
LEAK_ROWS = (20, 300)
IDENTIFIED_ROWS = (300, 1000)
MAX_WRONG = 0.05
NOT_CLAIMED = "undeclared", "short time", "few others"


def has_warning(model: Predictions) -> bool:
    """Return whether the gate warns of the calibration."""
    measures = measure_calibration(model, model.task.losses[0])
    evaluation = Evaluation(main_metrics=("loss",), scores=(), calibration=measures)
    return any(range_warnings(evaluation, model.task))


def measure_calibrated(name: str, draws: int) -> Iterator[Measurement]:
    """Yield how often the gate warns of calibrated models, and of others."""
    kind = KINDS[name]
    for task, rows in product(tasks_of_kind(name), kind.sizes):
        rng = np.random.default_rng(rows)
        models = []
        for _ in range(draws):
            models += Rows(rng, kind, rows).draw_models(task, (SHARE,))
        where = f"{name}, {task.name}, {rows} rows"
        limit = None if kind.family in NOT_CLAIMED else MAX_WRONG
        share = float(np.mean([has_warning(model) for model in models]))
        yield Measurement("calibrated", kind.family, where, share, limit)
        if task is REGRESSION or rows != WRONG_ROWS:
            continue
        for words, factor in FACTORS.items():
            has_warnings = [
                has_warning(model._replace(y_pred=expit(factor * logit(model.y_pred))))
                for model in models
            ]
            limit = 0.8 if kind.family == "independent" else None
            claim = f"logits 2.5 times {words}, 300 rows"
            share = float(np.mean(has_warnings))
            yield Measurement(claim, kind.family, where, share, limit, True)


def measure_leaks(name: str, draws: int) -> Iterator[Measurement]:
    """Yield how often the headline of a perfect model names a leak."""
    family = KINDS[name].family
    few = max(draws // 4, 1)
    for rows, task in product(LEAK_ROWS, tasks_of_kind(name)):
        rng = np.random.default_rng(rows)
        n_named = 0
        for _ in range(few):
            (model,) = Rows(rng, KINDS[name], rows).draw_models(task, (SHARE,))
            perfect = model._replace(y_pred=model.y[:, None])
            (verdict,) = judge_models((perfect, model), (BEAT_ALL,))
            n_named += "leaks the target" in verdict.headline
        claim = f"perfect, {rows} rows"
        where = f"{name}, {task.name}"
        limit = 1.0 if family == "independent" else None
        yield Measurement(claim, family, where, n_named / few, limit, True)


def measure_identifiers(name: str, draws: int) -> Iterator[Measurement]:
    """Yield how often a column is named whose rows may belong together."""
    family = KINDS[name].family
    few = max(draws // 4, 1)
    wrong = 0
    cases = [*product(IDENTIFIED_ROWS, tasks_of_kind(name))]
    for rows, task in cases:
        rng = np.random.default_rng(rows)
        schema = build_schema(task.name)
        right = 0
        for _ in range(few):
            drawn = Rows(rng, KINDS[name], rows)
            (model,) = drawn.draw_models(task, (SHARE,))
            columns = {
                f"of_{size}_id": rng.permutation(rows) // size
                for size in (3, CLUSTER_SIZE)
            }
            if drawn.cluster is not None:
                columns["group_id"] = drawn.cluster
            with TemporaryDirectory() as folder:
                write_part(Path(folder), 0, pa.table(columns))
                named = find_undeclared_groups(Path(folder), model, schema)
            right += "group_id" in named
            wrong += not named.keys() <= {"group_id"}
        if "group_id" in columns:
            claim = "identifier of groups"
            where = f"{name}, {task.name}, {rows} rows"
            yield Measurement(claim, family, where, right / few, None, True)
    share = wrong / few / len(cases)
    yield Measurement("identifier of unrelated rows", family, name, share, MAX_WRONG)


SIMULATIONS: Simulations = {
    measure_calibrated: tuple(KINDS),
    measure_leaks: DEPENDENT,
    measure_identifiers: ("independent", "clusters, not declared", "t", "90 % zeros"),
}
