"""A search refuses a space without effect, and ends with the command of its best trial."""

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from commands.search import as_override, check_space, summary
from tabular.config.sections import Search
from tabular.core.errors import UserError
from tests.helpers import train_params

SPACE = {"networks.plain.units": [[16], [8]], "networks.plain.l2": {"low": 0, "high": 1}}
SEARCH = Search.model_validate({"space": SPACE})
TRAIN = train_params().resolved(500, "binary", 8)


def test_a_space_of_networks_that_are_not_trained_is_refused() -> None:
    train = train_params()
    check_space(SEARCH, train.resolved(2_500, "binary", 8))
    check_space(Search(space={}), train.resolved(2_501, "binary", 8))
    message = r"has only keys of networks\.plain, and train\.members trains networks\.realmlp here"
    with pytest.raises(UserError, match=message):
        check_space(SEARCH, train.resolved(2_501, "binary", 8))


def finished(*scores: float | None) -> list[Any]:
    """Return trials with these scores, or given up; the first one has the present parameters."""
    study = optuna.create_study()
    for number, score in enumerate(scores):
        changes = {"networks.plain.units": [8], "networks.plain.l2": number / 10} if number else {}
        attributes: dict[str, Any] = {"changes": changes, "reason": "it diverges"}
        if score is not None:
            attributes["draws"] = [[score, score], [score + 0.02, score + 0.04]]
        state = TrialState.PRUNED if score is None else TrialState.COMPLETE
        study.add_trial(optuna.create_trial(state=state, value=score, user_attrs=attributes))
    return study.trials


def test_the_summary_ranks_the_trials_and_ends_with_the_command_of_the_best() -> None:
    lines = summary(finished(0.5, 0.4, 0.6, None), TRAIN, SEARCH).splitlines()
    assert lines[0].startswith("Cross-validated loss of 4 trials, 1 of them given up")
    assert [line.split()[:2] for line in lines[3:6]] == [
        ["2", "0.400000"], ["1", "0.500000"], ["3", "0.600000"],
    ]  # fmt: skip
    assert lines[4].endswith("in params.yaml now")
    assert lines[-3:] == [
        "The best of 3 trials was chosen by the rows that score it. On other rows, expect loss "
        "0.400000, compared with 0.500000 now.",
        "",
        "dvc exp run -S 'train.networks.plain.units=[8]' -S train.networks.plain.l2=0.1",
    ]


def test_nothing_is_proposed_when_the_present_parameters_are_best() -> None:
    assert summary(finished(0.3, 0.4), TRAIN, SEARCH).endswith(
        "None is better than what params.yaml has now."
    )
    with pytest.raises(UserError, match=r"No trial has a loss\. The last one: it diverges"):
        summary(finished(None, None), TRAIN, SEARCH)


def test_a_value_is_written_as_dvc_reads_it() -> None:
    values = [None, True, (16, 8), 0.002, "relu", {"patience": 3, "min_delta": 0.0}]
    texts = ["null", "true", "[16,8]", "0.002", "relu", "{patience:3,min_delta:0.0}"]
    assert list(map(as_override, values)) == texts
