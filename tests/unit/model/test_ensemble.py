"""An ensemble is the mean of its members, and folds give every row a fair prediction."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tabular.errors import UserError
from tabular.model import ensemble, network
from tabular.model.backend import keras, tf
from tabular.model.checkpoint import Checkpoint
from tabular.model.dataset import Subset, TableDataset, all_labels
from tabular.model.preprocessing import Scaling
from tabular.model.saved_model import read_model, write_model
from tabular.params.train import Train
from tabular.table.parquet import write_part
from tests.helpers import schema_of, train_params

SCHEMA = schema_of("binary", a={"kind": "real"}, b={"kind": "real"})
TRAIN = train_params(units=(4,), epochs=12, batch_size=8, early_stopping=None, ensemble=3)
SIZES = (24, 1, 24)
AS_IT_IS = Scaling(fill=0.0, shift=0.0, scale=1.0)


def preprocessing() -> keras.Model:
    inputs = {name: keras.Input((1,), name=name, dtype="float64") for name in "ab"}
    joined = keras.layers.Concatenate(dtype="float64")(list(inputs.values()))
    return keras.Model(inputs, keras.ops.cast(joined, "float32"))


def dataset_of(folder: Path, flipped: list[np.ndarray] | None = None) -> TableDataset:
    """A table in parts; where rows are `flipped`, they are of the other class."""
    rng = np.random.default_rng(0)
    for number, size in enumerate(SIZES):
        a, b = rng.normal(size=(2, size))
        y = (a + b > 0) ^ (flipped[number] if flipped else False)
        write_part(folder, number, pa.table({"a": a, "b": b, "y": y.astype(int)}))
    return TableDataset(folder, SCHEMA, preprocessing(), AS_IT_IS)


def untrained(number: int, *, flat: bool = True) -> keras.Model:
    member = TRAIN.model_copy(update={"seed": number})
    keras.utils.set_random_seed(number)
    return network.compiled(network.layers(member, SCHEMA), 2, member, SCHEMA, flat=flat)


def fitted(state: Path, dataset: TableDataset, **changes: Any) -> list[ensemble.Member]:
    train: Train = TRAIN.model_copy(update=changes)
    return list(
        ensemble.fit(
            *(untrained, dataset, dataset, train),
            checkpoint=lambda number: Checkpoint(state / f"{number}.npz", str(train)),
        )
    )


def test_each_row_is_predicted_once_by_who_has_not_seen_it(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    members = fitted(tmp_path / "state", dataset, members="folds")
    parts = ensemble.out_of_fold(members, dataset.sizes)
    fold = ensemble.fold_of_rows(dataset.sizes, 3, TRAIN.seed)
    assert [len(oof) for oof, _ in parts] == list(SIZES)
    assert np.ptp(np.bincount(fold[0])) <= 1
    for (_, found), expected in zip(parts, fold, strict=True):
        np.testing.assert_array_equal(found, expected)
    model = untrained(0, flat=False)
    for number, member in enumerate(members):
        model.set_weights(member.weights)
        for index, (oof, _) in enumerate(parts):
            own = fold[index] == number
            np.testing.assert_allclose(oof[own], model(dataset[index].x)[own], atol=1e-6)

    # What the first member's own fold holds decides nothing of it.
    other = dataset_of(tmp_path / "other", flipped=[f == 0 for f in fold])
    train = TRAIN.model_copy(update={"members": "folds"})
    first = next(ensemble.fit(untrained, other, other, train))
    for weight, expected in zip(first.weights, members[0].weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert first.history != members[0].history  # by its scores of that fold alone


def test_a_member_is_what_it_would_be_alone(tmp_path: Path) -> None:
    """The graph is shared: nothing of one member is left for the next."""
    dataset = dataset_of(tmp_path)
    members = fitted(tmp_path / "state", dataset, members="seeds", seed=0)
    ((oof, fold),) = ensemble.out_of_fold(members, dataset.sizes)
    assert (len(oof), len(fold)) == (0, 0)
    (alone,) = ensemble.fit(
        *(lambda _: untrained(2), dataset, dataset),
        TRAIN.model_copy(update={"ensemble": 1, "seed": 2}),
        checkpoint=lambda _: Checkpoint(tmp_path / "alone" / "0.npz", "alone"),
    )
    assert members[2].history == alone.history
    for weight, expected in zip(members[2].weights, alone.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_the_saved_model_is_plain_keras_and_the_mean_of_the_members(tmp_path: Path) -> None:
    networks, nothing = [untrained(number, flat=False) for number in range(3)], np.empty(0)
    members = [ensemble.Member(n.get_weights(), [], nothing, nothing) for n in networks]
    inputs = keras.Input((2,))
    output = ensemble.average(inputs, lambda: network.layers(TRAIN, SCHEMA), members)
    write_model(keras.Model(inputs, output), tmp_path / "m.keras", {})
    x = np.random.default_rng(1).normal(size=(9, 2)).astype(np.float32)
    expected = np.mean([member(tf.constant(x)) for member in networks], axis=0)
    np.testing.assert_allclose(read_model(tmp_path / "m.keras")(x), expected, atol=1e-6)


def test_more_folds_than_rows_are_refused() -> None:
    with pytest.raises(UserError, match=r"train\.ensemble is 9.*8 training rows"):
        ensemble.fold_of_rows([5, 3], 9, 0)


@pytest.mark.parametrize("sizes", [[1] * 12, [5, 5, 2], [3, 8, 1], [12]])
def test_every_fold_has_its_share_of_the_rows_in_however_small_parts(sizes: list[int]) -> None:
    folds = np.concatenate(ensemble.fold_of_rows(sizes, 5, seed=1))
    assert sorted(np.bincount(folds, minlength=5)) == [2, 2, 2, 3, 3]


def test_a_dataset_leaves_out_empty_parts_and_keeps_the_order(tmp_path: Path) -> None:
    dataset_of(tmp_path)
    write_part(tmp_path, 3, pa.table({"a": [0.5], "b": [0.5], "y": [1]})[:0])
    again = TableDataset(tmp_path, SCHEMA, preprocessing(), AS_IT_IS)
    assert again.sizes == list(SIZES)
    y = np.concatenate([again[index].y for index in range(len(again))])
    np.testing.assert_array_equal(y, all_labels(tmp_path, SCHEMA))
    subset = Subset(again, [np.array([1]), np.array([], int), np.array([0, 2])])
    assert [len(subset[index].x) for index in range(len(subset))] == [24, 24]
    indices = [subset[index].indices for index in range(len(subset))]
    assert [[] if rows is None else rows.tolist() for rows in indices] == [[1], [0, 2]]
