"""Trials lie in the space, bad ones are given up, and a search continues from its journal."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from tabular.config.params import Params
from tabular.config.sections import Evaluate, Resolved, Search
from tabular.core.errors import UserError
from tabular.evaluation.scores import Predictions
from tabular.search.study import open_study, run_trial, suggest_changes
from tests.helpers import schema_of, train_params

FOLDS, ROWS = 3, 60
TRAIN = train_params(folds=FOLDS).resolved(ROWS, "binary", 8)
RATE = {"networks.plain.learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
Run = Callable[[int], optuna.Study]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs one trial, whose error is its learning rate."""
    y = np.tile([0.0, 1.0], ROWS // 2)

    def predict(train: Resolved, *_: Any) -> Iterator[Predictions]:
        rate = train.networks["plain"].learning_rate
        if rate > 0.05:
            raise UserError("the training diverges")
        for fold in range(1, FOLDS + 1):
            labels = y[: ROWS * fold // FOLDS]
            probability = np.abs(labels - rate)[:, None].astype(np.float32)
            yield Predictions(labels, probability, np.ones(len(labels)))

    def run_one(number: int) -> optuna.Study:
        params = Params(search=Search.model_validate({"space": RATE}), evaluate=Evaluate())
        study = open_study(tmp_path / "trials.log", "name", greater_is_better=False)
        run_trial(number, study, TRAIN, params, schema_of("binary"), tmp_path)
        return study

    monkeypatch.setattr("tabular.search.study.fold_predictions", predict)
    return run_one


def test_a_search_continues_from_its_journal_and_gives_up_bad_trials(run: Run) -> None:
    for number in range(20):
        study = run(number)
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(20))
    assert trials[0].user_attrs["changes"] == {}
    rates = {trial.user_attrs["changes"].get(*RATE, 0.0) for trial in trials}
    assert len(rates) == 20
    reasons = {trial.user_attrs.get("reason") for trial in trials}
    assert reasons == {None, "the training diverges", f"a bad loss after {FOLDS - 1} folds"}
    for trial in trials:
        is_complete = trial.state == TrialState.COMPLETE
        assert is_complete == ("draws" in trial.user_attrs) == ("reason" not in trial.user_attrs)
    rate = study.best_trial.user_attrs["changes"].get(*RATE)
    assert study.best_value == pytest.approx(-np.log(1 - rate), rel=1e-5)


def test_changes_lie_in_the_space() -> None:
    """Decimals have three digits for people to read, unless these lie outside."""
    space = {
        "imputation": ["mean", "median"],
        "networks.plain.units": [[8], [16]],
        "networks.plain.epochs": {"low": 5, "high": 200},
        "networks.plain.l2": {"low": 0, "high": 1},
        "networks.plain.learning_rate": {"low": "1e-4", "high": 0.012355, "log": True},
    }
    search = Search.model_validate({"space": space})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(16):
        changes = suggest_changes(study.ask(), TRAIN, search.space)
        train = TRAIN.changed(changes)
        plain = train.networks["plain"]
        assert train.imputation in ("mean", "median")
        assert plain.units in ((8,), (16,))
        assert 5 <= plain.epochs <= 200
        assert 0 <= plain.l2 <= 1
        assert plain.l2 == float(f"{plain.l2:.3g}")
        assert 1e-4 <= plain.learning_rate <= 0.012355
    rate = "networks.plain.learning_rate"
    trial = optuna.trial.FixedTrial({rate: 0.012354})
    assert suggest_changes(trial, TRAIN, {rate: search.space[rate]}) == {rate: 0.012355}
