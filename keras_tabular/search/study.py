"""The trials of a search, which Optuna keeps, suggests and prunes, and what the best is worth."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Candidates, ResolvedTrain
from keras_tabular.core.errors import UserError
from keras_tabular.core.metrics import metric
from keras_tabular.evaluation.calibration import choose_threshold
from keras_tabular.evaluation.scores import Predictions, score, scores_by_weights
from keras_tabular.evaluation.uncertainty import resampling_weights
from keras_tabular.networks.backend import keras
from keras_tabular.networks.network import Build
from keras_tabular.table.groups import row_groups
from keras_tabular.training.checkpoint import Snapshot
from keras_tabular.training.ensemble import weigh_snapshots
from keras_tabular.training.fit import fit
from keras_tabular.training.setup import set_up

FINISHED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
DRAWS = 200


def run_trials(
    study: optuna.Study,
    total: int,
    train: ResolvedTrain,
    params: Params,
    schema: Schema,
    build: Build,
    folder: Path,
) -> None:
    """Run trials until the study has finished `total`; the first has the present parameters.

    Args:
        train: The present parameters.
        params: The sections `search` and `evaluate`.
        build: Builds the layers of a network.
        folder: Training rows.
    """
    name, threshold = params.search.score, params.evaluate.threshold

    def objective(trial: optuna.Trial) -> float:
        is_first = not study.get_trials(deepcopy=False, states=FINISHED)
        changes = {} if is_first else suggest_changes(trial, train, params.search.space)
        trial.set_user_attr("changes", changes)
        steps = fold_predictions(train.with_values(changes), folder, schema, build, threshold)
        try:
            for fold, predictions in enumerate(steps, 1):
                value = score(predictions, schema).value(name)
                if value is not None:
                    trial.report(value, fold)
                if fold < train.folds and trial.should_prune():
                    raise optuna.TrialPruned(f"A bad {name} after {fold} folds.")
        except UserError as error:  # such as a training that diverges
            raise optuna.TrialPruned(str(error)) from None
        if value is None:
            raise optuna.TrialPruned(f"The training rows have no {name}.")
        trial.set_user_attr("draws", bootstrap_scores(predictions, schema, name).tolist())
        return value

    finished = len(study.get_trials(deepcopy=False, states=FINISHED))
    study.sampler = optuna.samplers.TPESampler(seed=params.search.seed + finished)
    study.optimize(objective, n_trials=max(total - finished, 0), gc_after_trial=True)


def suggest_changes(
    trial: optuna.Trial, train: ResolvedTrain, space: dict[str, Candidates]
) -> dict[str, Any]:
    """Return the values that Optuna suggests for keys of `train`, decimals with three digits."""
    changes: dict[str, Any] = {}
    for key, candidates in space.items():
        if candidates.values is not None:  # a choice of Optuna cannot be a list
            choices = [json.dumps(value) for value in candidates.values]
            changes[key] = json.loads(trial.suggest_categorical(key, choices))
            continue
        low, high = (train.with_values({key: limit}).value(key) for limit in candidates.limits)
        if isinstance(low, int):
            changes[key] = trial.suggest_int(key, low, high, log=candidates.log)
        else:
            value = float(f"{trial.suggest_float(key, low, high, log=candidates.log):.3g}")
            changes[key] = min(max(value, low), high)
    return changes


def fold_predictions(
    train: ResolvedTrain, folder: Path, schema: Schema, build: Build, threshold: Any
) -> Iterator[Predictions]:
    """Yield the out-of-fold predictions for the first fold, the first two, and so on to all rows.

    With `cosine_restarts`, these are predictions after the first cycle; only the last ones, of all
    rows, are of all cycles.

    Raises:
        UserError: A training diverges to NaN or infinity, or a column cannot be preprocessed.
    """
    keras.utils.clear_session()
    setup = set_up(folder, schema, train, build)
    groups = row_groups(folder, schema)
    snapshots: list[Snapshot] = []

    def ensemble_predictions() -> Predictions:
        ensemble = weigh_snapshots(setup, snapshots)
        y, weight = setup.y[ensemble.rows, 0], setup.weight[ensemble.rows]
        chosen = choose_threshold(threshold, y, ensemble.oof[:, 0], weight)
        group = None if groups is None else groups[ensemble.rows]
        return Predictions(y, ensemble.oof, weight, chosen, group)

    per_fold = sum(members.count for members in train.members)
    for snapshot in fit(setup):
        snapshots.append(snapshot)
        if len(snapshots) in range(per_fold, per_fold * train.folds, per_fold):
            yield ensemble_predictions()
    yield ensemble_predictions()


def bootstrap_scores(predictions: Predictions, schema: Schema, name: str) -> np.ndarray:
    """Compute the score of the rows in each bootstrap draw, and of those that it left out.

    The draws are the same for all predictions of the rows. A score is NaN where it is undefined.

    Returns:
        float64, shape (2, draws).
    """
    scores = []
    for counts in resampling_weights(np.ones(len(predictions.y)), DRAWS, predictions.group):
        weights = counts * predictions.weight, (counts == 0) * predictions.weight
        scores.append([scores_by_weights(predictions, each, schema)[name] for each in weights])
    return np.concatenate(scores, axis=1)


def summary(study: optuna.Study, name: str) -> str:
    """Return what the best trial is worth, and the command that runs it.

    Args:
        name: The score that the trials have.

    Raises:
        UserError: No trial has a score.
    """
    trials = study.get_trials(deepcopy=False, states=FINISHED)
    complete = [trial for trial in trials if trial.state == FINISHED[0]]
    if not complete:
        raise UserError(f"No trial has a {name}. The lines above say why.")
    greater_is_better = metric(name).greater_is_better
    best = (max if greater_is_better else min)(complete, key=lambda trial: trial.value)
    text = (
        f"Cross-validated {name} of {len(trials)} trials, {len(trials) - len(complete)} of them "
        f"given up: the best is {best.value:.6f}, of trial {best.number}."
    )
    changes = best.user_attrs["changes"]
    if not changes:
        return f"{text}\nNone is better than what params.yaml has now."
    present = next((trial for trial in complete if not trial.user_attrs["changes"]), best)
    draws = np.array([trial.user_attrs["draws"] for trial in complete])
    gain = expected_gain(draws, complete.index(present), greater_is_better=greater_is_better)
    now = "" if present is best else f", compared with {present.value:.6f} now"
    values = [f"train.{key}={as_override(value)}" for key, value in changes.items()]
    return (
        f"{text}\nIt was chosen by the rows that score it. On other rows, expect {name} "
        f"{present.value + gain:.6f}{now}.\n\n"
        f"dvc exp run {' '.join(f'-S {shlex.quote(value)}' for value in values)}"
    )


def as_override(value: Any) -> str:
    """Return a value of params.yaml as `dvc exp run -S` reads it."""
    return json.dumps(value, separators=(",", ":")).replace('"', "")


def expected_gain(draws: np.ndarray, first: int, *, greater_is_better: bool) -> float:
    """Return by how much the best trial scores above the first on rows that did not choose it.

    In each draw the best trial is chosen by the rows drawn, and scored on those left out: bias
    correction by the bootstrap, Tsamardinos, Greasidou and Borboudakis, "Bootstrapping the
    out-of-sample predictions for efficient and accurate cross-validation" (2018). The gain is 0
    where no draw has a score.

    Args:
        draws: The `bootstrap_scores` of each trial, shape (trials, 2, draws).
        first: Number of the trial to compare with.
    """
    drawn, left_out = draws[:, 0], draws[:, 1]
    losses = np.nan_to_num(-drawn if greater_is_better else drawn, nan=np.inf)
    gains = left_out[losses.argmin(axis=0), np.arange(drawn.shape[1])] - left_out[first]
    return float(np.nanmean(gains)) if np.isfinite(gains).any() else 0.0
