"""No group, time or row is on two sides, and the old rows keep theirs when a table grows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keras_tabular.splitting.placement import write_subsets
from keras_tabular.splitting.rules import (
    SUBSETS,
    TEST,
    TRAIN,
    VALIDATION,
    Assignment,
    by_column,
    by_hash,
    by_time,
    hash_values,
)
from keras_tabular.table.parquet import write_part

TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=60)
SIZES = st.tuples(st.floats(0.05, 0.6), st.floats(0, 0.5))


def hashed(values: Sequence[str | None], seed: int = 3) -> np.ndarray:
    return hash_values([pa.chunked_array([pa.array(values, pa.string())])], seed)


@given(TEXTS, TEXTS, SIZES)
def test_no_group_is_on_two_sides_and_old_groups_keep_theirs(
    groups: list[str | None], more: list[str | None], sizes: tuple[float, float]
) -> None:
    share, keys = by_hash(hashed(groups), *sizes)
    for group in set(groups):
        rows = [row for row, name in enumerate(groups) if name == group]
        assert len({(share[row], keys[row]) for row in rows}) == 1
    grown, grown_keys = by_hash(hashed([*more, *groups]), *sizes)
    np.testing.assert_array_equal(grown[len(more) :], share)
    np.testing.assert_array_equal(grown_keys[len(more) :], keys)
    assert (keys >= 0).all()


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=60), SIZES)
def test_no_training_row_is_as_late_as_a_later_share(
    times: list[int], sizes: tuple[float, float]
) -> None:
    values = np.array(times)
    try:
        share, keys = by_time(values, *sizes)
    except ValueError:
        assume(False)
    last = -10
    for kind in (TRAIN, VALIDATION, TEST):
        assert (values[share == kind] > last).all()
        last = values[share == kind].max(initial=last)
    assert (share == TEST).sum() >= sizes[0] * len(values)
    training = np.argsort(values[share == TRAIN], kind="stable")
    assert (np.diff(keys[share == TRAIN][training]) >= 0).all()
    for time in set(times):
        assert len(set(keys[values == time])) == 1


def test_the_shares_of_many_groups_are_near_their_sizes_and_another_seed_is_another_draw() -> None:
    groups = [str(number) for number in range(20_000)]
    share, keys = by_hash(hashed(groups), 0.3, 0.1)
    np.testing.assert_allclose(np.bincount(share) / 20_000, [0.63, 0.07, 0.3], atol=0.01)
    counts = np.bincount(keys[share == TRAIN] % 5)  # folds do not follow the share
    np.testing.assert_allclose(counts / counts.sum(), 0.2, atol=0.02)
    other, _ = by_hash(hashed(groups, seed=4), 0.3, 0.1)
    assert (other != share).mean() > 0.3


def test_a_column_names_the_share_of_each_row() -> None:
    assert by_column(["test", "train", "validation"]).tolist() == [TEST, TRAIN, VALIDATION]
    with pytest.raises(ValueError, match="found 'Test'; expected train, validation, test"):
        by_column(["Test", "train"])


def test_the_rows_of_several_parts_come_in_the_order_of_their_subset(tmp_path: Path) -> None:
    for number in range(3):
        write_part(
            tmp_path / "table", number, pa.table({"x": range(10 * number, 10 * number + 10)})
        )
    order = np.random.default_rng(0).permutation(30).astype(np.int32)
    assignment = Assignment(order, None, np.array([17, 0, 13]))
    write_subsets(tmp_path / "table", assignment, 7, tmp_path)
    for subset, rows in zip(SUBSETS, np.split(order, [17, 17]), strict=True):
        assert pq.read_table(tmp_path / subset)["x"].to_pylist() == rows.tolist()
