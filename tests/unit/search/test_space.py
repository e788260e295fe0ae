"""Suggested parameters lie in the space, and the first trial has the present ones."""

import optuna

from tabular.config.sections import Search
from tabular.search.study import Space, TrialResult, add_trial, as_yaml, finished_trials, suggest
from tests.helpers import train_params


def test_parameters_lie_in_the_space_and_the_first_trial_has_the_present_ones() -> None:
    """`l2` of params.yaml lies outside of this space, and stays as it is in the first trial.

    Numbers have three digits for people to read, unless these lie outside.
    """
    declared = {
        "imputation": ["mean", "median"],
        "networks.plain.units": [[8], [16]],
        "networks.plain.epochs": {"low": 5, "high": 200},
        "networks.plain.l2": {"low": 1, "high": 2},
        "networks.plain.learning_rate": {"low": "1e-4", "high": 0.012355, "log": True},
    }
    present = train_params().resolved(1000, "binary", 8)
    space = Space(Search.model_validate({"space": declared}), present)
    study = optuna.create_study()
    for number in range(16):
        params = suggest(study, finished_trials(study), space, 1, number)
        add_trial(study, space, params, TrialResult(float(number), {}))
        train = space.train(params)
        if not number:
            assert train == present
            continue
        plain = train.networks["plain"]
        assert train.imputation in ("mean", "median")
        assert plain.units in ((8,), (16,))
        assert 5 <= plain.epochs <= 200
        assert 1 <= plain.l2 <= 2
        assert 1e-4 <= plain.learning_rate <= 0.012355
        assert train.networks["realmlp"] == present.networks["realmlp"]
    for value, written in ((0.0012345, 0.00123), (0.012354, 0.012355)):
        train = space.train({"networks.plain.learning_rate": value})
        assert train.networks["plain"].learning_rate == written


def test_a_value_is_written_as_dvc_reads_it() -> None:
    values = [None, True, (16, 8), 0.002, "relu", {"patience": 3, "min_delta": 0.0}]
    texts = ["null", "true", "[16,8]", "0.002", "relu", "{patience:3,min_delta:0.0}"]
    assert list(map(as_yaml, values)) == texts
