"""A model is the weighted mean of its members, and folds give every row a fair prediction."""

from contextlib import suppress
from copy import copy
from itertools import islice, pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ResolvedNetwork, Train
from keras_tabular.core.cluster import WORKERS
from keras_tabular.core.errors import UserError
from keras_tabular.model_file import saved_model
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.model_file.saved_model import predict
from keras_tabular.networks.backend import keras
from keras_tabular.networks.network import Build
from keras_tabular.networks.reproducible import make_reproducible
from keras_tabular.table.arrays import feature_arrays
from keras_tabular.table.parquet import write_part
from keras_tabular.training.checkpoint import Checkpoints, Snapshot
from keras_tabular.training.dataset import Labels, TableDataset
from keras_tabular.training.ensemble import (
    WeightedEnsemble,
    assemble,
    build_metadata,
    describe,
    weigh_snapshots,
)
from keras_tabular.training.fit import fit, group_by, out_of_fold
from keras_tabular.training.setup import Setup
from keras_tabular.training.trainer import Trainer
from network import build
from tests.helpers import build_arrow_schema, build_schema, load_train_params

COLUMNS: dict[str, dict[str, Any]] = {
    "a": {"kind": "real"},
    "b": {"kind": "real"},
    "town": {"kind": "category"},
}
SCHEMA = build_schema("binary", **COLUMNS)
NUMBERS = build_schema("binary", a=COLUMNS["a"], b=COLUMNS["b"])
# Rows of the parts: what takes the time is a graph for each number of rows, so few numbers.
ONE, PARTS = (80,), (39, 1, 0, 39, 1, 1)
PLAIN: dict[str, Any] = {
    **{"units": (4,), "epochs": 12, "batch_size": 8, "learning_rate": 0.02},
    **{"learning_rate_schedule": "constant"},
}
WIDE: dict[str, Any] = {
    **{"units": (8,), "embedding": {"bins": 4, "units": 2}, "epochs": 6, "batch_size": 16},
    **{"learning_rate": 0.02, "dropout": 0.1},
}
BOTH = {"realmlp": WIDE, "plain": PLAIN}


def write_table(
    folder: Path,
    schema: Schema = SCHEMA,
    sizes: tuple[int, ...] = ONE,
    swapped: np.ndarray | None = None,
) -> pa.Table:
    """A table in parts; where it is said, with the labels of some rows in another order."""
    rng = np.random.default_rng(0)
    rows = sum(sizes)
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
    table = pa.table({name: columns[name] for name in schema.columns}, build_arrow_schema(schema))
    for number, (start, size) in enumerate(zip(np.cumsum([0, *sizes]), sizes, strict=False)):
        write_part(folder, number, table[start : start + size])
    return table


class Trained(NamedTuple):
    setup: Setup
    members: list[Snapshot]


def trained(
    folder: Path,
    train: Train,
    schema: Schema = SCHEMA,
    threads: int = 2,
    build: Build = build,
) -> Trained:
    """Without folds the training rows are the validation rows too."""
    setup = Setup(folder, schema, train, build, validation=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WORKERS, str(threads))
        return Trained(setup, list(fit(setup)))


@pytest.fixture(scope="module")
def one_part(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Both kinds, on folds of 27, 27 and 26 rows."""
    folder = tmp_path_factory.mktemp("one")
    write_table(folder)
    return trained(folder, load_train_params(BOTH, folds=3))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One kind on a table of several parts."""
    folder = tmp_path_factory.mktemp("parts")
    write_table(folder, sizes=PARTS)
    return trained(folder, load_train_params({"plain": PLAIN}, folds=3))


def outputs(setup: Setup, member: Snapshot) -> np.ndarray:
    """Return what a member predicts for the training rows, from layer to layer."""
    rows = setup.dataset
    architecture = setup.architectures[member.architecture]
    architecture.network.set_weights(member.weights)
    features = [architecture.features(rows[i].x) for i in range(len(rows))]
    return np.concatenate([architecture.network(x) for x in features])


def assert_same(found: list[Snapshot], expected: list[Snapshot]) -> None:
    """To the bit."""
    for one, other in zip(found, expected, strict=True):
        assert one.history == other.history
        np.testing.assert_array_equal(one.oof, other.oof)
        for weight, right in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(weight, right)


@pytest.mark.parametrize("table", ["one_part", "parts"])
def test_each_row_is_predicted_once_by_who_has_not_seen_it(
    table: str, request: pytest.FixtureRequest
) -> None:
    setup, members = request.getfixturevalue(table)
    folds, kinds = np.concatenate(setup.folds), [m.network for m in setup.train.members]
    assert [(m.architecture, m.fold) for m in members] == [
        (kind, f) for f in range(3) for kind in kinds
    ]
    assert np.ptp(np.bincount(folds)) <= 1
    dataset = [setup.dataset[part] for part in range(len(setup.dataset))]
    np.testing.assert_array_equal(np.concatenate([rows.y for rows in dataset]), setup.y)
    for member in members:
        np.testing.assert_array_equal(member.rows, np.flatnonzero(folds == member.fold))
        np.testing.assert_allclose(outputs(setup, member)[member.rows], member.oof, atol=1e-6)
    rows, oof = out_of_fold(setup, group_by(members, "architecture")["plain"])
    np.testing.assert_array_equal(rows, np.arange(len(folds)))
    assert oof.shape == (len(folds), 1)


def test_the_labels_of_its_own_fold_decide_nothing_of_a_member(
    one_part: Trained, tmp_path: Path
) -> None:
    write_table(tmp_path, swapped=np.concatenate(one_part.setup.folds) == 0)
    setup = Setup(tmp_path, SCHEMA, load_train_params(BOTH, folds=3), build)
    setup.folds = one_part.setup.folds  # which give each fold its share of the classes
    of_fold = list(islice(fit(setup), len(BOTH)))
    for one, other in zip(one_part.members[: len(BOTH)], of_fold, strict=True):
        assert one.history != other.history  # by its scores of that fold
        assert [logs["loss"] for logs in one.history] == pytest.approx(
            [logs["loss"] for logs in other.history], rel=1e-5
        )
        for weight, expected in zip(other.weights, one.weights, strict=True):
            np.testing.assert_allclose(weight, expected, atol=1e-5)


def test_a_member_is_what_it_would_be_alone(tmp_path: Path) -> None:
    """The graph is shared: nothing of one member is left for the next, dropout and rate included.

    A member is one of its kind: the kind before it decides nothing either.
    """
    write_table(tmp_path, NUMBERS)
    three = load_train_params(BOTH, folds=1, seed=0).with_values(
        {"members": [{"network": kind, "count": 3} for kind in ("plain", "realmlp")]}
    )
    _, members = trained(tmp_path, three, NUMBERS)
    assert len(members) == 6
    assert {(len(member.oof), len(member.rows)) for member in members} == {(0, 0)}
    alone = trained(tmp_path, load_train_params({"realmlp": WIDE}, folds=1, seed=2), NUMBERS)
    assert_same(members[-1:], alone.members)


CYCLES: dict[str, Any] = {**PLAIN, "learning_rate_schedule": "cosine_restarts", "epochs": 200}


@pytest.fixture(scope="module")
def cycles(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One kind that learns in cycles."""
    folder = tmp_path_factory.mktemp("cycles")
    write_table(folder)
    return trained(folder, load_train_params({"plain": CYCLES}, folds=3))


def test_cycles_end_with_the_first_that_hardly_lowers_the_loss_of_all_rows(cycles: Trained) -> None:
    setup, members = cycles
    named = group_by(members, "name")
    steps = [of[0].steps for of in named.values()]
    assert steps == [30 * (2**n - 1) for n in range(1, len(steps) + 1)]
    losses = [setup.mean_loss(*out_of_fold(setup, of)) for of in named.values()]
    *lower, last = [after < 0.99 * before for before, after in pairwise(losses)]
    assert all(lower)
    assert not last
    assert [logs["epoch"] for logs in members[-1].history] == pytest.approx(np.array(steps) / 7)
    for member in members[-3:]:
        np.testing.assert_allclose(outputs(setup, member)[member.rows], member.oof, atol=1e-6)
    ensemble = weigh_snapshots(setup, members)
    assert all(weight >= 0.05 for weight in ensemble.weights.values())
    found = describe(setup, members, ensemble)["networks"]["plain"]["cycles"]
    assert [cycle["steps"] for cycle in found] == steps


class KilledError(Exception):
    """Ends a training where it stands."""


def kill_before(monkeypatch: pytest.MonkeyPatch, seeds: list[Any], call: int | None) -> None:
    """Let a training end before one of its rounds, and list the seeds of those that it begins."""
    train = Trainer.train

    def begin(self: Trainer, model: Any, rows: Any, seed: Any, steps: int = 0) -> Any:
        if len(seeds) == call:
            raise KilledError
        seeds.append(seed)
        return train(self, model, rows, seed, steps)

    monkeypatch.setattr(Trainer, "train", begin)


def test_a_training_killed_between_cycles_continues_to_the_same_bytes(
    cycles: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is killed in the first, the second and the third cycle of its three networks."""
    seeds: list[Any] = []
    monkeypatch.setenv(WORKERS, "1")
    for call in (1, 4, 7, None):
        with monkeypatch.context() as patch, suppress(KilledError):
            kill_before(patch, seeds, call)
            members = list(fit(cycles.setup, checkpoints=Checkpoints(tmp_path, "a")))
        assert call is None or len(seeds) == call
    assert_same(members, cycles.members)
    assert len(seeds) == len(members)  # no cycle was trained twice


def test_a_training_killed_in_the_second_network_does_not_train_the_first_one_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With dropout, Adam and early stopping that returns to the best epoch."""
    table = tmp_path / "table"
    write_table(table, NUMBERS)
    network = PLAIN | {"learning_rate": 0.1, "dropout": 0.3, "early_stopping": {"patience": 9}}
    two = {"members": [{"network": "plain", "count": 2}], "folds": 1}
    train = load_train_params({"plain": network | {"epochs": 60}}, **two)
    setup = Setup(table, NUMBERS, train, build, validation=table)
    expected = list(fit(setup))
    epochs = [len(member.history) for member in expected]
    assert 12 < min(epochs) <= max(epochs) < 60
    seeds: list[Any] = []
    monkeypatch.setenv(WORKERS, "1")
    for call in (epochs[0] + 7, None, None):  # when it has ended, nothing is trained again
        with monkeypatch.context() as patch, suppress(KilledError):
            kill_before(patch, seeds, call)
            members = list(fit(setup, checkpoints=Checkpoints(tmp_path, "a")))
    assert_same(members, expected)
    assert len(seeds) == epochs[0] + 7 + epochs[1]
    with monkeypatch.context() as patch:
        kill_before(patch, seeds, None)
        list(fit(setup, checkpoints=Checkpoints(tmp_path, "of another training")))
    assert len(seeds) == 7 + 2 * sum(epochs)


def test_a_process_of_ray_sets_up_a_training_once(tmp_path: Path) -> None:
    write_table(tmp_path / "table")
    setup = Setup(tmp_path / "table", SCHEMA, load_train_params({"plain": PLAIN}, folds=3), build)
    unpickled = copy(setup)  # as Ray would, from what `__reduce__` returns
    assert unpickled is not setup
    assert unpickled is copy(setup)
    np.testing.assert_array_equal(unpickled.folds, setup.folds)
    np.testing.assert_array_equal(unpickled.dataset[0].x, setup.dataset[0].x)


def test_early_stopping_returns_to_the_best_epoch(tmp_path: Path) -> None:
    write_table(tmp_path, NUMBERS)
    network = PLAIN | {"learning_rate": 0.1, "epochs": 100}
    histories = {}
    for restores in (True, False):
        stop = {"patience": 3, "restore_best_weights": restores}
        train = load_train_params({"plain": network | {"early_stopping": stop}}, folds=2)
        setup, members = trained(tmp_path, train, NUMBERS)
        for member in members:
            val_losses = [logs["val_loss"] for logs in member.history]
            assert 3 < len(val_losses) < 100
            assert int(np.argmin(val_losses)) == len(val_losses) - 4
            loss = setup.losses(setup.y[member.rows, 0], member.oof).mean()
            assert loss == pytest.approx(min(val_losses) if restores else val_losses[-1])
            np.testing.assert_allclose(outputs(setup, member)[member.rows], member.oof, atol=1e-6)
        histories[restores] = [member.history for member in members]
    assert histories[True] == histories[False]


@pytest.mark.parametrize("schedule", ["constant", "cosine_restarts"])
def test_a_loss_that_is_not_finite_ends_the_training_with_its_epoch(
    schedule: str, tmp_path: Path
) -> None:
    write_table(tmp_path, NUMBERS)
    network = PLAIN | {"learning_rate": 1e30, "learning_rate_schedule": schedule}
    setup = Setup(tmp_path, NUMBERS, load_train_params({"plain": network}, folds=2), build)
    with pytest.raises(UserError, match=r"epoch \d.*learning_rate"):
        list(fit(setup))


def test_without_folds_the_cycle_with_the_lowest_validation_loss_is_taken(tmp_path: Path) -> None:
    write_table(tmp_path)
    setup, members = trained(tmp_path, load_train_params({"plain": CYCLES}, folds=1))
    losses = {member.name: member.history[-1]["val_loss"] for member in members}
    assert list(weigh_snapshots(setup, members).weights) == [min(losses, key=losses.__getitem__)]


def of_any_weights(setup: Setup) -> list[Snapshot]:
    """Members that nobody has trained."""
    rng, members = np.random.default_rng(0), []
    for fold, kind in product(range(setup.train.folds), BOTH):
        weights = [
            rng.normal(size=w.shape) / 2 for w in setup.architectures[kind].network.get_weights()
        ]
        members.append(Snapshot(kind, fold, fold, weights))
    return members


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_saved_model_is_plain_keras_and_the_weighted_mean_of_the_members(
    task: str, tmp_path: Path
) -> None:
    schema = build_schema(task, **COLUMNS)
    table = write_table(tmp_path / "table", schema)
    setup = Setup(tmp_path / "table", schema, load_train_params(BOTH, folds=2), build)
    members, weights = of_any_weights(setup), {"realmlp": 0.25, "plain": 0.75}
    path = tmp_path / "m.keras"
    saved_model.write_model(assemble(setup, members, weights), path, ModelMetadata())
    expected = setup.in_units(
        np.sum([weights[m.architecture] / 2 * outputs(setup, m) for m in members], axis=0)
    )
    # Four rows of what training never saw come last.
    absurd = {
        "a": np.array([1e30, -1e30, 0.0, 1e30]),
        "b": np.array([1e30, -1e30, 0.0, -1e30]),
        "town": np.array(["t1", "", "nowhere", "t2"], object),
    }
    known = feature_arrays(table, schema)
    rows = {name: np.concatenate([known[name], absurd[name]]) for name in known}
    found = saved_model.predict(saved_model.load_model(path, path.read_bytes()).network, rows)
    by_keras = keras.models.load_model(path, safe_mode=True).predict(rows, verbose=0)
    atol = 1e-6 * setup.preprocessor.statistics.target.scale
    np.testing.assert_allclose(found[:-4], expected, rtol=0, atol=atol)
    np.testing.assert_allclose(by_keras, found, rtol=0, atol=atol)
    assert np.isfinite(found).all()
    if task == "regression":  # no value beyond those of training, which is where the clipped are
        assert found.min() == by_keras.min() == np.float32(setup.y.min())
        assert found.max() == by_keras.max() == np.float32(setup.y.max())


def hidden_and_skip(
    read: list[keras.KerasTensor], of: ResolvedNetwork, schema: Schema
) -> keras.KerasTensor:
    """Other layers than those of the project: normalised batches and a way around the hidden."""
    x = keras.layers.Dense(of.units[0], "tanh")(read[0])
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Concatenate()([x, read[0]])
    return keras.layers.Dense(1, "sigmoid")(x)


def test_another_network_needs_another_build_and_no_more(tmp_path: Path) -> None:
    table = write_table(tmp_path)
    params = load_train_params(
        {"plain": PLAIN | {"learnt_scale": True}}, folds=2
    )  # it has no "scale"
    setup, members = trained(tmp_path, params, build=hidden_and_skip)
    for member in members:
        assert member.history[-1]["loss"] < 0.9 * member.history[0]["loss"]
        moving_variance = member.weights[5]
        assert (moving_variance != 1).all()
        np.testing.assert_allclose(outputs(setup, member)[member.rows], member.oof, atol=1e-6)
    ensemble = weigh_snapshots(setup, members)
    networks = describe(setup, members, ensemble)["networks"]["plain"]
    assert not networks["stacked"]
    assert build_metadata(setup, members, ensemble).repeats == "same_cpu"
    model = assemble(setup, members, {"plain": 1.0})
    expected = np.mean([outputs(setup, member) for member in members], axis=0)
    exact = make_reproducible(model)
    for members_too in (False, True):
        found = predict(exact, feature_arrays(table, SCHEMA), members=members_too)
        np.testing.assert_allclose(found[:, :1], expected, atol=1e-6)


def ensemble_of(setup: Setup, constants: dict[int, float]) -> WeightedEnsemble:
    """Weigh members that answer a constant after some steps."""
    folds, members = np.concatenate(setup.folds), []
    for steps, fold in product(constants, range(setup.train.folds)):
        rows = np.flatnonzero(folds == fold)
        oof = np.full((len(rows), 1), constants[steps], np.float32)
        members.append(Snapshot("plain", fold, fold, rows=rows, oof=oof, steps=steps))
    return weigh_snapshots(setup, members)


def test_the_ensemble_and_the_number_of_steps_minimise_the_class_weighted_loss(
    tmp_path: Path,
) -> None:
    write_table(tmp_path, NUMBERS)
    train = load_train_params({"plain": PLAIN}, folds=2, class_weight={0: 1, 1: 9})
    setup = Setup(tmp_path, NUMBERS, train, build)
    y, weight = setup.y[:, 0], np.where(setup.y[:, 0] == 1, 9, 1)
    shares = {30: y.mean(), 60: np.average(y, weights=weight)}
    ensemble = ensemble_of(setup, shares)
    assert ensemble.weights == {"plain-60": 1}
    for steps, share in shares.items():
        loss = log_loss(y, np.full(len(y), np.float32(share)), sample_weight=weight)
        assert ensemble.losses[f"plain-{steps}"] == pytest.approx(loss)
    dataset = TableDataset(tmp_path, setup.preprocessor, Labels(setup.y, setup.weight))
    np.testing.assert_array_equal(dataset[0].weight, weight)


def test_the_ensemble_minimises_absolute_errors_where_these_are_trained(tmp_path: Path) -> None:
    schema = build_schema("regression")
    values = np.exp(np.random.default_rng(0).normal(size=80))
    write_part(tmp_path, 0, pa.table({"x": values, "y": values}, build_arrow_schema(schema)))
    for loss, best in {"mean_squared_error": "plain-30", "mean_absolute_error": "plain-60"}.items():
        setup = Setup(
            tmp_path, schema, load_train_params({"plain": PLAIN}, folds=2, loss=loss), build
        )
        y = setup.dataset.y
        weights = ensemble_of(setup, {30: y.mean(), 60: np.median(y)}).weights
        assert max(weights, key=weights.__getitem__) == best
