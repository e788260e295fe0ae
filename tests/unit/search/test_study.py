"""Trials are ranked by their scores, and given up by the median of others."""

from pathlib import Path

import pytest

from tabular.errors import UserError
from tabular.search.study import is_bad, open_study, ranked


@pytest.mark.parametrize("greater_is_better", [True, False])
def test_a_trial_is_given_up_below_the_median_of_those_that_came_as_far(
    greater_is_better: bool, tmp_path: Path
) -> None:
    study = open_study(tmp_path / "t.db", "a", greater_is_better=greater_is_better)
    for value in (1.0, 2.0, 4.0, 5.0):
        assert not is_bad(study, -100.0 if greater_is_better else 100.0, 2)
        trial = study.ask()
        trial.report(value, 2)
        study.tell(trial, value)
    interrupted = study.ask()
    interrupted.report(0.0, 2)
    assert is_bad(study, 3.5, 2) is not greater_is_better
    assert is_bad(study, 2.5, 2) is greater_is_better
    assert not is_bad(study, 3.5, 3)
    assert ranked(study, study.trials)[0].value == (5.0 if greater_is_better else 1.0)


def test_another_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_text("no database, but a text of some length" * 100)
    with pytest.raises(UserError, match=r"t\.db: no storage of a search; remove it"):
        open_study(tmp_path / "t.db", "a", greater_is_better=False)
