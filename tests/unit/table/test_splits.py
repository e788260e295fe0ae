"""Rows are placed in subsets, equal rows together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from keras_tabular.config.sections import Split
from keras_tabular.core.errors import UserError
from keras_tabular.table import splits
from keras_tabular.table.groups import equal_feature_rows, row_groups, stable_hashes
from keras_tabular.table.parquet import write_part
from keras_tabular.table.splits import assign_rows, find_duplicates
from tests.helpers import build_schema

# No group, time or row is in two subsets, and old rows keep their subset when a table
# grows.
TEXTS = st.lists(
    st.one_of(st.none(), st.text(max_size=3)),
    min_size=1,
    max_size=60,
)
SPLITS = st.builds(
    Split,
    test_size=st.floats(0.05, 0.6),
    validation_size=st.floats(0, 0.5),
    seed=st.just(1),
)


def hash_texts(texts: Sequence[str | None], seed: int = 3) -> np.ndarray:
    return stable_hashes([pa.chunked_array([pa.array(texts, pa.string())])], seed)


@given(TEXTS, TEXTS, SPLITS)
def test_a_group_is_in_one_subset_and_keeps_it_when_groups_are_added(
    groups: list[str | None],
    new_groups: list[str | None],
    split: Split,
) -> None:
    subset, fold_keys = splits.by_hash(hash_texts(groups), split)
    for group in set(groups):
        rows = [row for row, name in enumerate(groups) if name == group]
        assert len({(subset[row], fold_keys[row]) for row in rows}) == 1
    grown_subset, grown_keys = splits.by_hash(hash_texts([*new_groups, *groups]), split)
    np.testing.assert_array_equal(grown_subset[len(new_groups) :], subset)
    np.testing.assert_array_equal(grown_keys[len(new_groups) :], fold_keys)
    assert (fold_keys >= 0).all()


@given(
    st.lists(
        st.integers(-9, 9),
        min_size=2,
        max_size=60,
    ),
    SPLITS,
)
def test_each_subset_is_later_than_the_one_before(
    times: list[int],
    split: Split,
) -> None:
    values = np.array(times)
    subset, fold_keys = splits.by_time(values, split)
    assume((subset == splits.TRAIN).any())
    latest = -10
    for number in (splits.TRAIN, splits.VALIDATION, splits.TEST):
        assert (values[subset == number] > latest).all()
        latest = values[subset == number].max(initial=latest)
    assert (subset == splits.TEST).sum() >= split.test_size * len(values)
    training_order = np.argsort(values[subset == splits.TRAIN], kind="stable")
    assert (np.diff(fold_keys[subset == splits.TRAIN][training_order]) >= 0).all()
    for time in set(times):
        assert len(set(fold_keys[values == time])) == 1


def test_many_groups_fill_each_subset_to_its_size_and_another_seed_draws_others() -> (
    None
):
    groups = [str(number) for number in range(20_000)]
    split = Split(test_size=0.3, validation_size=0.1, seed=1)
    subset, fold_keys = splits.by_hash(hash_texts(groups), split)
    shares = np.bincount(subset) / 20_000
    np.testing.assert_allclose(shares, [0.63, 0.07, 0.3], atol=0.01)
    # Fold keys do not follow the subset.
    counts = np.bincount(fold_keys[subset == splits.TRAIN] % 5)
    np.testing.assert_allclose(counts / counts.sum(), 0.2, atol=0.02)
    other_subset, _ = splits.by_hash(hash_texts(groups, seed=4), split)
    assert (other_subset != subset).mean() > 0.3


def test_a_column_names_the_subset_of_each_row() -> None:
    names = ["test", "train", "validation"]
    assert [splits.SUBSETS[number] for number in splits.by_name(names, "s")] == names
    with pytest.raises(UserError, match=r"column s: .*got 'Test'"):
        splits.by_name(["Test", "train"], "s")


@pytest.mark.parametrize("stratify", [False, True])
def test_validation_rows_are_drawn_from_the_rows_that_are_not_for_test(
    stratify: bool,
) -> None:
    classes = np.random.default_rng(0).integers(0, 3, 103) if stratify else None
    rest, test = train_test_split(
        np.arange(103),
        test_size=0.33,
        random_state=9,
        stratify=classes,
    )
    rest_classes = None if classes is None else classes[rest]
    train, validation = train_test_split(
        rest,
        test_size=0.2,
        random_state=9,
        stratify=rest_classes,
    )
    split = Split(test_size=0.33, validation_size=0.2, seed=9, stratify=stratify)
    subsets = splits.random_split(103, split, classes)
    for rows, expected in zip(subsets, (train, validation, test), strict=True):
        np.testing.assert_array_equal(rows, expected)


def test_a_class_too_rare_to_stratify_is_an_error() -> None:
    split = Split(
        test_size=0.5,
        validation_size=0.0,
        seed=1,
        stratify=True,
    )
    classes = np.repeat([0, 1], [9, 1])
    message = r"split in params\.yaml does not fit 10 rows: "
    with pytest.raises(UserError, match=message):
        splits.random_split(10, split, classes)


def test_the_hash_of_a_row_leaves_out_ignored_columns() -> None:
    schema = build_schema("regression", x="real", id="integer")
    split = Split(by="hash", test_size=0.3, validation_size=0.0, seed=1)
    assert splits.rule_columns(split, schema) == ["x", "id", "y"]
    without_id = schema.model_copy(update={"ignore": ("id",)})
    assert splits.rule_columns(split, without_id) == ["x", "y"]


# Rows with equal features are in one subset of a random split.
SCHEMA = build_schema("binary", x="real", town="category")
SPLIT = Split(test_size=0.3, validation_size=0.2, seed=4)
RNG = np.random.default_rng(2)


def write_table(folder: Path, x: np.ndarray, towns: list[str]) -> None:
    targets = RNG.integers(0, 2, len(x))
    for number, rows in enumerate(np.array_split(np.arange(len(x)), 3)):
        columns = {"x": x[rows], "town": [towns[row] for row in rows]}
        write_part(folder, number, pa.table(columns | {SCHEMA.target: targets[rows]}))


def test_duplicates_share_a_subset_and_a_fold_key_whatever_their_targets(
    tmp_path: Path,
) -> None:
    x = RNG.normal(size=400)
    copies = RNG.integers(0, 400, 120)
    write_table(tmp_path, np.append(x, x[copies]), ["a"] * 520)
    first_equal, message = find_duplicates(tmp_path, SPLIT, SCHEMA)
    assert first_equal is not None
    assert "120 of 520 rows repeat" in message
    np.testing.assert_array_equal(first_equal[400:], copies)
    subset_rows, fold_keys = assign_rows(tmp_path, SPLIT, SCHEMA, first_equal)
    assert fold_keys is not None
    np.testing.assert_array_equal(fold_keys, fold_keys[first_equal])
    subset = np.empty(520, int)
    for number, rows in enumerate(subset_rows):
        subset[rows] = number
    np.testing.assert_array_equal(subset, subset[first_equal])
    np.testing.assert_array_equal(np.sort(np.concatenate(subset_rows)), np.arange(520))
    assert row_groups(tmp_path, SCHEMA) is None  # without the keys of the split
    (tmp_path / "split").mkdir()
    assignment = assign_rows(tmp_path, SPLIT, SCHEMA, first_equal)
    splits.write_subsets(tmp_path, assignment, 200, tmp_path / "split")
    group = row_groups(tmp_path / "split/test", SCHEMA)
    assert group is not None
    test_rows = assignment.rows[splits.TEST]
    assert len(set(group)) == len(set(first_equal[test_rows])) < len(test_rows)


def test_groups_or_blocks_of_time_have_the_rows_that_depend_on_each_other(
    tmp_path: Path,
) -> None:
    days = RNG.permutation(600) // 2
    write_part(tmp_path, 0, pa.table({"x": days.astype(float), "town": ["a"] * 600}))
    schema = SCHEMA.model_copy(update={"time": "x"})
    blocks = row_groups(tmp_path, schema)
    np.testing.assert_array_equal(blocks, days // 30)
    in_town = schema.model_copy(update={"group": "town"})
    np.testing.assert_array_equal(row_groups(tmp_path, in_town), 0)
    write_part(tmp_path, 0, pa.table({"x": days[:299]}))
    np.testing.assert_array_equal(row_groups(tmp_path, schema), 0)


def test_a_table_without_equal_rows_needs_no_message(tmp_path: Path) -> None:
    write_table(tmp_path, np.repeat(RNG.normal(size=50), 2), ["a", "b"] * 50)
    assert equal_feature_rows(tmp_path, SCHEMA) is None
    assert row_groups(tmp_path, SCHEMA) is None
    assert find_duplicates(tmp_path, SPLIT, SCHEMA) == (None, "")


@pytest.mark.parametrize(
    ("duplicates", "by_themselves"),
    [("auto", True), ("together", False), ("drawn", True)],
)
def test_rows_with_few_different_values_are_drawn_by_themselves_unless_asked(
    duplicates: str,
    by_themselves: bool,
    tmp_path: Path,
) -> None:
    write_table(tmp_path, RNG.integers(0, 3, 60).astype(float), ["a"] * 60)
    split = Split.model_validate(SPLIT.model_dump() | {"duplicates": duplicates})
    first_equal, message = find_duplicates(tmp_path, split, SCHEMA)
    assert (first_equal is None) == by_themselves
    assert (not message) == (duplicates == "drawn")
    assert row_groups(tmp_path, SCHEMA) is None
