"""A search tries values in its space, and estimates what the best trial is worth."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from keras_tabular.cli.search import check_space
from keras_tabular.config.sections import ResolvedTrain, Search
from keras_tabular.core.errors import UserError
from keras_tabular.scoring.scores import Predictions, score
from keras_tabular.search.study import (
    bootstrap_scores,
    expected_gain,
    run_trials,
    suggest_changes,
    summary,
)
from tests.helpers import BINARY, load_train_params

FOLDS, ROWS = 3, 60
TRAIN = load_train_params(folds=FOLDS).resolve_auto(ROWS, BINARY, 8)
KEY = "networks.plain.learning_rate"
RATE = {KEY: {"low": 0.001, "high": 0.1, "log": True}}


def test_a_search_continues_and_stops_bad_trials() -> None:
    """The error of each trial is its learning rate."""
    y = np.tile([0.0, 1.0], ROWS // 2)

    def predict(train: ResolvedTrain) -> Iterator[Predictions]:
        rate = train.networks["plain"].learning_rate
        if rate > 0.05:
            raise UserError("the training diverges")
        for fold in range(1, FOLDS + 1):
            labels = y[: ROWS * fold // FOLDS]
            probability = np.abs(labels - rate)[:, None].astype(np.float32)
            yield Predictions(BINARY, labels, probability, np.ones(len(labels)))

    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(4, 2))
    search = Search.model_validate({"score": "loss", "space": RATE})
    for total in (3, 20, 20):
        run_trials(study, total, TRAIN, search, predict)
        assert len(study.trials) == total
    assert study.trials[0].user_attrs["changes"] == {}
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    rate = study.best_trial.user_attrs["changes"][KEY]
    assert rate < TRAIN.networks["plain"].learning_rate
    assert study.best_value == pytest.approx(-np.log(1 - rate), rel=1e-5)


def test_suggested_values_lie_in_the_space() -> None:
    """Decimals are rounded to three digits, but not to a value outside of the space."""
    space: dict[str, Any] = {
        "networks.plain.units": [[8], [16]],
        "networks.plain.epochs": {"low": 5, "high": 200},
        "networks.plain.l2": {"low": 0, "high": 1},
        KEY: {"low": "1e-4", "high": 0.012355, "log": True},
    }
    search = Search.model_validate({"score": "loss", "space": space})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(16):
        changes = suggest_changes(study.ask(), TRAIN, search.space)
        plain = TRAIN.with_values(changes).networks["plain"]
        assert plain.units in ((8,), (16,))
        assert 5 <= plain.epochs <= 200
        assert 0 <= plain.l2 == float(f"{plain.l2:.3g}") <= 1
        assert 1e-4 <= plain.learning_rate <= 0.012355
    trial = optuna.trial.FixedTrial({KEY: 0.012354})
    assert suggest_changes(trial, TRAIN, {KEY: search.space[KEY]}) == {KEY: 0.012355}


def test_a_space_of_networks_that_are_not_trained_is_refused() -> None:
    search = Search.model_validate({"space": {"networks.plain.units": [[16], [8]]}})
    train = load_train_params()
    check_space(search, train.resolve_auto(2_500, BINARY, 8))
    check_space(Search(space={}), train.resolve_auto(2_501, BINARY, 8))
    with pytest.raises(UserError, match=r"networks\.plain, .* trains networks\.realmlp here"):
        check_space(search, train.resolve_auto(2_501, BINARY, 8))


@pytest.mark.parametrize(("metric", "chance"), [("accuracy", 0.5), ("loss", 1.0)])
def test_the_best_of_many_random_trials_is_expected_to_be_as_good_as_chance(
    metric: str, chance: float
) -> None:
    """A trial that is much better than the others keeps its gain."""
    rng, greater = np.random.default_rng(1), metric == "accuracy"
    y = np.random.default_rng(0).integers(0, 2, 400).astype(float)
    good = np.clip(0.2 + 0.6 * y + rng.normal(0, 0.1, 400), 0.01, 0.99)
    trials = [
        Predictions(BINARY, y, probability[:, None].astype(np.float32), np.ones(400))
        for probability in [*rng.uniform(size=(40, 400)), good]
    ]
    scores = [score(trial)[metric] for trial in trials]
    draws = np.array([bootstrap_scores(trial, metric) for trial in trials])
    best = max(scores[:-1]) if greater else min(scores[:-1])
    expected = scores[0] + expected_gain(draws[:-1], 0, greater_is_better=greater)
    assert abs(expected - chance) < 0.35 * abs(best - chance)
    assert expected_gain(draws[:1], 0, greater_is_better=greater) == 0
    gain = expected_gain(draws, 0, greater_is_better=greater)
    assert gain == pytest.approx(scores[-1] - scores[0], rel=0.05)


def make_study(*scores: float | None) -> optuna.Study:
    """Make a study of trials with these scores; None is a trial that was stopped early."""
    study = optuna.create_study()
    for number, value in enumerate(scores):
        changes = {"networks.plain.units": [8], "networks.plain.l2": number / 10} if number else {}
        draws = [[value, value], [value + 0.02, value + 0.04]] if value is not None else []
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        attributes = {"changes": changes, "draws": draws}
        study.add_trial(optuna.create_trial(state=state, value=value, user_attrs=attributes))
    return study


def test_the_summary_ends_with_the_command_for_the_best_trial() -> None:
    trials, expectation, _, command = summary(make_study(0.5, 0.4, 0.6, None), "loss").splitlines()
    for words in ("4 trials, 1 of which", "Trial 1 has the best", "loss, 0.400000"):
        assert words in trials
    assert "0.400000, compared with 0.500000 now" in expectation
    changes = "-S 'train.networks.plain.units=[8]' -S train.networks.plain.l2=0.1"
    assert command == f"dvc exp run {changes}"
    assert "none of these trials is better" in summary(make_study(0.3, 0.4), "loss")
    with pytest.raises(UserError, match="No trial has a loss"):
        summary(make_study(None, None), "loss")
