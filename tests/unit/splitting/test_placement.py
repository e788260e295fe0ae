"""No group, time or row is in two subsets, and old rows keep their subset when a table grows."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from keras_tabular.config.sections import Split
from keras_tabular.core.errors import UserError
from keras_tabular.splitting import rules
from keras_tabular.table.groups import hash_values
from tests.helpers import build_schema

TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=60)
SPLITS = st.builds(
    Split, test_size=st.floats(0.05, 0.6), validation_size=st.floats(0, 0.5), seed=st.just(1)
)


def hash_texts(texts: Sequence[str | None], seed: int = 3) -> np.ndarray:
    return hash_values([pa.chunked_array([pa.array(texts, pa.string())])], seed)


@given(TEXTS, TEXTS, SPLITS)
def test_a_group_is_in_one_subset_and_keeps_it_when_groups_are_added(
    groups: list[str | None], new_groups: list[str | None], split: Split
) -> None:
    subset, fold_keys = rules.by_hash(hash_texts(groups), split)
    for group in set(groups):
        rows = [row for row, name in enumerate(groups) if name == group]
        assert len({(subset[row], fold_keys[row]) for row in rows}) == 1
    grown_subset, grown_keys = rules.by_hash(hash_texts([*new_groups, *groups]), split)
    np.testing.assert_array_equal(grown_subset[len(new_groups) :], subset)
    np.testing.assert_array_equal(grown_keys[len(new_groups) :], fold_keys)
    assert (fold_keys >= 0).all()


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=60), SPLITS)
def test_each_subset_is_later_than_the_one_before(times: list[int], split: Split) -> None:
    values = np.array(times)
    subset, fold_keys = rules.by_time(values, split)
    assume((subset == rules.TRAIN).any())
    latest = -10
    for number in (rules.TRAIN, rules.VALIDATION, rules.TEST):
        assert (values[subset == number] > latest).all()
        latest = values[subset == number].max(initial=latest)
    assert (subset == rules.TEST).sum() >= split.test_size * len(values)
    training_order = np.argsort(values[subset == rules.TRAIN], kind="stable")
    assert (np.diff(fold_keys[subset == rules.TRAIN][training_order]) >= 0).all()
    for time in set(times):
        assert len(set(fold_keys[values == time])) == 1


def test_many_groups_fill_each_subset_to_its_size_and_another_seed_draws_others() -> None:
    groups = [str(number) for number in range(20_000)]
    split = Split(test_size=0.3, validation_size=0.1, seed=1)
    subset, fold_keys = rules.by_hash(hash_texts(groups), split)
    np.testing.assert_allclose(np.bincount(subset) / 20_000, [0.63, 0.07, 0.3], atol=0.01)
    counts = np.bincount(fold_keys[subset == rules.TRAIN] % 5)  # fold keys do not follow the subset
    np.testing.assert_allclose(counts / counts.sum(), 0.2, atol=0.02)
    other_subset, _ = rules.by_hash(hash_texts(groups, seed=4), split)
    assert (other_subset != subset).mean() > 0.3


def test_a_column_names_the_subset_of_each_row() -> None:
    names = ["test", "train", "validation"]
    assert [rules.SUBSETS[number] for number in rules.by_name(names, "s")] == names
    with pytest.raises(UserError, match=r"column s: .*got 'Test'"):
        rules.by_name(["Test", "train"], "s")


@pytest.mark.parametrize("stratify", [False, True])
def test_validation_rows_are_drawn_from_the_rows_that_are_not_for_test(stratify: bool) -> None:
    classes = np.random.default_rng(0).integers(0, 3, 103) if stratify else None
    train, test = train_test_split(np.arange(103), test_size=0.33, random_state=9, stratify=classes)
    by = None if classes is None else classes[train]
    halves = train_test_split(train, test_size=0.2, random_state=9, stratify=by)
    for validation_size, expected in {0.0: (train, train[:0]), 0.2: halves}.items():
        split = Split(test_size=0.33, validation_size=validation_size, seed=9, stratify=stratify)
        for rows, expected_rows in zip(
            rules.random_split(103, split, classes), (*expected, test), strict=True
        ):
            np.testing.assert_array_equal(rows, expected_rows)


def test_a_class_too_rare_to_stratify_is_an_error() -> None:
    split = Split(test_size=0.5, validation_size=0.0, seed=1, stratify=True)
    with pytest.raises(UserError, match=r"split in params\.yaml does not fit 10 rows: "):
        rules.random_split(10, split, np.repeat([0, 1], [9, 1]))


def test_the_hash_of_a_row_leaves_out_ignored_columns() -> None:
    schema = build_schema("regression", x={"kind": "real"}, id={"kind": "integer"})
    split = Split(by="hash", test_size=0.3, validation_size=0.0, seed=1, stratify=False)
    assert rules.rule_columns(split, schema) == ["x", "id", "y"]
    assert rules.rule_columns(split, schema.model_copy(update={"ignore": ("id",)})) == ["x", "y"]
