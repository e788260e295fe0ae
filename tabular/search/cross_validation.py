"""The cross-validated score of a trial."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna

from tabular.errors import UserError
from tabular.evaluation.scores import score
from tabular.model import ensemble
from tabular.model.backend import keras
from tabular.params.evaluate import Choice
from tabular.params.train import Resolved
from tabular.schema import Schema
from tabular.search.study import is_bad
from tabular.threshold import choose_threshold


def fold_scores(
    train: Resolved, folder: Path, schema: Schema, metric: str, threshold: float | Choice
) -> Iterator[float | None]:
    """The score over the rows of the first fold, of the first two, and so on to all rows.

    None where these rows have no such score.

    Raises:
        UserError: a training leaves the finite numbers, or a column cannot be preprocessed.
    """
    keras.utils.clear_session()
    gc.collect()
    setup = ensemble.set_up(folder, schema, train)
    y = setup.y[:, 0]
    members: list[ensemble.Member] = []
    per_fold = sum(kind.count for kind in setup.train.members)
    for member in ensemble.fit(setup, []):
        members.append(member)
        if len(members) % per_fold:
            continue
        found = ensemble.blend(setup, members)
        weight = setup.row_weights(found.rows)
        chosen = choose_threshold(threshold, y[found.rows], found.oof[:, 0], weight)
        value: Any = score(y[found.rows], found.oof, schema, chosen, weight)
        for key in metric.split("."):
            value = value.get(key)
        yield value


def cross_validate(
    trial: optuna.Trial,
    train: Resolved,
    folder: Path,
    schema: Schema,
    metric: str,
    threshold: float | Choice,
) -> float | None:
    """The score of a trial; None where it was given up, for which its `reason` is kept."""
    try:
        folds = fold_scores(train, folder, schema, metric, threshold)
        for fold, value in enumerate(folds, start=1):
            if value is not None:
                trial.report(value, fold)
            if 1 < fold < train.folds and is_bad(trial.study, value, fold):
                trial.set_user_attr("reason", f"a bad {metric} after {fold} folds")
                return None
        if value is None:
            trial.set_user_attr("reason", f"the training rows have no {metric}")
        return value
    except UserError as error:
        trial.set_user_attr("reason", str(error))
        return None
