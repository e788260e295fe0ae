"""Files with new faults each night are read right, asked about, or refused."""

import os

import pytest

from tests.messy_files import draw_file
from tests.messy_outcomes import WRONG, judge

FIRST_SEED = int(os.environ.get("FIRST_SEED", "1000"))


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 300))
def test_a_messy_file_is_not_misread(seed: int) -> None:
    kind, file = draw_file(seed)
    result, problem = judge(file)
    assert result != WRONG, f"{kind}: {problem}"
