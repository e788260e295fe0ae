"""Random tables end with scores or with one message; see tests/nightly for more of them."""

import re

import pytest

from tests.outcomes import MESSAGE, SCORES
from tests.random_tables import run_seed

# The other seeds end with scores.
MESSAGES: dict[int, str] = {}


@pytest.mark.parametrize("seed", range(12))
def test_a_random_table_ends_with_scores_or_one_message(seed: int) -> None:
    outcome = run_seed(seed, max_rows=200)
    assert outcome.kind == (MESSAGE if seed in MESSAGES else SCORES), outcome.detail
    assert re.search(MESSAGES.get(seed, ""), outcome.detail)
