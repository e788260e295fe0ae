"""The trials of a search: what Optuna draws for them, kept in a file, and when one is given up."""

from pathlib import Path
from statistics import median
from typing import Any

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

from stages.lib.params import Params, Section
from stages.lib.stage import UserError

PEERS = 4  # trials that came as far, from which on a bad one is given up


def written(value: Any) -> str:
    """A value of `params.yaml` as `dvc exp run -S` reads it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{','.join(map(written, value))}]"
        case dict():
            return "{" + ",".join(f"{key}:{written(v)}" for key, v in value.items()) + "}"
        case Section():
            return written(value.model_dump())
    return str(value)


class Space:
    """The section `search.space`; Optuna knows a value of a list by its text.

    Attributes:
        distributions: by key.
        present: what `train` has now, as far as it lies in the space.
    """

    def __init__(self, params: Params) -> None:
        self.distributions: dict[str, BaseDistribution] = {}
        self.present: dict[str, Any] = {}
        self._params = params
        self._values: dict[str, dict[str, Any]] = {}
        for key, candidates in params.search.space.items():
            limits = [getattr(params.with_train({key: v}).train, key) for v in candidates.limits]
            now = getattr(params.train, key)
            if candidates.values is not None:
                self._values[key] = {written(value): value for value in limits}
                self.distributions[key] = CategoricalDistribution(tuple(self._values[key]))
                now = written(now)
                inside = now in self._values[key]
            else:
                kind = IntDistribution if isinstance(limits[0], int) else FloatDistribution
                self.distributions[key] = kind(*limits, log=candidates.log)
                inside = limits[0] <= now <= limits[1]
            if inside:
                self.present[key] = now

    def params(self, drawn: dict[str, Any]) -> Params:
        """`params.yaml` with what was drawn: numbers to three digits, for people to read."""
        changes = {}
        for key, value in drawn.items():
            changes[key] = self._values[key][value] if key in self._values else value
            if isinstance(value, float) and value != self.present.get(key):
                ends = self.distributions[key]
                changes[key] = min(max(float(f"{value:.3g}"), ends.low), ends.high)
        return self._params.with_train(changes)


def open_study(path: Path, name: str, *, less_is_better: bool) -> optuna.Study:
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
            direction="minimize" if less_is_better else "maximize",
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


def ranked(study: optuna.Study, found: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those that have a score, the best first, of equals the earliest."""
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
    complete = [trial for trial in found if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: sign * trial.values[0])
