"""Each fold has training rows, and `folds: auto` chooses a number for which that is so."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.table.parquet import FOLD_KEY, write_part
from keras_tabular.training.folds import draw_folds, possible_folds, random_folds
from tests.helpers import load_train_params


def test_more_folds_than_rows_are_refused() -> None:
    with pytest.raises(UserError, match=r"train\.folds is 9.*8 training rows"):
        draw_folds([np.zeros(5), np.zeros(3)], [], 9, 0)


@pytest.mark.parametrize("sizes", [[1] * 12, [5, 5, 2], [3, 8, 1], [12]])
def test_every_fold_has_its_share_of_the_rows_in_however_small_parts(sizes: list[int]) -> None:
    folds = np.concatenate(random_folds(list(map(np.zeros, sizes)), 5, seed=1))
    assert sorted(np.bincount(folds, minlength=5)) == [2, 2, 2, 3, 3]


def test_a_class_of_few_rows_is_in_every_fold() -> None:
    y = np.random.default_rng(0).permutation(np.repeat([0.0, 1.0, 2.0], [80, 5, 7]))
    folds = random_folds([y], 5, seed=1)[0]
    assert np.ptp(np.bincount(folds)) <= 1
    for one in (1, 2):
        assert set(folds[y == one]) == set(range(5))


@pytest.mark.parametrize(
    ("keys", "folds"),
    [
        (np.repeat(np.arange(9) / 9, 20), 9),
        (np.repeat(np.arange(9), 20), 9),
        (np.repeat(np.arange(40) / 40, 3), 10),
        (np.repeat([0.1, 0.9], 30), 2),
        (np.full(30, 0.5), 1),
    ],
)
def test_auto_takes_the_most_folds_that_the_groups_fill(
    keys: np.ndarray, folds: int, tmp_path: Path
) -> None:
    write_part(tmp_path, 0, pa.table({FOLD_KEY: keys}))
    possible = possible_folds(tmp_path)
    train = load_train_params(folds="auto").resolve_auto(len(keys), "binary", 8, possible)
    assert train.folds == folds
    classes = [np.zeros(len(keys))]
    for number in possible:
        assert set(draw_folds(classes, [keys], number, 1)[0]) == {*range(number)}
    with pytest.raises(UserError, match=r"Set train\.folds to \d+ or less, or to auto"):
        draw_folds(classes, [keys], 41, 1)


def test_each_fold_has_its_share_of_the_classes_of_rows_in_groups() -> None:
    """Also where one row repeats another: as if each row were drawn by itself."""
    rng = np.random.default_rng(0)
    y = (np.arange(1000) < 40).astype(float)
    rng.shuffle(y)
    pair, groups = np.r_[np.arange(999), 0], rng.integers(0, 300, 1000)
    for keys, spread in ((pair, 2), (groups, 20)):
        parts = np.array_split(keys, 3)
        folds = draw_folds(np.array_split(y, 3), parts, 5, 1)
        assert [len(part) for part in folds] == [len(part) for part in parts]
        fold = np.concatenate(folds)
        assert len(np.unique(np.column_stack([keys, fold]), axis=0)) == len(np.unique(keys))
        assert np.ptp(np.bincount(fold[y == 1])) <= 2
        assert np.ptp(np.bincount(fold)) <= spread


def test_folds_of_times_are_periods() -> None:
    times = np.random.default_rng(0).permutation(np.arange(100) / 99)
    (folds,) = draw_folds([np.zeros(100)], [times], 5, 1)
    assert (np.diff(folds[np.argsort(times)]) >= 0).all()
    assert np.ptp(np.bincount(folds)) <= 1
