"""What the target is on average where a category occurs, as scikit-learn has it."""

import numpy as np
import pytest
from sklearn.preprocessing import TargetEncoder

from tabular.model.preprocessing import target_statistics

ROWS, CELLS = 500, 10
SIZES = [13, 6]  # categories of two columns: some are rare, and the last ones never occur
RNG = np.random.default_rng(0)
CODES = np.column_stack([np.minimum(RNG.geometric(0.3, ROWS), 11), RNG.integers(0, 5, ROWS)])
VALUES = 50 + 3 * np.sin(CODES.sum(axis=1)) + RNG.normal(size=ROWS)
CELL = RNG.permutation(ROWS) % CELLS


@pytest.mark.parametrize("classes", [0, 2])
def test_a_row_of_no_cell_gets_what_the_target_encoder_of_scikit_learn_says(classes: int) -> None:
    y = (VALUES > 50).astype(float) if classes else VALUES
    encoder = TargetEncoder(
        categories=[np.arange(size) for size in SIZES],
        target_type="binary" if classes else "continuous",
        smooth="auto",
    ).fit(CODES, y)
    of = target_statistics.targets(y[:, None], classes)
    parts = [(CODES[rows], of[rows], CELL[rows]) for rows in (slice(0, 123), slice(123, ROWS))]
    found = target_statistics.sums(parts, CELLS, SIZES)
    for sums, expected in zip(found, encoder.encodings_, strict=True):
        (statistic,) = target_statistics.table(sums, np.zeros((1, CELLS)))
        standardised = (expected - y.mean()) / y.std()
        np.testing.assert_allclose(statistic[:, 0], standardised, atol=1e-6)


def test_no_row_sees_a_target_of_its_own_cell() -> None:
    seen = []
    for y in (VALUES, np.where(CELL == 3, -VALUES, VALUES)):
        found = target_statistics.sums([(CODES, y[:, None], CELL)], CELLS, SIZES)
        tables = [target_statistics.table(sums, np.eye(CELLS)) for sums in found]
        seen.append([table[CELL, codes] for table, codes in zip(tables, CODES.T, strict=True)])
    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal((one == other).all(axis=1), CELL == 3)
