"""Random tables end with scores or with one message; tests/nightly runs more of them."""

import re

import pytest

from tests.outcomes import MESSAGE, SCORES
from tests.random_tables import run_seed


# The target of seed 5057 is a column without a name.
@pytest.mark.parametrize("seed", [0, 1, 5, 5057])
def test_a_random_table_ends_with_scores(seed: int) -> None:
    outcome = run_seed(seed, max_rows=200)
    assert outcome.kind == SCORES, outcome.detail


def test_a_random_table_with_a_rare_class_ends_with_one_message() -> None:
    outcome = run_seed(3, max_rows=200)
    assert outcome.kind == MESSAGE
    assert re.search(r"^error: .*\n.* \d+ of \d+ rows fail rare_class", outcome.detail)
