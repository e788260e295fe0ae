"""Random tables, and those of scikit-learn and statsmodels, end with scores or one message."""

import importlib
import os
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pandas as pd
import pytest

from tests.outcomes import FAULT, SCORES, Table, run_table
from tests.random_tables import run_seed
from tests.tables import load_table


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Start a process for the tables, which is replaced before it needs much memory."""
    with ProcessPoolExecutor(1, max_tasks_per_child=20) as pool:
        yield pool


FIRST_SEED = int(os.environ.get("FIRST_SEED", "100"))


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 70))
def test_random_table_ends_with_scores_or_one_message(seed: int, pool: ProcessPoolExecutor) -> None:
    outcome = pool.submit(run_seed, seed).result()
    assert outcome.kind != FAULT, outcome.detail


@pytest.mark.parametrize(
    "name", ["breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine"]
)
def test_a_table_of_scikit_learn_ends_with_scores(name: str, pool: ProcessPoolExecutor) -> None:
    frame = load_table(name)
    outcome = pool.submit(run_table, Table.from_frame(frame, frame.columns[-1])).result()
    assert outcome.kind == SCORES, outcome.detail


STATSMODELS = pkgutil.iter_modules(importlib.import_module("statsmodels.datasets").__path__)


@pytest.mark.parametrize("name", sorted({p.name for p in STATSMODELS if p.ispkg} - {"tests"}))
def test_a_table_of_statsmodels_ends_with_scores_or_one_message(
    name: str, pool: ProcessPoolExecutor
) -> None:
    """The target is the one that statsmodels declares, or the last column."""
    dataset = importlib.import_module(f"statsmodels.datasets.{name}").load_pandas()
    frame, target = dataset.data, str(getattr(dataset, "endog_name", None))
    if not isinstance(frame.index, pd.RangeIndex):  # dates or names
        frame = frame.reset_index()
    target = target if target in [*frame] else frame.columns[-1]
    outcome = pool.submit(run_table, Table.from_frame(frame, target)).result()
    assert outcome.kind != FAULT, outcome.detail
