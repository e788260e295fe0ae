"""Files with faults are read right, asked about, or refused; tests/nightly reads more of them."""

import pytest

from tests.messy_files import draw_file
from tests.messy_outcomes import WRONG, judge

STEP = 7  # so that the fifty files have different faults, some of them two


@pytest.mark.parametrize("seed", range(0, 50 * STEP, STEP))
def test_a_messy_file_is_not_misread(seed: int) -> None:
    kind, file = draw_file(seed)
    result, problem = judge(file)
    assert result != WRONG, f"{kind}: {problem}"
