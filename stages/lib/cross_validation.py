"""The cross-validated score of parameters, as a trial of a search asks for it."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import Trial

from stages.lib import trials
from stages.lib.params import Params
from stages.lib.stage import UserError

FOLDS = 10  # where neither search nor train says how many


def with_folds(params: Params, rows: int) -> Params:
    """The parameters as each trial cross-validates them.

    Raises:
        UserError: there are more folds than rows.
    """
    folds = params.search.folds or (params.train.folds if params.train.folds > 1 else FOLDS)
    if folds > rows:
        raise UserError(f"{folds} folds, but {rows} training rows; set search.folds lower")
    return params.with_train({"ensemble": folds, "members": "folds"})


def fold_scores(params: Params, folder: Path) -> Iterator[float | None]:
    """The score over the rows of the first fold, of the first two, and so on to all rows.

    None where these rows have no such score.

    Raises:
        UserError: a training leaves the finite numbers, or a column cannot be prepared.
    """
    from stages.lib import ensemble, training
    from stages.lib.backend import keras
    from stages.lib.blocks import all_labels
    from stages.lib.scores import score

    keras.utils.clear_session()
    gc.collect()
    data, train = params.data, params.train
    ready = training.ready(folder, data, train)
    y = all_labels(folder, data)[:, 0]
    rows, outputs = [], []
    for member in ensemble.fit(ready.untrained, ready.rows, [], train):
        rows.append(member.rows)
        outputs.append(ready.in_units(member.outputs))
        seen = np.concatenate(rows)
        order = np.argsort(seen)  # as evaluate adds them up
        predicted = np.concatenate(outputs)[order]
        found: Any = score(y[seen[order]], predicted, data, params.evaluate.threshold)
        for key in params.search.score.split("."):
            found = found.get(key)
        yield found


def cross_validate(params: Params, folder: Path, trial: Trial) -> float | None:
    """The score of a trial; None where it was given up, for which its `reason` is kept."""
    try:
        for fold, score in enumerate(fold_scores(params, folder), start=1):
            if score is not None:
                trial.report(score, fold)
            if 1 < fold < params.train.folds and trials.is_bad(trial.study, score, fold):
                trial.set_user_attr("reason", f"a bad {params.search.score} after {fold} folds")
                return None
        if score is None:
            trial.set_user_attr("reason", f"the training rows have no {params.search.score}")
        return score
    except UserError as error:
        trial.set_user_attr("reason", str(error))
        return None
