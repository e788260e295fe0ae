"""Run the trials of a search with Optuna, and estimate what the best one is worth."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from keras_tabular.config.metrics import CUSTOM, CustomMetric
from keras_tabular.config.sections import Candidates, Evaluate, ResolvedTrain, Search
from keras_tabular.core import process
from keras_tabular.core.errors import UserError
from keras_tabular.evaluation.calibration import choose_threshold, cross_fit
from keras_tabular.evaluation.scores import Predictions, score, scores_by_weights
from keras_tabular.network.backend import keras
from keras_tabular.training.checkpoint import Snapshot
from keras_tabular.training.ensemble import weigh_snapshots
from keras_tabular.training.rounds import fit
from keras_tabular.training.setup import Setup

FINISHED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
N_DRAWS = 200  # bootstrap draws behind the expected gain
MIN_TRIALS, MIN_FOLDS = 4, 2  # finished trials, and folds of a trial, before it may be pruned


def open_study(storage: Path, name: str, *, maximize: bool) -> optuna.Study:
    """Open the study of a name in the file that keeps the trials, or begin a new one."""
    storage.parent.mkdir(parents=True, exist_ok=True)
    process.kept_work = f"The same command continues after the trials in {storage}."
    # At Ctrl-C, Optuna warns of a failed trial, with a traceback.
    optuna.logging.get_logger("optuna.study._optimize").addFilter(lambda r: r.levelname == "INFO")
    journal = optuna.storages.journal.JournalFileBackend(str(storage))
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(journal),
        pruner=optuna.pruners.MedianPruner(MIN_TRIALS, MIN_FOLDS),
        study_name=name,
        direction="maximize" if maximize else "minimize",
        load_if_exists=True,
    )


def run_trials(
    study: optuna.Study,
    total: int,
    train: ResolvedTrain,
    search: Search,
    predict_folds: Callable[[ResolvedTrain], Iterator[Predictions]],
) -> None:
    """Run trials until the study has finished `total` of them.

    The first trial has the current parameters.

    Args:
        train: The current parameters.
        predict_folds: Returns the result of `fold_predictions` with the parameters of a trial. An
            error that it raises stops the trial.
    """

    def objective(trial: optuna.Trial) -> float:
        keras.utils.clear_session()
        is_first = not study.get_trials(deepcopy=False, states=FINISHED)
        changes = {} if is_first else suggest_changes(trial, train, search.space)
        trial.set_user_attr("changes", changes)
        changed = train.with_values(changes)
        try:
            for fold, predictions in enumerate(predict_folds(changed), start=1):
                value = score(predictions).get(search.score)
                if value is not None:
                    trial.report(value, fold)
                if fold < train.folds and trial.should_prune():
                    raise optuna.TrialPruned(f"The {search.score} is bad after {fold} folds.")
        except UserError as error:  # for example, the training diverges
            raise optuna.TrialPruned(str(error)) from None
        if value is None:
            raise optuna.TrialPruned(f"The {search.score} of the training rows is undefined.")
        trial.set_user_attr("draws", bootstrap_scores(predictions, search.score).tolist())
        return value

    finished = len(study.get_trials(deepcopy=False, states=FINISHED))
    study.sampler = optuna.samplers.TPESampler(seed=search.seed + finished)
    study.optimize(objective, n_trials=max(total - finished, 0), gc_after_trial=True)


def suggest_changes(
    trial: optuna.Trial, train: ResolvedTrain, space: dict[str, Candidates]
) -> dict[str, Any]:
    """Return the values that Optuna suggests for keys of `train`, rounded to three digits."""
    changes: dict[str, Any] = {}
    for key, candidates in space.items():
        if candidates.values is not None:  # Optuna cannot choose among lists
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
    setup: Setup, groups: np.ndarray | None, params: Evaluate, metrics: Sequence[CustomMetric]
) -> Iterator[Predictions]:
    """Yield the out-of-fold predictions for the first fold, the first two folds, and so on.

    With `cosine_restarts`, they are predictions after the first cycle. Only the last ones, for all
    rows, are predictions after all cycles.

    Args:
        groups: Number of the group of each training row, shape (rows,); None if the rows are
            independent.
        params: The section `evaluate` of params.yaml.
        metrics: Metrics of the project.

    Raises:
        UserError: The training diverges to NaN or infinity.
    """
    snapshots, task, costs = list[Snapshot](), setup.task, params.costs(setup.task)

    def ensemble_predictions() -> Predictions:
        ensemble = weigh_snapshots(setup, snapshots)
        rows, oof = ensemble.rows, ensemble.predictions
        y, weight = setup.y[rows, 0], setup.weight[rows]
        group = None if groups is None else groups[rows]
        predictions = Predictions(task, y, oof, weight, costs or 0.5, group, metrics, costs)
        if not task.has_threshold:
            return predictions
        if (rule := params.threshold_rule) and len(np.unique(ensemble.fold)) > 1:
            return cross_fit(rule, predictions, ensemble.fold)
        return predictions._replace(threshold=choose_threshold(params.threshold, predictions)[0])

    per_fold = sum(members.count for members in setup.train.members)
    for snapshot in fit(setup):
        snapshots.append(snapshot)
        if len(snapshots) in range(per_fold, per_fold * setup.train.folds, per_fold):
            yield ensemble_predictions()
    yield ensemble_predictions()


def bootstrap_scores(predictions: Predictions, score_name: str) -> np.ndarray:
    """Compute the score of the rows in each bootstrap draw, and of the rows that it leaves out.

    The draws are the same for all trials. An undefined score is NaN.

    Returns:
        Scores of the drawn and of the other rows, float64, shape (2, draws).
    """
    is_custom, scores = score_name.startswith(CUSTOM), []
    compute = predictions.custom_scores if is_custom else partial(scores_by_weights, predictions)
    rng, group = np.random.default_rng(0), predictions.group
    units = np.arange(len(predictions.y)) if group is None else group
    for _ in range(N_DRAWS):  # Poisson counts: as in draws from many rows
        counts = rng.poisson(1.0, units.max() + 1)[None, units].astype(np.float64)
        weights = counts * predictions.weight, (counts == 0) * predictions.weight
        scores.append([compute(w)[score_name] for w in weights])
    return np.concatenate(scores, axis=1)


def summary(study: optuna.Study, score_name: str) -> str:
    """Describe the best trial: its score, the score to expect, and the command that runs it.

    Raises:
        UserError: No trial has a score.
    """
    trials = study.get_trials(deepcopy=False, states=FINISHED)
    complete = [trial for trial in trials if trial.state == FINISHED[0]]
    if not complete:
        raise UserError(f"No trial has a {score_name}. The lines above say why.")
    greater_is_better = study.direction == optuna.study.StudyDirection.MAXIMIZE
    best = (max if greater_is_better else min)(complete, key=lambda trial: trial.value)
    text = (
        f"{len(trials)} trials, {len(trials) - len(complete)} of which were stopped early. Trial "
        f"{best.number} has the best cross-validated {score_name}, {best.value:#.6g}."
    )
    changes = best.user_attrs["changes"]
    if not changes:
        return f"{text}\nIt has the current parameters: none of these trials is better."
    current = next((trial for trial in complete if not trial.user_attrs["changes"]), best)
    draws = np.array([trial.user_attrs["draws"] for trial in complete])
    gain = expected_gain(draws, complete.index(current), greater_is_better=greater_is_better)
    now = "" if current is best else f", compared with {current.value:#.6g} now"
    options = []
    for key, value in changes.items():  # in the syntax of Hydra, without quotes and spaces
        value_text = json.dumps(value, separators=(",", ":")).replace('"', "")
        options.append(f"-S {shlex.quote(f'train.{key}={value_text}')}")
    return (
        f"{text}\nThis score is too good, because the same rows chose the trial. On other rows, "
        f"expect {score_name} {current.value + gain:#.6g}{now}. To train with its parameters:\n\n"
        f"dvc exp run {' '.join(options)}"
    )


def expected_gain(draws: np.ndarray, current: int, *, greater_is_better: bool) -> float:
    """Estimate the gain of the best trial over the current parameters on new rows.

    In each draw, the trial with the best score on the drawn rows is scored on the rows left out.
    This is the bootstrap bias correction of Tsamardinos, Greasidou and Borboudakis, "Bootstrapping
    the out-of-sample predictions for efficient and accurate cross-validation" (2018). The gain is 0
    if no draw has a score.

    Args:
        draws: Result of `bootstrap_scores` for each trial, shape (trials, 2, draws).
        current: Index of the trial to compare with.
    """
    drawn, left_out = draws[:, 0], draws[:, 1]
    losses = np.nan_to_num(-drawn if greater_is_better else drawn, nan=np.inf)
    gains = left_out[losses.argmin(axis=0), np.arange(drawn.shape[1])] - left_out[current]
    return float(np.nanmean(gains)) if np.isfinite(gains).any() else 0.0
