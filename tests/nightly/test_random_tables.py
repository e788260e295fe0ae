"""Random tables, and those of scikit-learn and statsmodels, end with scores or one message."""

import importlib
import os
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest

from tests.outcomes import SCORES, Table, run_table
from tests.random_tables import run_seed
from tests.tables import load_table


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Start a process for the tables, which is replaced before it needs much memory."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=20) as pool:
        yield pool


FIRST_SEED = int(os.environ.get("FIRST_SEED", "100"))


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 50))
def test_random_table_ends_with_scores_or_one_message(seed: int, pool: ProcessPoolExecutor) -> None:
    outcome = pool.submit(run_seed, seed).result()
    assert not outcome.failed, outcome.detail


SKLEARN = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")


@pytest.mark.parametrize("name", SKLEARN)
def test_a_table_of_scikit_learn_ends_with_scores(name: str, pool: ProcessPoolExecutor) -> None:
    frame = load_table(name)
    outcome = pool.submit(run_table, Table.from_frame(frame, frame.columns[-1])).result()
    assert outcome.kind == SCORES, outcome.detail


def statsmodels_tables() -> list[str]:
    """Return the names of the tables, if statsmodels is installed."""
    package = find_spec("statsmodels")
    folders = package.submodule_search_locations if package else None
    modules = pkgutil.iter_modules([str(Path(folder, "datasets")) for folder in folders or []])
    return [module.name for module in modules if module.ispkg and module.name != "tests"]


@pytest.mark.parametrize("name", statsmodels_tables())
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
    assert not outcome.failed, outcome.detail
