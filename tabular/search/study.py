"""The study of a search: its trials in a file, what is drawn next, and when one is given up."""

from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Self

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tabular.core.errors import UserError
from tabular.search.space import Space

PEERS = 4  # trials that came as far, from which on a bad one is given up

Drawn = dict[str, Any]  # values of keys of `train`


class Tried(NamedTuple):
    """What a trial came to: its score, or None and the reason; and its score after each fold."""

    score: float | None
    by_fold: dict[int, float]
    reason: str | None = None


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


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials in their order, without those that were interrupted."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def draw(
    study: optuna.Study, known: list[FrozenTrial], space: Space, seed: int, number: int
) -> Drawn:
    """Trial `number` from 0: what it follows from is `seed`, `number` and the trials `known`.

    The first one has the present parameters, the others are drawn by tree-structured Parzen
    estimators.

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


def keep(study: optuna.Study, space: Space, drawn: Drawn, tried: Tried) -> None:
    """Add a trial that has ended."""
    study.add_trial(
        optuna.create_trial(
            state=TrialState.PRUNED if tried.score is None else TrialState.COMPLETE,
            value=tried.score,
            params=drawn,
            distributions={key: space.distributions[key] for key in drawn},
            intermediate_values=tried.by_fold,
            user_attrs={"reason": tried.reason} if tried.reason else {},
        )
    )


class Peers(NamedTuple):
    """What other trials came to after each fold, from 1, and whether less is better."""

    by_fold: list[dict[int, float]]
    minimize: bool

    @classmethod
    def of(cls, study: optuna.Study, known: list[FrozenTrial]) -> Self:
        minimize = study.direction == optuna.study.StudyDirection.MINIMIZE
        return cls([trial.intermediate_values for trial in known], minimize)

    def are_better(self, score: float | None, fold: int) -> bool:
        """Whether a score is worse than the median of others after as many folds.

        The median stopping rule of Golovin et al., "Google Vizier: a service for black-box
        optimization" (2017). Optuna's pruner of that name takes a trial's best score so far, which
        here is the one after the easiest folds.
        """
        others = [scores[fold] for scores in self.by_fold if fold in scores]
        if score is None or len(others) < PEERS:
            return False
        middle = median(others)
        return score > middle if self.minimize else score < middle


def ranked(study: optuna.Study, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those that have a score, the best first, of equals the earliest."""
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: sign * trial.values[0])
