"""A model is the weighted mean of its members, and folds give every row a fair prediction."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tabular.engine import WORKERS
from tabular.errors import UserError
from tabular.model import ensemble, network, saved_model
from tabular.model.backend import keras
from tabular.model.dataset import Encoded, Subset, all_labels
from tabular.params.train import ResolvedNetwork
from tabular.schema import Schema
from tabular.table.arrays import feature_arrays
from tabular.table.parquet import arrow_schema, write_part
from tests.helpers import schema_of, train_params

COLUMNS: dict[str, dict[str, Any]] = {
    "a": {"kind": "real"},
    "b": {"kind": "real"},
    "town": {"kind": "category"},  # of so many values that it gets target statistics
}
SCHEMA = schema_of("binary", **COLUMNS)
NUMBERS = schema_of("binary", a=COLUMNS["a"], b=COLUMNS["b"])
SIZES = (39, 1, 41)
PLAIN: dict[str, Any] = {"units": (4,), "epochs": 12, "batch_size": 8, "learning_rate": 0.02}
WIDE: dict[str, Any] = {
    **{"units": (8,), "embedding": {"bins": 4, "units": 2}, "epochs": 6, "batch_size": 16},
    **{"learning_rate": 0.02, "dropout": 0.1},
}
BOTH = {"realmlp": WIDE, "plain": PLAIN}


def write_table(folder: Path, schema: Schema, swapped: np.ndarray | None = None) -> pa.Table:
    """A table in parts; where it is said, with the labels of some rows in another order."""
    rng = np.random.default_rng(0)
    rows = sum(SIZES)
    a, b = rng.normal(size=(2, rows)).round(3)
    town = rng.integers(0, 12, rows)
    y = a + b + np.sin(town) + rng.normal(size=rows) / 4
    if swapped is not None:
        y[swapped] = y[swapped][::-1]
    if schema.task == "regression":
        labels = (100 + 50 * y).tolist()
    else:
        ends = [-0.7, 0.7] if schema.task == "multiclass" else [0]
        labels = [schema.classes[i] for i in np.digitize(y, ends)]
    columns = {"a": a, "b": b, "town": [f"t{i}" for i in town], "y": labels}
    table = pa.table({name: columns[name] for name in schema.columns}, arrow_schema(schema))
    for number, (start, size) in enumerate(zip(np.cumsum([0, *SIZES]), SIZES, strict=False)):
        write_part(folder, number, table[start : start + size])
    return table


def fitted(setup: ensemble.Setup) -> list[ensemble.Member]:
    return list(ensemble.fit(setup, setup.folder))


def outputs(setup: ensemble.Setup, member: ensemble.Member) -> np.ndarray:
    """What a member says of the training rows as if they were new, from layer to layer."""
    statistics = setup.target_statistics(member.fold if setup.train.folds > 1 else None)
    rows = Encoded(setup.dataset, statistics, member.fold)
    features = ensemble.Kind(member.kind, setup).features
    return np.concatenate([member.model(features(rows[i].x)) for i in range(len(rows))])


def test_each_row_is_predicted_once_by_who_has_not_seen_it(tmp_path: Path) -> None:
    write_table(tmp_path / "1", SCHEMA)
    setup = ensemble.set_up(tmp_path / "1", SCHEMA, train_params(BOTH, folds=3))
    members, folds = fitted(setup), np.concatenate(setup.folds())
    assert [(m.kind, m.fold) for m in members] == [(kind, f) for f in range(3) for kind in BOTH]
    assert np.ptp(np.bincount(folds)) == 0
    for member in members:
        np.testing.assert_array_equal(member.rows, np.flatnonzero(folds == member.fold))
        np.testing.assert_allclose(outputs(setup, member)[member.rows], member.oof, atol=1e-6)
    of_plain = [member for member in members if member.kind == "plain"]
    rows, oof = ensemble.out_of_fold(of_plain)
    np.testing.assert_array_equal(rows, np.arange(sum(SIZES)))
    for member in of_plain:
        np.testing.assert_array_equal(oof[member.rows], member.oof)


@pytest.mark.parametrize("kind", BOTH)
def test_the_labels_of_its_own_fold_decide_nothing_of_a_member(kind: str, tmp_path: Path) -> None:
    train = train_params({kind: BOTH[kind]}, folds=3)
    found: list[tuple[ensemble.Member, ensemble.Setup]] = []
    for name in ("as it is", "swapped"):
        own = np.concatenate(found[0][1].folds()) == 0 if found else None
        write_table(tmp_path / name, SCHEMA, own)
        setup = ensemble.set_up(tmp_path / name, SCHEMA, train)
        found.append((next(ensemble.fit(setup)), setup))
    (one, _), (other, _) = found
    assert one.history != other.history  # by its scores of that fold
    assert [logs["loss"] for logs in one.history] == pytest.approx(
        [logs["loss"] for logs in other.history], rel=1e-5
    )
    for weight, expected in zip(other.model.get_weights(), one.model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-5)


def test_a_member_is_what_it_would_be_alone(tmp_path: Path) -> None:
    """The graph is shared: nothing of one member is left for the next."""
    write_table(tmp_path, NUMBERS)
    three = train_params(BOTH, folds=1, seed=0).changed(
        {"members": [{"network": kind, "count": 3} for kind in BOTH]}
    )
    members = fitted(ensemble.set_up(tmp_path, NUMBERS, three))
    assert len(members) == 6
    assert {(len(member.oof), len(member.rows)) for member in members} == {(0, 0)}
    for kind, keys in BOTH.items():
        alone_of = train_params({kind: keys}, folds=1, seed=2)
        (alone,) = fitted(ensemble.set_up(tmp_path, NUMBERS, alone_of))
        third = [member for member in members if member.kind == kind][2]
        assert third.history == alone.history
        for weight, expected in zip(
            third.model.get_weights(), alone.model.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("kind", BOTH)
def test_more_threads_than_cores_train_the_same_networks(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks of one epoch, so that some are traced while others predict."""
    write_table(tmp_path, SCHEMA)
    train = train_params({kind: BOTH[kind] | {"epochs": 1}}, folds=8)
    found = []
    for threads in (1, 8):
        monkeypatch.setenv(WORKERS, str(threads))
        found.append(fitted(ensemble.set_up(tmp_path, SCHEMA, train)))
    for one, other in zip(*found, strict=True):
        assert one.history == other.history
        np.testing.assert_array_equal(one.oof, other.oof)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_saved_model_is_plain_keras_and_the_weighted_mean_of_the_members(
    task: str, tmp_path: Path
) -> None:
    schema = schema_of(task, **COLUMNS)
    table = write_table(tmp_path / "table", schema)
    setup = ensemble.set_up(tmp_path / "table", schema, train_params(BOTH, folds=2))
    members, weights = fitted(setup), {"realmlp": 0.25, "plain": 0.75}
    path = tmp_path / "m.keras"
    saved_model.write_model(ensemble.weighted(setup, members, weights), path, {})
    expected = setup.in_units(
        np.sum([weights[m.kind] / 2 * outputs(setup, m) for m in members], axis=0)
    )
    scale = setup.statistics.target.scale
    rows = feature_arrays(table, schema)
    found = saved_model.predict(saved_model.read_model(path).network, rows)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * scale)
    plain = keras.models.load_model(path, safe_mode=True)
    np.testing.assert_allclose(plain.predict(rows, verbose=0), found, rtol=0, atol=1e-6 * scale)

    # A row of what training never saw gets a number, and no value beyond those of training.
    absurd = {
        "a": np.array([1e30, -1e30, 0.0, 1e30]),
        "b": np.array([1e30, -1e30, 0.0, -1e30]),
        "town": np.array(["t1", "", "nowhere", "t2"], object),
    }
    for model in (plain, saved_model.read_model(path).network):
        found = saved_model.predict(model, absurd)
        assert np.isfinite(found).all()
        if task == "regression":
            assert found.min() >= np.float32(setup.y.min())
            assert found.max() <= np.float32(setup.y.max())


def hidden_and_skip(
    read: list[keras.KerasTensor], of: ResolvedNetwork, schema: Schema
) -> keras.KerasTensor:
    """Other layers than those of the project: normalised batches and a way around the hidden."""
    x = keras.layers.Dense(of.units[0], "tanh")(read[0])
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Concatenate()([x, read[0]])
    return keras.layers.Dense(1, "sigmoid")(x)


def test_another_network_needs_another_build_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "build", hidden_and_skip)
    table = write_table(tmp_path / "table", SCHEMA)
    setup = ensemble.set_up(tmp_path / "table", SCHEMA, train_params({"plain": PLAIN}, folds=2))
    members = fitted(setup)
    for member in members:
        assert member.history[-1]["loss"] < 0.9 * member.history[0]["loss"]
        (normalised,) = [
            layer
            for layer in member.model.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        assert (np.asarray(normalised.moving_variance) != 1).all()
        np.testing.assert_allclose(outputs(setup, member)[member.rows], member.oof, atol=1e-6)
    path = tmp_path / "m.keras"
    saved_model.write_model(ensemble.weighted(setup, members, {"plain": 1.0}), path, {})
    expected = np.mean([outputs(setup, member) for member in members], axis=0)
    plain = keras.models.load_model(path, safe_mode=True)
    rows = feature_arrays(table, SCHEMA)
    np.testing.assert_allclose(plain.predict(rows, verbose=0), expected, atol=1e-6)


def test_the_kind_that_predicts_better_gets_the_weight_and_equal_ones_share_it() -> None:
    rng = np.random.default_rng(0)
    schema = schema_of("binary")
    y = rng.integers(0, 2, (300, 1)).astype(float)
    noise = rng.normal(size=(2, 300, 1))
    better = 1 / (1 + np.exp(-(2 * (2 * y - 1) + noise[0])))
    worse = 1 / (1 + np.exp(-noise[0]))
    found = ensemble.selected(y, None, {"worse": worse, "better": better}, schema, seed=1)
    assert sum(found.values()) == pytest.approx(1)
    assert found["better"] > 0.9
    equal = {name: 1 / (1 + np.exp(-n / 4)) for name, n in zip("ab", noise, strict=True)}
    assert ensemble.selected(y, None, equal, schema, seed=1)["a"] == pytest.approx(0.5, abs=0.2)


def test_more_folds_than_rows_are_refused() -> None:
    with pytest.raises(UserError, match=r"train\.folds is 9.*8 training rows"):
        ensemble.cells_of_rows([5, 3], 9, 18, 0)


@pytest.mark.parametrize("sizes", [[1] * 12, [5, 5, 2], [3, 8, 1], [12]])
def test_every_fold_has_its_share_of_the_rows_in_however_small_parts(sizes: list[int]) -> None:
    folds = np.concatenate(ensemble.cells_of_rows(sizes, 5, 10, seed=1)) % 5
    assert sorted(np.bincount(folds, minlength=5)) == [2, 2, 2, 3, 3]


def test_a_dataset_leaves_out_empty_parts_and_keeps_the_order(tmp_path: Path) -> None:
    table = write_table(tmp_path, SCHEMA)
    write_part(tmp_path, 3, table[:0])
    again = ensemble.set_up(tmp_path, SCHEMA, train_params(BOTH, folds=2)).dataset
    assert again.sizes == list(SIZES)
    y = np.concatenate([again[index].y for index in range(len(again))])
    np.testing.assert_array_equal(y, all_labels(tmp_path, SCHEMA))
    subset = Subset(again, [np.array([1]), np.array([], int), np.array([0, 2])])
    assert [len(subset[index].x) for index in range(len(subset))] == [39, 41]
    indices = [subset[index].indices for index in range(len(subset))]
    assert [[] if rows is None else rows.tolist() for rows in indices] == [[1], [0, 2]]
