"""The trials of a search, which Optuna keeps, suggests and prunes, and what the best is worth."""

import gc
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tabular.config.params import Params
from tabular.config.schema import Schema
from tabular.config.sections import Candidates, Resolved
from tabular.core.errors import UserError
from tabular.evaluation.calibration import choose_threshold
from tabular.evaluation.scores import Predictions, score, scores_by_weights
from tabular.evaluation.uncertainty import resampling_weights
from tabular.model.backend import keras
from tabular.model.training.fit import fit
from tabular.model.training.selection import Member, blended
from tabular.model.training.setup import set_up
from tabular.table.groups import row_groups

MIN_TRIALS, MIN_FOLDS = 4, 2  # finished trials, and folds of a trial, before it may be pruned
DRAWS = 200


def open_study(path: Path, name: str, *, greater_is_better: bool) -> optuna.Study:
    """Open the study of this name in a journal file, or begin it.

    Raises:
        UserError: The file is something else.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))),
            pruner=optuna.pruners.MedianPruner(MIN_TRIALS, MIN_FOLDS),
            study_name=name,
            direction="maximize" if greater_is_better else "minimize",
            load_if_exists=True,
        )
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path}: found no journal of a search ({error}); remove it") from None


def run_trial(
    number: int, study: optuna.Study, train: Resolved, params: Params, schema: Schema, folder: Path
) -> str:
    """Cross-validate one more trial of a study, the first of which has the present parameters.

    Args:
        number: Finished trials before; it seeds the sampler, together with `search.seed`.
        folder: Training rows.

    Returns:
        The best score of the study so far.
    """
    metric, threshold = params.search.score, params.evaluate.threshold

    def objective(trial: optuna.Trial) -> float:
        changes = suggest_changes(trial, train, params.search.space) if number else {}
        trial.set_user_attr("changes", changes)
        try:
            steps = fold_predictions(train.changed(changes), folder, schema, threshold)
            for fold, predictions in enumerate(steps, 1):
                value = score(predictions, schema).value(metric)
                if value is not None:
                    trial.report(value, fold)
                if fold < train.folds and trial.should_prune():
                    raise UserError(f"a bad {metric} after {fold} folds")
            if value is None:
                raise UserError(f"the training rows have no {metric}")
        except UserError as error:  # also of a training that diverges
            trial.set_user_attr("reason", str(error))
            raise optuna.TrialPruned from None
        trial.set_user_attr("draws", bootstrap_draws(predictions, schema, metric))
        return value

    study.sampler = optuna.samplers.TPESampler(seed=params.search.seed + number)
    study.optimize(objective, n_trials=1)
    best = study.best_trials
    return f"best {metric} {best[0].value:.4f}" if best else f"none has a {metric}"


def suggest_changes(
    trial: optuna.Trial, train: Resolved, space: dict[str, Candidates]
) -> dict[str, Any]:
    """Return the values that Optuna suggests for keys of `train`, decimals with three digits."""
    changes: dict[str, Any] = {}
    for key, candidates in space.items():
        if candidates.values is not None:  # a choice of Optuna cannot be a list
            choices = [json.dumps(value) for value in candidates.values]
            changes[key] = json.loads(trial.suggest_categorical(key, choices))
            continue
        low, high = (train.changed({key: limit}).value(key) for limit in candidates.limits)
        if isinstance(low, int):
            changes[key] = trial.suggest_int(key, low, high, log=candidates.log)
        else:
            value = float(f"{trial.suggest_float(key, low, high, log=candidates.log):.3g}")
            changes[key] = min(max(value, low), high)
    return changes


def fold_predictions(
    train: Resolved, folder: Path, schema: Schema, threshold: Any
) -> Iterator[Predictions]:
    """Yield the out-of-fold predictions for the first fold, the first two, and so on to all rows.

    Where networks learn in cycles, these are of the first cycle, and those of the last one follow.

    Raises:
        UserError: A training diverges to NaN or infinity, or a column cannot be preprocessed.
    """
    keras.utils.clear_session()
    gc.collect()
    setup = set_up(folder, schema, train)
    y, groups = setup.y[:, 0], row_groups(folder, schema)
    per_fold = sum(members.count for members in train.members)
    members: list[Member] = []

    def predictions() -> Predictions:
        ensemble = blended(setup, members)
        labels, weight = y[ensemble.rows], setup.weight[ensemble.rows]
        chosen = choose_threshold(threshold, labels, ensemble.oof[:, 0], weight)
        group = None if groups is None else groups[ensemble.rows]
        return Predictions(labels, ensemble.oof, weight, chosen, group)

    for member in fit(setup):
        members.append(member)
        if len(members) <= per_fold * train.folds and not len(members) % per_fold:
            yield predictions()
    if len(members) > per_fold * train.folds:
        yield predictions()


class Draws(NamedTuple):
    """Scores in bootstrap draws of the rows, NaN where the rows have no such score.

    Attributes:
        drawn: Score of the rows of each draw.
        left_out: Score of the rows that each draw left out.
    """

    drawn: list[float]
    left_out: list[float]


def bootstrap_draws(predictions: Predictions, schema: Schema, metric: str) -> Draws:
    """Compute the score in every draw; the draws are the same for all predictions of the rows."""
    draws = Draws([], [])
    for counts in resampling_weights(np.ones(len(predictions.y)), DRAWS, predictions.group):
        for values, weights in zip(draws, (counts, counts == 0), strict=True):
            scores = scores_by_weights(predictions, weights * predictions.weight, schema)
            values.extend(scores[metric].tolist())
    return draws


def expected_gain(trials: Sequence[Draws], first: Draws, *, greater_is_better: bool) -> float:
    """Return by how much the best trial scores above the first on rows that did not choose it.

    In each draw the best trial is chosen by the rows drawn, and scored on those left out: bias
    correction by the bootstrap, Tsamardinos, Greasidou and Borboudakis, "Bootstrapping the
    out-of-sample predictions for efficient and accurate cross-validation" (2018). The gain is 0
    where no draw has a score.
    """
    drawn, left_out = (np.array(scores) for scores in zip(*trials, strict=True))
    drawn = np.where(np.isfinite(drawn), drawn, -np.inf if greater_is_better else np.inf)
    best = drawn.argmax(axis=0) if greater_is_better else drawn.argmin(axis=0)
    gains = left_out[best, np.arange(left_out.shape[1])] - first.left_out
    return float(np.nanmean(gains)) if np.isfinite(gains).any() else 0.0
