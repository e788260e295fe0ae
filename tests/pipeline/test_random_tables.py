"""Random tables end with scores; tests/nightly runs more of them."""

import pytest

from tests.outcomes import SCORES
from tests.random_tables import run_seed


# The target of seed 61 is a column without a name.
@pytest.mark.parametrize("seed", [1, 2, 61])
def test_a_random_table_ends_with_scores(seed: int) -> None:
    outcome = run_seed(seed)
    assert outcome.kind == SCORES, outcome.detail
