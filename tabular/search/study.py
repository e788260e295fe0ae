"""A search: its space, its trials in a file, the next ones, pruning, and what its best is worth."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Self

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tabular.config.schema import Schema
from tabular.config.sections import Resolved, Search
from tabular.config.typed_yaml import Section
from tabular.core.errors import UserError
from tabular.evaluation.scores import Predictions, scores_by_weights
from tabular.evaluation.uncertainty import resampling_weights


def as_yaml(value: Any) -> str:
    """A value of `params.yaml` as `dvc exp run -S` reads it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{','.join(map(as_yaml, value))}]"
        case dict():
            return "{" + ",".join(f"{key}:{as_yaml(v)}" for key, v in value.items()) + "}"
        case Section():
            return as_yaml(value.model_dump())
    return str(value)


class Space:
    """The space of a search; Optuna knows a value of a list by its text.

    Attributes:
        distributions: by key.
        present: what `train` has now, as far as it lies in the space.
    """

    def __init__(self, search: Search, train: Resolved) -> None:
        self.distributions: dict[str, BaseDistribution] = {}
        self.present: dict[str, Any] = {}
        self._train = train
        self._values: dict[str, dict[str, Any]] = {}
        for key, candidates in search.space.items():
            limits = [train.changed({key: value}).value(key) for value in candidates.limits]
            now = train.value(key)
            if candidates.values is not None:
                self._values[key] = {as_yaml(value): value for value in limits}
                self.distributions[key] = CategoricalDistribution(tuple(self._values[key]))
                now = as_yaml(now)
                inside = now in self._values[key]
            else:
                kind = IntDistribution if isinstance(limits[0], int) else FloatDistribution
                self.distributions[key] = kind(*limits, log=candidates.log)
                inside = limits[0] <= now <= limits[1]
            if inside:
                self.present[key] = now

    def train(self, params: dict[str, Any]) -> Resolved:
        """`train` with the parameters of a trial: numbers to three digits, for people to read."""
        changes = {}
        for key, value in params.items():
            changes[key] = self._values[key][value] if key in self._values else value
            if isinstance(value, float) and value != self.present.get(key):
                ends = self.distributions[key]
                changes[key] = min(max(float(f"{value:.3g}"), ends.low), ends.high)
        return self._train.changed(changes)


DRAWS = 200


class Draws(NamedTuple):
    """A score in each of `DRAWS` bootstrap draws of the rows, and of the rows that it left out.

    NaN where these have no such score.
    """

    drawn: list[float]
    left_out: list[float]


def bootstrap_draws(predictions: Predictions, schema: Schema, metric: str) -> Draws:
    """Compute the score in every draw; the draws are the same for all predictions of the rows."""
    draws = Draws([], [])
    copies = np.ones(len(predictions.y))
    for times in resampling_weights(copies, DRAWS, predictions.group):
        for values, weights in zip(draws, (times, times == 0), strict=True):
            scores = scores_by_weights(predictions, weights * predictions.weight, schema)
            values.extend(scores[metric].tolist())
    return draws


def expected_gain(trials: Sequence[Draws], first: Draws, *, greater_is_better: bool) -> float:
    """By how much the best of these trials scores above the first on rows that did not choose it.

    In each draw the best trial is chosen by the rows drawn, and scored on those left out: bias
    correction by the bootstrap, Tsamardinos, Greasidou and Borboudakis, "Bootstrapping the
    out-of-sample predictions for efficient and accurate cross-validation" (2018). 0 where no draw
    has a score.
    """
    drawn, left_out = (np.array(of) for of in zip(*trials, strict=True))
    worst = -np.inf if greater_is_better else np.inf
    drawn = np.where(np.isfinite(drawn), drawn, worst)
    best = drawn.argmax(axis=0) if greater_is_better else drawn.argmin(axis=0)
    gains = left_out[best, np.arange(left_out.shape[1])] - first.left_out
    return float(np.nanmean(gains)) if np.isfinite(gains).any() else 0.0


MIN_PEERS = 4  # trials that came as far, before a bad one is pruned

TrialParams = dict[str, Any]  # values of keys of `train`


class TrialResult(NamedTuple):
    """The score of a trial, or None and the reason; its score after each fold, and in `draws`."""

    score: float | None
    by_fold: dict[int, float]
    reason: str | None = None
    draws: Draws | None = None


def open_study(path: Path, name: str, *, greater_is_better: bool) -> optuna.Study:
    """The search of this name in an SQLite file, begun where there is none.

    Raises:
        UserError: the file is something else.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return optuna.create_study(
            storage=optuna.storages.RDBStorage(f"sqlite:///{path}"),
            study_name=name,
            direction="maximize" if greater_is_better else "minimize",
            load_if_exists=True,
        )
    except (SQLAlchemyError, RuntimeError, optuna.exceptions.StorageInternalError) as error:
        said = str(error).partition("\n")[0]  # then SQL
        raise UserError(
            f"{path}: cannot be the storage of a search: {said}; remove what is no such storage"
        ) from None


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were completed or pruned, in their order; not those interrupted."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def suggest(
    study: optuna.Study, known: list[FrozenTrial], space: Space, seed: int, number: int
) -> TrialParams:
    """The parameters of trial `number`, from 0; they follow from `seed` and the trials `known`.

    The first one has the present parameters, those of the others are sampled by tree-structured
    Parzen estimators.

    Args:
        study: of which only the direction counts.
    """
    if not number:
        return space.present
    state = np.random.SeedSequence([seed, number]).generate_state(1)
    of_known = optuna.create_study(
        direction=study.direction, sampler=optuna.samplers.TPESampler(seed=int(state[0]))
    )
    of_known.add_trials(known)
    return of_known.ask(space.distributions).params


def add_trial(study: optuna.Study, space: Space, params: TrialParams, result: TrialResult) -> None:
    """Add a finished trial.

    Raises:
        UserError: it cannot be written.
    """
    trial = optuna.create_trial(
        state=TrialState.PRUNED if result.score is None else TrialState.COMPLETE,
        value=result.score,
        params=params,
        distributions={key: space.distributions[key] for key in params},
        intermediate_values=result.by_fold,
        user_attrs={"reason": result.reason, "draws": result.draws},
    )
    try:
        study.add_trial(trial)
    except optuna.exceptions.StorageInternalError as error:
        said = str(error.__cause__).partition("\n")[0]
        raise UserError(f"--storage: the trial cannot be written: {said}") from None


class Peers(NamedTuple):
    """The scores of other trials after each fold, from 1, and whether less is better."""

    by_fold: list[dict[int, float]]
    minimize: bool

    @classmethod
    def of(cls, study: optuna.Study, known: list[FrozenTrial]) -> Self:
        minimize = study.direction == optuna.study.StudyDirection.MINIMIZE
        return cls([trial.intermediate_values for trial in known], minimize)

    def should_prune(self, score: float | None, fold: int) -> bool:
        """Whether a score is worse than the median of others after as many folds.

        The median stopping rule of Golovin et al., "Google Vizier: a service for black-box
        optimization" (2017). Optuna's pruner of that name takes a trial's best score so far, which
        here is the one after the easiest folds.
        """
        others = [scores[fold] for scores in self.by_fold if fold in scores]
        if score is None or len(others) < MIN_PEERS:
            return False
        middle = median(others)
        return score > middle if self.minimize else score < middle


def ranked(study: optuna.Study, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those that have a score, the best first, of equals the earliest."""
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: sign * trial.values[0])
