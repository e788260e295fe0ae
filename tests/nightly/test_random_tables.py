"""Random tables and those of libraries end with scores or with one message."""

import importlib
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pandas as pd
import pytest
from hypothesis import given, settings

from tests.outcomes import FAULT, SCORES, find_misreading, run_table
from tests.projects import ONE_CYCLE, ONE_CYCLE_OF_BOTH
from tests.random_tables import RandomTable, tables
from tests.tables import load_table


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Start a process for the tables, which is replaced before it needs much memory."""
    with ProcessPoolExecutor(1, max_tasks_per_child=20) as pool:
        yield pool


@settings(max_examples=settings().max_examples // 10)
@given(tables())
def test_a_random_table_ends_with_scores_or_one_message(
    pool: ProcessPoolExecutor,
    table: RandomTable,
) -> None:
    csv, _ = table.render()
    assert not find_misreading(table)
    train = ONE_CYCLE_OF_BOTH if table.rows < 100 else ONE_CYCLE
    arguments = (csv, table.names["answer"], pd.DataFrame(), train)
    outcome, detail = pool.submit(run_table, *arguments).result()
    assert outcome != FAULT, detail


SCIKIT_LEARN = ["breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine"]
STATSMODELS = pkgutil.iter_modules(
    importlib.import_module("statsmodels.datasets").__path__,
)


@pytest.mark.parametrize(
    "name",
    [*SCIKIT_LEARN, *sorted({p.name for p in STATSMODELS if p.ispkg} - {"tests"})],
)
def test_a_table_of_a_library_ends_with_scores_or_one_message(
    name: str,
    pool: ProcessPoolExecutor,
) -> None:
    """A table of scikit-learn has scores.

    The target is the one that statsmodels declares, or the last column.
    """
    target = ""
    if name in SCIKIT_LEARN:
        frame = load_table(name)
    else:
        dataset = importlib.import_module(f"statsmodels.datasets.{name}").load_pandas()
        frame = dataset.data
        target = str(getattr(dataset, "endog_name", ""))
        if not isinstance(frame.index, pd.RangeIndex):  # dates or names
            frame = frame.reset_index()
    target = target if target in [*frame] else frame.columns[-1]
    csv = frame.to_csv(index=False).encode()
    outcome, detail = pool.submit(run_table, csv, target, frame).result()
    assert outcome == SCORES or name not in SCIKIT_LEARN, detail
    assert outcome != FAULT, detail
