"""A model is the weighted mean of networks that have not seen their fold."""

import re
from contextlib import suppress
from itertools import count, islice, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.workers import WORKERS
from keras_tabular.model import saved_model
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.network.backend import keras
from keras_tabular.table.arrays import feature_arrays
from keras_tabular.table.parquet import write_part
from keras_tabular.training import ensemble
from keras_tabular.training.architecture import Build
from keras_tabular.training.checkpoint import Checkpoints, Snapshot
from keras_tabular.training.rounds import fit
from keras_tabular.training.setup import Setup
from network import build
from tests.documentation import PAGES
from tests.helpers import build_arrow_schema, build_schema, load_train_params

Settings = dict[str, dict[str, Any]]  # of networks, by name
COLUMNS = {"a": "real", "b": "real", "town": "category"}
SCHEMA = build_schema("binary", **COLUMNS)
NUMBERS = build_schema("binary", a="real", b="real")
# A graph is compiled for each number of rows of a part, so there are few different
# numbers.
ONE_PART = (80,)
SMALL_PARTS = (39, 1, 0, 39, 1, 1)
PLAIN: dict[str, Any] = {
    "units": (4,),
    "epochs": 12,
    "batch_size": 8,
    "learning_rate": 0.02,
    "learning_rate_schedule": "constant",
}
WIDE: dict[str, Any] = {
    "units": (8,),
    "epochs": 6,
    "batch_size": 16,
    "learning_rate": 0.02,
    "embedding": {"bins": 4, "units": 2},
    "dropout": 0.1,
}
BOTH = {"realmlp": WIDE, "plain": PLAIN}
CYCLES = {"learning_rate_schedule": "cosine_restarts", "epochs": 200, "dropout": 0.1}
IN_CYCLES = {"plain": PLAIN | CYCLES}


def write_table(
    folder: Path,
    schema: Schema = SCHEMA,
    part_sizes: tuple[int, ...] = ONE_PART,
    shuffled: np.ndarray | None = None,
) -> pa.Table:
    """Write a table in parts, where the labels of the `shuffled` rows are exchanged."""
    rng = np.random.default_rng(0)
    rows = sum(part_sizes)
    a, b = rng.normal(size=(2, rows)).round(3)
    town = rng.integers(0, 12, rows)
    y = a + b + np.sin(town) + rng.normal(size=rows) / 4
    if shuffled is not None:
        y[shuffled] = y[shuffled][::-1]
    if schema.task == "regression":
        labels = (100 + 50 * y).tolist()
    else:
        limits = [-0.7, 0.7] if schema.task == "multiclass" else [0]
        labels = [schema.classes[i] for i in np.digitize(y, limits)]
    columns = {
        "a": a,
        "b": b,
        "town": [f"t{i}" for i in town],
        "y": labels,
    }
    table = pa.table(
        {name: columns[name] for name in schema.columns},
        build_arrow_schema(schema),
    )
    start = 0
    for number, size in enumerate(part_sizes):
        write_part(folder, number, table[start : start + size])
        start += size
    return table


def set_up(
    folder: Path,
    networks: Settings,
    schema: Schema = SCHEMA,
    build: Build = build,
    **changes: Any,
) -> Setup:
    """Set up a training; without folds, its rows are the validation rows too."""
    train = load_train_params(networks, **changes)
    return Setup([folder, folder], schema, train, build)


Training = tuple[Setup, list[Snapshot]]


def train(setup: Setup) -> Training:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WORKERS, "2")
        return setup, fit(setup)


@pytest.fixture(scope="module")
def trained_on_one_part(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Both architectures, on folds of 27, 27 and 26 rows."""
    folder = tmp_path_factory.mktemp("one")
    write_table(folder)
    return train(set_up(folder, BOTH, folds=3))


@pytest.fixture(scope="module")
def trained_in_cycles(tmp_path_factory: pytest.TempPathFactory) -> Training:
    folder = tmp_path_factory.mktemp("cycles")
    write_table(folder)
    return train(set_up(folder, IN_CYCLES, folds=3))


def predict_layer_by_layer(setup: Setup, snapshot: Snapshot) -> np.ndarray:
    """Return the predictions of a snapshot for all training rows."""
    architecture = setup.architectures[snapshot.architecture]
    architecture.network.set_weights(snapshot.weights)
    features = [architecture.features(read().x) for read in setup.dataset.parts]
    return np.concatenate([architecture.network(part) for part in features])


def assert_predicts_its_fold(setup: Setup, snapshot: Snapshot) -> None:
    predictions = predict_layer_by_layer(setup, snapshot)
    np.testing.assert_allclose(predictions[snapshot.rows], snapshot.outputs, atol=1e-6)


def assert_identical(
    snapshots: list[Snapshot],
    expected_snapshots: list[Snapshot],
) -> None:
    for snapshot, expected in zip(snapshots, expected_snapshots, strict=True):
        assert snapshot.history == expected.history
        np.testing.assert_array_equal(snapshot.outputs, expected.outputs)
        pairs = zip(snapshot.weights, expected.weights, strict=True)
        for weight, expected_weight in pairs:
            np.testing.assert_array_equal(weight, expected_weight)


@pytest.mark.parametrize("small_parts", [False, True])
def test_each_row_is_predicted_by_networks_that_have_not_learnt_from_it(
    small_parts: bool,
    trained_on_one_part: Training,
    tmp_path: Path,
) -> None:
    setup, snapshots = trained_on_one_part
    if small_parts:
        write_table(tmp_path, part_sizes=SMALL_PARTS)
        setup, snapshots = train(set_up(tmp_path, {"plain": PLAIN}, folds=3))
    folds = np.concatenate(setup.folds)
    for snapshot in snapshots:
        rows_of_fold = np.flatnonzero(folds == snapshot.fold)
        np.testing.assert_array_equal(snapshot.rows, rows_of_fold)
        assert_predicts_its_fold(setup, snapshot)
    rows, predictions, _ = ensemble.find_candidates(setup, snapshots)
    np.testing.assert_array_equal(rows, np.arange(len(folds)))
    assert predictions["plain"].shape == (len(folds), 1)


def test_the_labels_of_the_held_out_fold_do_not_change_the_weights(
    trained_on_one_part: Training,
    tmp_path: Path,
) -> None:
    setup, snapshots = trained_on_one_part
    write_table(tmp_path, shuffled=np.concatenate(setup.folds) == 0)
    other_setup = set_up(tmp_path, BOTH, folds=3)
    other_setup.folds = setup.folds  # the other labels would give other folds
    other_snapshots = islice(fit(other_setup), len(BOTH))
    for snapshot, other in zip(snapshots, other_snapshots, strict=False):
        # The scores of the held-out fold differ.
        assert snapshot.history != other.history
        for weight, other_weight in zip(snapshot.weights, other.weights, strict=True):
            np.testing.assert_allclose(weight, other_weight, atol=1e-5)


def test_a_network_is_the_same_when_others_are_trained_with_it(tmp_path: Path) -> None:
    """Networks share a graph, but no dropout, learning rate or other state."""
    write_table(tmp_path, NUMBERS)
    members = [{"network": name, "count": 2} for name in ("plain", "realmlp")]
    setup = set_up(
        tmp_path,
        BOTH,
        NUMBERS,
        folds=1,
        seed=0,
        members=members,
    )
    _, snapshots = train(setup)
    assert len(snapshots) == 4
    _, alone = train(
        set_up(
            tmp_path,
            {"realmlp": WIDE},
            NUMBERS,
            folds=1,
            seed=1,
        ),
    )
    assert_identical(snapshots[-1:], alone)


def test_training_ends_with_the_first_cycle_that_hardly_lowers_the_loss_of_the_ensemble(
    trained_in_cycles: Training,
) -> None:
    setup, snapshots = trained_in_cycles
    steps = [snapshot.steps for snapshot in snapshots[::3]]
    cycles = range(1, len(steps) + 1)
    assert steps == [30 * (2**cycle - 1) for cycle in cycles]
    losses = []
    for cycle in cycles:
        candidates = ensemble.find_candidates(setup, snapshots[: 3 * cycle])
        losses.append(ensemble.ensemble_losses(setup, candidates).mean())
    *gains, last_gain = [after < 0.98 * before for before, after in pairwise(losses)]
    assert all(gains)
    assert not last_gain
    assert min(ensemble.weigh_snapshots(setup, snapshots).weights.values()) >= 0.05


class KilledError(Exception):
    """Ends a training like a kill."""


def test_a_training_that_is_killed_between_cycles_continues_to_the_same_bytes(
    trained_in_cycles: Training,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """It is killed in the first, the second and the third cycle."""
    setup, expected = trained_in_cycles
    rounds = count(1)
    save = Checkpoints.save

    def save_or_kill(self: Checkpoints, name: str, snapshot: Snapshot) -> None:
        save(self, name, snapshot)
        if next(rounds) in (1, 4, 7):
            raise KilledError

    monkeypatch.setenv(WORKERS, "1")
    monkeypatch.setattr(Checkpoints, "save", save_or_kill)
    for _ in range(4):
        with suppress(KilledError):
            snapshots = fit(setup, checkpoints=Checkpoints(tmp_path, "key"))
    assert_identical(snapshots, expected)
    assert next(rounds) == len(snapshots) + 1  # no cycle was trained twice


@pytest.mark.parametrize("restores", [True, False])
def test_early_stopping_returns_to_the_best_epoch(
    restores: bool,
    tmp_path: Path,
) -> None:
    write_table(tmp_path, NUMBERS)
    early_stopping = {"patience": 3, "restore_best_weights": restores}
    changes = {"learning_rate": 0.1, "epochs": 100, "early_stopping": early_stopping}
    networks = {"plain": PLAIN | changes}
    setup, snapshots = train(set_up(tmp_path, networks, NUMBERS, folds=2))
    for snapshot in snapshots:
        val_losses = [logs["val_loss"] for logs in snapshot.history]
        assert 3 < len(val_losses) < 100
        assert int(np.argmin(val_losses)) == len(val_losses) - 4
        loss = setup.losses(setup.y[snapshot.rows, 0], snapshot.outputs).mean()
        assert loss == pytest.approx(min(val_losses) if restores else val_losses[-1])
        assert_predicts_its_fold(setup, snapshot)


@pytest.mark.parametrize("schedule", ["constant", "cosine_restarts"])
def test_a_loss_that_is_not_finite_ends_the_training(
    schedule: str,
    tmp_path: Path,
) -> None:
    write_table(tmp_path, NUMBERS)
    network = PLAIN | {"learning_rate": 1e30, "learning_rate_schedule": schedule}
    with pytest.raises(UserError, match=r"epoch \d.*learning_rate"):
        fit(set_up(tmp_path, {"plain": network}, NUMBERS, folds=2))


def test_without_folds_the_cycle_with_the_lowest_validation_loss_is_saved(
    tmp_path: Path,
) -> None:
    write_table(tmp_path, NUMBERS)
    snapshots = [
        Snapshot(
            "plain",
            0,
            0,
            history=[{"val_loss": loss}],
            steps=steps,
        )
        for steps, loss in ((30, 0.5), (90, 0.4), (210, 0.41))
    ]
    setup = set_up(tmp_path, IN_CYCLES, NUMBERS, folds=1)
    assert list(ensemble.weigh_snapshots(setup, snapshots).weights) == ["plain-90"]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_saved_model_is_plain_keras_and_the_weighted_mean_of_its_members(
    task: str,
    tmp_path: Path,
) -> None:
    schema = build_schema(task, **COLUMNS)
    rng = np.random.default_rng(0)
    table = write_table(tmp_path / "table", schema)
    setup = set_up(tmp_path / "table", BOTH, schema, folds=2)
    snapshots = []
    for fold, name in product(range(2), BOTH):
        architecture = setup.architectures[name]
        assert architecture.is_stackable
        arrays = architecture.network.get_weights()
        random_weights = [rng.normal(size=array.shape) / 2 for array in arrays]
        snapshots.append(Snapshot(name, fold, fold, random_weights))
    weights = {"realmlp": 0.25, "plain": 0.75}
    path = tmp_path / "m.keras"
    model = ensemble.build_model(setup, snapshots, weights)
    ensemble.write_model(model.plain, path, ModelMetadata())
    weighted = []
    for snapshot in snapshots:
        y_pred = predict_layer_by_layer(setup, snapshot)
        weighted.append(weights[snapshot.architecture] / 2 * y_pred)
    expected = setup.in_units(np.sum(weighted, axis=0))
    unseen = {
        "a": np.array([1e30, -1e30, 0.0, 1e30]),
        "b": np.array([1e30, -1e30, 0.0, -1e30]),
        "town": np.array(["t1", "", "nowhere", "t2"], object),
    }
    seen = feature_arrays(table, schema)
    rows = {name: np.concatenate([seen[name], unseen[name]]) for name in seen}
    predictions = saved_model.load_saved_model(path, path.read_bytes()).predict(rows)
    assert predictions.tobytes() == model.predict(rows).tobytes()
    by_keras = keras.models.load_model(path, safe_mode=True).predict(rows, verbose=0)
    atol = 1e-6 * setup.preprocessor.statistics.target.scale
    np.testing.assert_allclose(predictions[:-4], expected, rtol=0, atol=atol)
    np.testing.assert_allclose(by_keras, predictions, rtol=0, atol=atol)
    assert np.isfinite(predictions).all()
    # Predictions are clipped to the range of the training values.
    if task == "regression":
        assert predictions.min() == by_keras.min() == np.float32(setup.y.min())
        assert predictions.max() == by_keras.max() == np.float32(setup.y.max())


def build_from(code: str) -> Build:
    """Run a network.py, and return its function `build`."""
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    return namespace["build"]


SKIP, NORMALISED_LINES, OPTIONS, PRETRAINED, EMBEDDING = re.findall(
    r"(?ms)^```python\n(.*?)^```",
    PAGES["docs/own-parts.md"].partition("## A check")[0],
)
NORMALISED = re.sub(r"(?m)^        hidden = .*\n", NORMALISED_LINES, SKIP)
CROSS = {"options": {"layers": "cross", "depth": 2}}


@pytest.mark.parametrize(
    ("code", "network", "repeats"),
    [
        # These layers have no "scale".
        (SKIP, PLAIN | {"learnt_scale": True}, "any_cpu"),
        pytest.param(NORMALISED, PLAIN, "same_cpu", marks=pytest.mark.slow),
        (OPTIONS, PLAIN | CROSS, "any_cpu"),
        (PRETRAINED, PLAIN, "any_cpu"),
        (EMBEDDING, PLAIN | {"embedding": WIDE["embedding"]}, "any_cpu"),
    ],
)
def test_the_networks_of_the_page_about_own_parts_work(
    code: str,
    network: Any,
    repeats: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = write_table(tmp_path)
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    layer = keras.layers.Dense(3, name="pretrained")
    keras.Sequential([keras.Input((14,)), layer]).save("data/pretrained.keras")
    pretrained_weights, _ = layer.get_weights()

    networks = {"plain": network}
    build = build_from(code)
    setup, snapshots = train(
        set_up(
            tmp_path,
            networks,
            build=build,
            folds=2,
        ),
    )
    for snapshot in snapshots:
        assert snapshot.history[-1]["loss"] < 0.9 * snapshot.history[0]["loss"]
        assert_predicts_its_fold(setup, snapshot)
        if code == PRETRAINED:
            equal = [np.array_equal(w, pretrained_weights) for w in snapshot.weights]
            assert any(equal)
        if code == EMBEDDING:
            town = setup.architectures["plain"].network.get_layer("town")
            assert town.kernel.shape == (12, 4)
        if code == NORMALISED:
            assert (snapshot.weights[5] != 1).all()  # the moving variance
    expected = np.mean([predict_layer_by_layer(setup, s) for s in snapshots], axis=0)
    weights = {"plain": 1.0}
    model = ensemble.build_model(setup, snapshots, weights)
    record = ensemble.build_record(setup, snapshots, weights, model)
    assert record.repeats == repeats
    predictions = model.predict(feature_arrays(table, SCHEMA))
    np.testing.assert_allclose(predictions, expected, atol=1e-6)


def weigh_constants(
    setup: Setup,
    first: float,
    second: float,
) -> ensemble.WeightedEnsemble:
    """Weigh snapshots that predict a constant: the first ones and the second ones."""
    folds = np.concatenate(setup.folds)
    snapshots = []
    for steps, constant in ((1, first), (2, second)):
        for fold in range(2):
            rows = np.flatnonzero(folds == fold)
            outputs = np.full((len(rows), 1), constant, np.float32)
            snapshot = Snapshot(
                "plain",
                fold,
                fold,
                rows=rows,
                outputs=outputs,
                steps=steps,
            )
            snapshots.append(snapshot)
    return ensemble.weigh_snapshots(setup, snapshots)


def test_the_ensemble_weights_minimise_the_class_weighted_loss(tmp_path: Path) -> None:
    write_table(tmp_path, NUMBERS)
    setup = set_up(
        tmp_path,
        {"plain": PLAIN},
        NUMBERS,
        folds=2,
        class_weight={0: 1, 1: 9},
    )
    y = setup.y[:, 0]
    weight = np.where(y == 1, 9, 1)
    best = np.average(y, weights=weight)
    weighted_ensemble = weigh_constants(setup, y.mean(), best)
    assert weighted_ensemble.weights == {"plain-2": 1}
    loss = log_loss(y, np.full(len(y), np.float32(best)), sample_weight=weight)
    assert weighted_ensemble.losses["plain-2"] == pytest.approx(loss)


def test_ensemble_weights_minimise_loss_of_training(tmp_path: Path) -> None:
    schema = build_schema("regression")
    values = np.exp(np.random.default_rng(0).normal(size=80))
    table = pa.table({"x": values, "y": values}, build_arrow_schema(schema))
    write_part(tmp_path, 0, table)
    for loss, best in (
        ("mean_squared_error", "plain-1"),
        ("mean_absolute_error", "plain-2"),
    ):
        setup = set_up(
            tmp_path,
            {"plain": PLAIN},
            schema,
            folds=2,
            loss=loss,
        )
        y = setup.dataset.y
        weights = weigh_constants(setup, float(y.mean()), float(np.median(y))).weights
        assert max(weights, key=weights.__getitem__) == best
