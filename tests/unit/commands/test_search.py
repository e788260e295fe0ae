"""How many folds a search has, and what it says at its end."""

import re
from pathlib import Path
from typing import Any

import pytest

from commands.search import check_space, summary, with_folds
from tabular.config.params import Params
from tabular.config.sections import Search
from tabular.core.errors import UserError
from tabular.search.study import (
    Draws,
    Space,
    TrialResult,
    add_trial,
    finished_trials,
    open_study,
    suggest,
)
from tests.helpers import schema_of, train_params

SPACE = {"networks.plain.units": [[16], [8]], "networks.plain.l2": {"low": 0, "high": 1}}
SEARCH = Search.model_validate({"space": SPACE})


@pytest.mark.parametrize(
    ("search", "train", "folds"),
    [
        ({"folds": 3}, {"folds": 5}, 3),
        ({}, {"folds": 5}, 5),
        ({}, {"folds": 1}, 10),
        ({}, {"folds": "auto"}, 10),
    ],
)
def test_the_folds_are_those_of_search_or_of_train_or_what_auto_says(
    search: dict[str, Any], train: dict[str, Any], folds: int
) -> None:
    params = Params(search=SEARCH.model_copy(update=search), train=train_params(**train))
    schema = schema_of("binary")
    assert with_folds(params, 50, schema, range(2, 11)).folds == folds
    with pytest.raises(UserError, match=r"1 training rows cannot fill .* folds. Set search\.folds"):
        with_folds(params, 1, schema, range(2, 2))


def test_a_space_of_networks_that_are_not_trained_is_refused() -> None:
    train = train_params()
    check_space(SEARCH, train.resolved(2_500, "binary", 8))
    check_space(Search(space={}), train.resolved(2_501, "binary", 8))
    message = r"found keys of networks\.plain alone, .* expected some of networks\.realmlp: "
    with pytest.raises(UserError, match=message):
        check_space(SEARCH, train.resolved(2_501, "binary", 8))


def test_the_summary_ranks_the_trials_and_ends_with_the_command_of_the_best(tmp_path: Path) -> None:
    train = train_params().resolved(500, "binary", 8)
    space = Space(SEARCH, train)
    study = open_study(tmp_path / "t.db", "a", greater_is_better=False)
    for number, value in enumerate((0.5, 0.4, 0.6)):
        params = suggest(study, finished_trials(study), space, 1, number)
        draws = Draws([value, value], [value + 0.02, value + 0.04])
        add_trial(study, space, params, TrialResult(value, {}, draws=draws))
    lines = summary(space, train, "loss", study, 3).splitlines()
    assert lines[0].startswith("Cross-validated loss of 3 trials, 0 of them given up")
    assert [line.split()[:2] for line in lines[3:6]] == [
        ["2", "0.400000"], ["1", "0.500000"], ["3", "0.600000"],
    ]  # fmt: skip
    assert lines[4].endswith("in params.yaml now")
    assert re.fullmatch(
        r"dvc exp run( -S 'train\.networks\.plain\.units=\[8\]')? "
        r"-S train\.networks\.plain\.l2=0\.\d+",
        lines[-1],
    )
    assert lines[-3] == (
        "The best of 3 was chosen by the rows that score it. On others expect loss 0.400000 of it, "
        "0.100000 better than what params.yaml has now."
    )
    (first,) = summary(space, train, "loss", study, 1).splitlines()[3:4]
    assert first.split()[0] == "1"
    assert "None is better" in summary(space, train, "loss", study, 1)
