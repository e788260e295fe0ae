"""The study of a search: its trials in a file, the parameters of the next, and pruning."""

from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Self

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tabular.core.errors import UserError
from tabular.search.optimism import Draws
from tabular.search.space import Space

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
        raise UserError(f"{path}: no storage of a search; remove it ({error})") from None


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
    """Add a finished trial."""
    study.add_trial(
        optuna.create_trial(
            state=TrialState.PRUNED if result.score is None else TrialState.COMPLETE,
            value=result.score,
            params=params,
            distributions={key: space.distributions[key] for key in params},
            intermediate_values=result.by_fold,
            user_attrs={"reason": result.reason, "draws": result.draws},
        )
    )


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
