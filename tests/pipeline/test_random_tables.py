"""Random tables end with scores; tests/nightly runs more of them."""

import pytest

from tests.outcomes import SCORES
from tests.random_tables import run_seed


# The target of seed 193 is a column without a name.
@pytest.mark.parametrize("seed", [1, 2, 193])
def test_a_random_table_ends_with_scores(seed: int) -> None:
    outcome = run_seed(seed, max_rows=200)
    assert outcome.kind == SCORES, outcome.detail
