"""Trials are ranked by their scores, and pruned by the median of others."""

from pathlib import Path

import optuna
import pytest

from tabular.config.sections import Search
from tabular.core.errors import UserError
from tabular.search.study import (
    Peers,
    Space,
    TrialResult,
    add_trial,
    finished_trials,
    open_study,
    ranked,
    suggest,
)
from tests.helpers import train_params

CANDIDATES = {"networks.plain.units": [[16], [8]], "networks.plain.l2": {"low": 0, "high": 1}}
SPACE = Space(
    Search.model_validate({"space": CANDIDATES}), train_params().resolved(500, "binary", 8)
)


@pytest.mark.parametrize("greater_is_better", [True, False])
def test_a_trial_is_pruned_below_the_median_of_those_that_came_as_far(
    greater_is_better: bool, tmp_path: Path
) -> None:
    study = open_study(tmp_path / "t.db", "a", greater_is_better=greater_is_better)
    for value in (1.0, 2.0, 4.0, 5.0):
        peers = Peers.of(study, finished_trials(study))
        assert not peers.should_prune(-100.0 if greater_is_better else 100.0, 2)
        add_trial(study, SPACE, {}, TrialResult(value, {2: value}))
    peers = Peers.of(study, finished_trials(study))
    assert peers.should_prune(3.5, 2) is not greater_is_better
    assert peers.should_prune(2.5, 2) is greater_is_better
    assert not peers.should_prune(3.5, 3)
    assert ranked(study, study.trials)[0].value == (5.0 if greater_is_better else 1.0)


def test_the_trials_of_a_round_follow_from_the_rounds_before() -> None:
    """Whether they are suggested at once, or one after the other as those before them end."""
    study = optuna.create_study()
    for number in range(12):
        params = suggest(study, finished_trials(study), SPACE, 1, number)
        add_trial(study, SPACE, params, TrialResult(float(number), {1: 1.0}))
    first = finished_trials(study)[0]
    assert first.params == {"networks.plain.units": "[16]", "networks.plain.l2": 0.01}
    at_once = [suggest(study, finished_trials(study), SPACE, 1, n) for n in (12, 13)]
    known = finished_trials(study)
    add_trial(study, SPACE, at_once[0], TrialResult(None, {}, "a bad loss"))
    assert suggest(study, known, SPACE, 1, 13) == at_once[1] != at_once[0]


def test_another_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_text("no database, but a text of some length" * 100)
    with pytest.raises(UserError, match=r"t\.db: cannot be the storage of a search: .*; remove"):
        open_study(tmp_path / "t.db", "a", greater_is_better=False)
