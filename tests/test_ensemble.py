"""An ensemble is the mean of its members, and folds give every row a fair prediction."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages.lib import ensemble, network
from stages.lib.backend import keras, tf
from stages.lib.blocks import ChosenRows, TableBlocks, all_labels
from stages.lib.checkpoint import Checkpoint
from stages.lib.model_file import read_model, write_model
from stages.lib.params import Column, Data, Train, load_params
from stages.lib.preparation import Scaling
from stages.lib.stage import UserError
from stages.lib.table import write_part
from tests.conftest import PROJECT

TRAIN = load_params(PROJECT / "params.yaml").train.model_copy(
    update={"units": (4,), "epochs": 12, "batch_size": 8, "early_stopping": None, "ensemble": 3}
)
DATA = Data(
    source="t.csv",
    task="binary",
    target="y",
    positive=1,
    columns={name: Column(kind="real") for name in "ab"}
    | {"y": Column(kind="integer", values=(0, 1))},
)
SIZES = (50, 1, 30)
AS_IT_IS = Scaling(fill=0.0, shift=0.0, scale=1.0)


def preparing() -> keras.Model:
    inputs = {name: keras.Input((1,), name=name, dtype="float64") for name in "ab"}
    joined = keras.layers.Concatenate(dtype="float64")(list(inputs.values()))
    return keras.Model(inputs, keras.ops.cast(joined, "float32"))


def table(folder: Path) -> TableBlocks:
    rng = np.random.default_rng(0)
    for number, size in enumerate(SIZES):
        a, b = rng.normal(size=(2, size))
        write_part(folder, number, pa.table({"a": a, "b": b, "y": (a + b > 0).astype(int)}))
    return TableBlocks(folder, DATA, preparing(), AS_IT_IS)


def untrained(number: int) -> keras.Model:
    member = TRAIN.model_copy(update={"seed": number})
    keras.utils.set_random_seed(number)
    return network.compiled(network.layers(member, DATA), 2, member, DATA, one_vector=False)


def fitted(
    folder: Path, rows: TableBlocks, **changes: Any
) -> tuple[list[ensemble.Member], list[np.ndarray]]:
    train: Train = TRAIN.model_copy(update=changes)
    members = list(
        ensemble.fit(
            *(untrained, rows, rows, train),
            checkpoint=lambda number: Checkpoint(folder / f"{number}.npz", str(train)),
        )
    )
    return members, ensemble.held_out(members, rows.sizes)


def test_each_row_is_held_out_once_and_predicted_by_who_has_not_seen_it(tmp_path: Path) -> None:
    rows = table(tmp_path)
    members, held_out = fitted(tmp_path / "state", rows, members="folds")
    fold = ensemble.fold_of_rows(rows.sizes, 3, TRAIN.seed)
    assert [len(block) for block in held_out] == list(SIZES)
    assert np.ptp(np.bincount(fold[0])) <= 1
    model = untrained(0)
    for number, member in enumerate(members):
        model.set_weights(member.weights)
        for block in range(len(SIZES)):
            expected = model(rows[block].x)[fold[block] == number]
            np.testing.assert_allclose(held_out[block][fold[block] == number], expected, atol=1e-6)


def test_a_member_is_what_it_would_be_alone(tmp_path: Path) -> None:
    """The graph is shared: nothing of one member is left for the next."""
    rows = table(tmp_path)
    members, held_out = fitted(tmp_path / "state", rows, members="seeds", seed=0)
    assert sum(map(len, held_out)) == 0
    (alone,) = ensemble.fit(
        *(lambda _: untrained(2), rows, rows, TRAIN.model_copy(update={"ensemble": 1, "seed": 2})),
        checkpoint=lambda _: Checkpoint(tmp_path / "alone" / "0.npz", "alone"),
    )
    assert members[2].history == alone.history
    for weight, expected in zip(members[2].weights, alone.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_the_saved_model_is_plain_keras_and_the_mean_of_the_members(tmp_path: Path) -> None:
    nothing = np.empty(0)
    members = [
        ensemble.Member(untrained(number).get_weights(), [], nothing, nothing)
        for number in range(3)
    ]
    inputs = keras.Input((2,))
    output = ensemble.averaged(inputs, lambda: network.layers(TRAIN, DATA), members)
    write_model(keras.Model(inputs, output), tmp_path / "m.keras", DATA)
    x = np.random.default_rng(1).normal(size=(9, 2)).astype(np.float32)
    expected = np.mean([untrained(number)(tf.constant(x)) for number in range(3)], axis=0)
    np.testing.assert_allclose(read_model(tmp_path / "m.keras")(x), expected, atol=1e-6)


def test_more_folds_than_rows_are_refused() -> None:
    with pytest.raises(UserError, match=r"train\.ensemble is 9.*8 training rows"):
        ensemble.fold_of_rows([5, 3], 9, 0)


@pytest.mark.parametrize("sizes", [[1] * 12, [5, 5, 2], [3, 8, 1], [12]])
def test_every_fold_has_its_share_of_the_rows_in_however_small_blocks(sizes: list[int]) -> None:
    folds = np.concatenate(ensemble.fold_of_rows(sizes, 5, seed=1))
    assert sorted(np.bincount(folds, minlength=5)) == [2, 2, 2, 3, 3]


def test_blocks_leave_out_empty_parts_and_keep_the_order(tmp_path: Path) -> None:
    table(tmp_path)
    write_part(tmp_path, 3, pa.table({"a": [0.5], "b": [0.5], "y": [1]})[:0])
    again = TableBlocks(tmp_path, DATA, preparing(), AS_IT_IS)
    assert again.sizes == list(SIZES)
    y = np.concatenate([again[number].y for number in range(len(again))])
    np.testing.assert_array_equal(y, all_labels(tmp_path, DATA))
    chosen = ChosenRows(again, [np.array([1]), np.array([], int), np.array([0, 2])])
    assert [len(chosen[number].x) for number in range(len(chosen))] == [50, 30]
