"""Intervals hold as many values of new rows as was asked, on rows of nobody's choice."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_friedman1

from tests.helpers import call, change, project_of, run_stages


def test_so_many_values_of_new_rows_are_in_their_intervals_as_was_asked(tmp_path: Path) -> None:
    """Of 4,000 rows that nothing was learnt from, whose errors are larger where values are."""
    rng = np.random.default_rng(0)
    x, y = make_friedman1(6000, random_state=0)
    frame = pd.DataFrame(x, columns=[f"x{n}" for n in range(10)])
    frame["y"] = y + rng.normal(size=len(y)) * y / 10
    folder = project_of(tmp_path / "project", frame[:2000])
    few = {"realmlp": {"epochs": 3}, "plain": {"epochs": 3}}
    change(folder, train={"folds": 2, "networks": few})
    run_stages(folder, last="calibrate")
    frame[2000:].to_csv(folder / "new.csv", index=False)
    call(folder, "commands.predict", "new.csv", "-o", "out.csv")
    found = pd.read_csv(folder / "out.csv")
    inside = frame["y"][2000:].reset_index(drop=True).between(found["low"], found["high"])
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    ordered = inside[found["predicted"].argsort()].to_numpy()
    for part in np.array_split(ordered, 4):  # of low and of high values alike
        assert part.mean() == pytest.approx(0.9, abs=0.04)
