"""The cross-validated score of a trial."""

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tabular.config.schema import Schema
from tabular.config.sections import Choice, Resolved
from tabular.core.errors import UserError
from tabular.evaluation.calibration import choose_threshold
from tabular.evaluation.scores import Predictions, score
from tabular.model.backend import keras
from tabular.model.training.fit import fit
from tabular.model.training.selection import Member, blended
from tabular.model.training.setup import set_up
from tabular.search.study import Peers, TrialResult, bootstrap_draws
from tabular.table.groups import row_groups


def fold_predictions(
    train: Resolved, folder: Path, schema: Schema, threshold: float | Choice
) -> Iterator[Predictions]:
    """Yield the out-of-fold predictions for the first fold, the first two, and so on to all rows.

    Where networks learn in cycles that is after the first one, and the last ones after all.

    Raises:
        UserError: a training diverges to NaN or infinity, or a column cannot be preprocessed.
    """
    keras.utils.clear_session()
    gc.collect()
    setup = set_up(folder, schema, train)
    y, groups = setup.y[:, 0], row_groups(folder, schema)
    members: list[Member] = []
    per_fold = sum(kind.count for kind in setup.train.members)

    def predictions() -> Predictions:
        ensemble = blended(setup, members)
        labels, weight = y[ensemble.rows], setup.row_weights(ensemble.rows)
        chosen = choose_threshold(threshold, labels, ensemble.oof[:, 0], weight)
        weight = np.ones(len(labels)) if weight is None else weight
        group = None if groups is None else groups[ensemble.rows]
        return Predictions(labels, ensemble.oof, weight, chosen, group)

    first = per_fold * train.folds
    for member in fit(setup):
        members.append(member)
        if len(members) <= first and not len(members) % per_fold:
            yield predictions()
    if len(members) > first:
        yield predictions()


def cross_validate(
    train: Resolved,
    folder: Path,
    schema: Schema,
    metric: str,
    threshold: float | Choice,
    peers: Peers,
) -> TrialResult:
    """The result of a trial with these parameters; it is pruned where its `peers` are better."""
    by_fold: dict[int, float] = {}
    try:
        folds = fold_predictions(train, folder, schema, threshold)
        for fold, predictions in enumerate(folds, start=1):
            value = score(predictions, schema).value(metric)
            if value is not None:
                by_fold[fold] = value
            if 1 < fold < train.folds and peers.should_prune(value, fold):
                return TrialResult(None, by_fold, f"a bad {metric} after {fold} folds")
        if value is None:
            return TrialResult(None, by_fold, f"the training rows have no {metric}")
        return TrialResult(value, by_fold, draws=bootstrap_draws(predictions, schema, metric))
    except UserError as error:
        return TrialResult(None, by_fold, str(error))
