"""The study of a search: its trials in a file, what is drawn next, and when one is given up."""

from pathlib import Path
from statistics import median

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tabular.errors import UserError
from tabular.search.space import Space

PEERS = 4  # trials that came as far, from which on a bad one is given up


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


def draw(study: optuna.Study, space: Space, seed: int) -> optuna.Trial:
    """The next trial, the same whether or not the search was interrupted before or in it.

    The first one has the present parameters. The others follow from `seed`, their number and the
    trials that have ended: tree-structured Parzen estimators.
    """
    number = len(ended(study))
    state = np.random.SeedSequence([seed, number]).generate_state(1)
    study.sampler = optuna.samplers.TPESampler(seed=int(state[0]), constant_liar=False)
    if number:
        return study.ask(space.distributions)
    if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(space.present)
    return study.ask({key: space.distributions[key] for key in space.present})


def is_bad(study: optuna.Study, score: float | None, fold: int) -> bool:
    """Whether a score is worse than the median of other trials after as many folds.

    The median stopping rule of Golovin et al., "Google Vizier: a service for black-box
    optimization" (2017). Optuna's pruner of that name takes a trial's best score so far, which
    here is the one after the easiest folds.
    """
    others = [t.intermediate_values[fold] for t in ended(study) if fold in t.intermediate_values]
    if score is None or len(others) < PEERS:
        return False
    middle = median(others)
    minimize = study.direction == optuna.study.StudyDirection.MINIMIZE
    return score > middle if minimize else score < middle


def ranked(study: optuna.Study, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those that have a score, the best first, of equals the earliest."""
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: sign * trial.values[0])
