"""Twelve random tables end with scores or with one message; tests/nightly has more of them."""

import re

import pytest

from tests.outcomes import MESSAGE, SCORES
from tests.random_tables import run_seed

RARE_CLASSES = (3, 7, 8, 9)  # of the seeds below; the others end with scores


# The target of seed 5057 is a column without a name.
@pytest.mark.parametrize("seed", [*range(11), 5057])
def test_a_random_table_ends_with_scores_or_one_message(seed: int) -> None:
    outcome = run_seed(seed, max_rows=200)
    assert outcome.kind == (MESSAGE if seed in RARE_CLASSES else SCORES), outcome.detail
    pattern = r"^error: .*\n.* \d+ of \d+ rows fail rare_class" if seed in RARE_CLASSES else "^$"
    assert re.search(pattern, outcome.detail)
