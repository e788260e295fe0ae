"""Rounds, folds, checkpoints and decisions of the training."""

import importlib
import re
import shutil
import sys
from functools import partial
from itertools import cycle, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
import yaml

from keras_tabular.config import sections
from keras_tabular.config.sections import ResolvedTrain
from keras_tabular.core.errors import UserError
from keras_tabular.network.backend import keras, tf
from keras_tabular.network.features import ColumnSample
from keras_tabular.table.parquet import FOLD_KEY, write_part
from keras_tabular.training import checkpoint
from keras_tabular.training.architecture import (
    Architecture,
    build_optimizer,
    learnt_weights,
)
from keras_tabular.training.dataset import Labels, Rows, class_weights
from keras_tabular.training.ensemble import select_weights
from keras_tabular.training.folds import deal_rows, draw_folds, possible_folds
from keras_tabular.training.rounds import has_improved, why_finished
from keras_tabular.training.setup import Setup, resolve_auto
from keras_tabular.training.train import predict_later_blocks
from keras_tabular.training.trainer import Trainer
from network import build
from tests.documentation import PAGES
from tests.helpers import (
    BINARY,
    PROJECT,
    build_arrow_schema,
    build_schema,
    load_train_params,
)

# The trainer gives the weights that Keras's `fit` gives, also for a table in parts.
X = np.random.default_rng(0).normal(size=(103, 5)).astype(np.float32)
Y = (X.sum(axis=1, keepdims=True) > 0).astype(np.float32)
SCHEMA = build_schema("binary")


def build_part(rows: slice = slice(None), weight: np.ndarray | None = None) -> Rows:
    weight = np.ones(len(X), np.float32) if weight is None else weight
    x, y, weight = (tf.constant(values[rows]) for values in (X, Y, weight))
    return Rows(
        x,
        y,
        weight,
        np.arange(len(x), dtype=np.int32),
    )


def resolve_params(**changes: Any) -> ResolvedTrain:
    """Return parameters with a small network, and with changed keys."""
    network = {
        "units": (4,),
        "batch_size": 8,
        "learning_rate_schedule": "constant",
    }
    of_section = dict[str, Any]()
    for key, value in changes.items():
        settings = of_section if key in ResolvedTrain.model_fields else network
        settings[key] = value
    train = load_train_params({"plain": network}, **of_section)
    return resolve_auto(train, len(X), BINARY, 8)


def build_architecture(train: ResolvedTrain) -> Architecture:
    sample = ColumnSample(
        X,
        X.shape[1],
        len(X),
        {},
    )
    return Architecture("plain", train, SCHEMA, build, sample)


@pytest.mark.parametrize(
    ("optimizer", "exact"),
    [("adam", True), pytest.param("sgd", False, marks=pytest.mark.slow)],
)
def test_one_epoch_gives_the_weights_of_fit(
    optimizer: str,
    exact: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With L2, class weights and a short last batch; 103 rows in batches of 8."""
    train = resolve_params(
        class_weight={0: 1, 1: 3},
        optimizer=optimizer,
        learning_rate=0.01,
        l2=0.01,
        exact=exact,
    )
    keras.utils.set_random_seed(3)
    ours = build_architecture(train).build_compiled()
    reference = build_architecture(train).network
    unshuffled = SimpleNamespace(
        permutation=lambda rows: np.arange(len(rows) if np.ndim(rows) else rows),
    )
    monkeypatch.setattr(np.random, "default_rng", lambda seed: unshuffled)
    reference.set_weights(learnt_weights(ours))
    optimizer = build_optimizer(train.networks["plain"], steps=100)
    reference.compile(optimizer, loss="binary_crossentropy", run_eagerly=True)
    weight = np.where(Y[:, 0] == 1, 3, 1).astype(np.float32)
    loss = Trainer(ours, 8).train(ours, [partial(build_part, weight=weight)], seed=[0])
    fitted = reference.fit(
        X,
        Y,
        batch_size=8,
        epochs=1,
        verbose=0,
        shuffle=False,
        class_weight=train.class_weight,
    )
    pairs = zip(learnt_weights(ours), reference.get_weights(), strict=True)
    for weight, expected in pairs:
        np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-6)
    assert [loss] == pytest.approx(fitted.history["loss"], abs=1e-5)


def test_the_page_about_own_parts_lists_what_optimizers_take() -> None:
    page = PAGES["docs/own-parts.md"].partition("arguments and their defaults |\n")[2]
    table = page.partition("\n\n")[0]
    texts = dict[str, str]()
    for names, text in re.findall(r"^\| (`.*`) \| (.*) \|$", table, re.MULTILINE):
        texts |= dict.fromkeys(re.findall(r"`(\w+)`", names), text)
    assert set(texts) == set(get_args(sections.Optimizer))

    def build(name: str, arguments: dict[str, float]) -> keras.Optimizer:
        train = resolve_params(optimizer=name, optimizer_arguments=arguments)
        return build_optimizer(train.networks["plain"], steps=1)

    for name, text in texts.items():
        listed = re.findall(r"`(\w+)` ([^, ]+)", text)
        defaults = {key: float(yaml.safe_load(value)) for key, value in listed}
        build(name, defaults)
        config = build(name, {"clipvalue": 0.5}).get_config()
        assert {key: config[key] for key in defaults} == defaults
    with pytest.raises(UserError, match=r"optimizer_arguments of sgd: .*beta_1"):
        build("sgd", {"beta_1": 0.5})


def test_balanced_class_weights_give_each_class_the_same_sum() -> None:
    ones = np.ones(len(Y))
    train = resolve_params(class_weight="balanced")
    y = Y[:, 0].astype(int)
    weights = class_weights(Labels(Y, ones), train, SCHEMA)[y]
    sums = np.bincount(y, weights)
    assert sums == pytest.approx([len(Y) / 2] * 2, rel=1e-5)


def test_an_epoch_uses_every_row_of_a_table_in_parts() -> None:
    starts = range(0, 103, 25)
    parts = [partial(build_part, slice(start, start + 25)) for start in starts]
    model = build_architecture(resolve_params(dropout=0.3)).build_compiled()
    trainer = Trainer(model, 8)
    trainer.train(model, parts, [1, 0])
    assert int(model.optimizer.iterations) == 4 * 4 + 1
    predictions = trainer.predict(model, parts)
    np.testing.assert_allclose(predictions, model.predict(X, verbose=0), atol=1e-6)


# Every fold has training rows, and `folds: auto` chooses a number of folds that ensures
# this.
@pytest.mark.parametrize("sizes", [[1] * 12, [5, 5, 2], [12]])
def test_folds_have_equal_sizes_also_with_small_parts(sizes: list[int]) -> None:
    classes = [np.zeros(size) for size in sizes]
    folds = np.concatenate(deal_rows(classes, 5, seed=1))
    assert sorted(np.bincount(folds, minlength=5)) == [2, 2, 2, 3, 3]
    with pytest.raises(UserError, match=r"train\.folds is 13.*12 training rows"):
        draw_folds(classes, [], 13, 0)


def test_every_fold_has_rows_of_a_rare_class() -> None:
    y = np.random.default_rng(0).permutation(np.repeat([0.0, 1.0, 2.0], [80, 5, 7]))
    (folds,) = deal_rows([y], 5, seed=1)
    assert np.ptp(np.bincount(folds)) <= 1
    for rare_class in (1, 2):
        assert set(folds[y == rare_class]) == set(range(5))


@pytest.mark.parametrize(
    ("keys", "expected_folds"),
    [
        (np.repeat(np.arange(9) / 9, 20), 9),
        (np.repeat(np.arange(9), 20), 9),
        (np.repeat(np.arange(40) / 40, 3), 10),
        (np.repeat([0.1, 0.9], 30), 2),
        (np.full(30, 0.5), 1),
    ],
)
def test_auto_is_the_largest_number_of_folds_that_the_groups_fill(
    keys: np.ndarray,
    expected_folds: int,
    tmp_path: Path,
) -> None:
    write_part(tmp_path, 0, pa.table({FOLD_KEY: keys}))
    possible = possible_folds(tmp_path)
    classes = [np.zeros(len(keys))]
    train = resolve_auto(
        load_train_params(folds="auto"),
        len(keys),
        BINARY,
        8,
        possible,
    )
    assert train.folds == expected_folds
    for folds in possible:
        assert set(draw_folds(classes, [keys], folds, 1)[0]) == set(range(folds))
    with pytest.raises(UserError, match=r"Set train\.folds to \d+ or less, or to auto"):
        draw_folds(classes, [keys], 41, 1)


@pytest.mark.parametrize(
    ("keys", "max_size_difference"),
    [
        (np.r_[np.arange(999), 0], 2),  # one row repeats another
        (np.random.default_rng(0).integers(0, 300, 1000), 20),
    ],
)
def test_groups_stay_together_and_each_fold_has_its_share_of_the_classes(
    keys: np.ndarray,
    max_size_difference: int,
) -> None:
    y = np.random.default_rng(1).permutation((np.arange(1000) < 40).astype(float))
    folds = draw_folds(
        np.array_split(y, 3),
        np.array_split(keys, 3),
        5,
        1,
    )
    fold = np.concatenate(folds)
    key_folds = np.unique(np.column_stack([keys, fold]), axis=0)
    assert len(key_folds) == len(np.unique(keys))
    assert np.ptp(np.bincount(fold[y == 1])) <= 2
    assert np.ptp(np.bincount(fold)) <= max_size_difference


def test_folds_of_times_are_periods() -> None:
    times = np.random.default_rng(0).permutation(np.arange(100) / 99)
    (folds,) = draw_folds(
        [np.zeros(100)],
        [times],
        5,
        1,
    )
    assert (np.diff(folds[np.argsort(times)]) >= 0).all()
    assert np.ptp(np.bincount(folds)) <= 1


# A checkpoint belongs to one table, one set of parameters and the code that trains.
identify = partial(
    checkpoint.identity,
    sections=[],
    tables=[],
    build=build,
)


def test_the_identity_depends_on_rows_parameters_layers_and_versions(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = tmp_path / "1"
    two = tmp_path / "2"
    layers = tmp_path / "network.py"
    for folder in (one, two):
        folder.mkdir()
        (folder / "part-00000.parquet").write_text(folder.name)
    identities = [
        identify(tables=[]),
        identify(tables=[one]),
        identify(tables=[two]),
        identify(tables=[one, two]),
        identify(tables=[two, one]),
        identify(sections=[sections.Ingest(rows_per_file=10)]),
        identify(sections=[sections.Ingest(rows_per_file=20)]),
    ]
    for units in (3, 4):
        layers.write_text(f"UNITS = {units}\ndef build(): ...\n")
        namespace: dict[str, Any] = {}
        exec(compile(layers.read_text(), layers, "exec"), namespace)
        identities.append(identify(build=namespace["build"]))
    monkeypatch.setattr(tf, "__version__", "1.0")
    identities.append(identify())
    for package in ("keras", "numpy", "pyarrow", "scipy"):
        monkeypatch.setattr(checkpoint, "version", package.__eq__)
        identities.append(identify())
    assert len(set(identities)) == 5 + 2 + 2 + 5


def test_the_identity_depends_only_on_code_that_trains(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Modules of the project train too, such as those that network.py imports."""
    library = tmp_path / "keras_tabular"
    project = tmp_path / "project"
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "keras_tabular", library, ignore=without)
    monkeypatch.setattr(checkpoint, "__file__", str(library / "training/checkpoint.py"))
    module = project / "my_blocks.py"
    installed = project / ".venv/lib/site-packages/my_package.py"
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    for file in (module, installed):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        monkeypatch.syspath_prepend(file.parent)
        importlib.import_module(file.stem)
    monkeypatch.chdir(project)
    for file, trains in {
        library / "evaluation/__init__.py": False,
        library / "report/__init__.py": False,
        library / "table/__init__.py": True,
        library / "training/__init__.py": True,
        installed: False,
        module: True,
    }.items():
        identity = identify()
        file.write_text("# an edit\n")
        assert (identify() != identity) is trains


# No decision in training depends on the last bit of a loss, which differs between CPUs.
def neighbours(value: float) -> list[float]:
    """Return a number, and the next smaller and larger floating-point numbers."""
    return [
        float(np.nextafter(value, -np.inf)),
        value,
        float(np.nextafter(value, np.inf)),
    ]


# Whether `a` ends. Without noise, a cycle gains the same in each row.
@pytest.mark.parametrize(
    ("losses", "ensemble_losses", "noise", "ends"),
    [
        ({"a": [0.9], "b": [0.5]}, [0.5], 0, False),  # the first cycle
        ({"a": [0.7, 0.695]}, [0.7, 0.6], 0, False),  # the ensemble gained more
        ({"a": [0.9, 0.6], "b": [0.5]}, [0.5, 0.5], 0, False),  # `a` still gains
        ({"a": [0.7, 0.7]}, [0.7, 0.98 * 0.7], 0, False),  # exactly what is needed
        # It gained 1 % of the loss, but 10 % of what is explained:
        ({"a": [0.91, 0.90]}, [0.91, 0.90], 0, False),
        ({"a": [0.91, 0.90]}, [0.91, 0.90], 0.2, True),  # within its standard error
        ({"a": [1.02, 1.01]}, [1.02, 1.01], 0, True),  # nothing is explained
        ({"a": [0.7, 0.695], "b": [0.9]}, [0.7, 0.695], 0, True),  # too little
        # It leads to 0.6 at best:
        ({"a": [0.9, 0.8], "b": [0.6, 0.5]}, [0.6, 0.5], 0, True),
        ({"a": [0.0, 0.0]}, [0.0, 0.0], 0, False),  # no rows are held out
    ],
)
def test_an_architecture_ends_with_a_cycle_that_does_not_help(
    losses: dict[str, list[float]],
    ensemble_losses: list[float],
    noise: float,
    ends: bool,
) -> None:
    """The best constant prediction has a loss of 1."""
    rows = np.linspace(-noise, noise, 100)

    def losses_of_rows(means: list[float]) -> list[np.ndarray]:
        return [mean + rows * cycle for cycle, mean in enumerate(means)]

    own_losses = {name: losses_of_rows(means) for name, means in losses.items()}
    *earlier, last = ensemble_losses
    for loss in neighbours(last) if last else [0.0]:
        endings = why_finished(
            own_losses,
            losses_of_rows([*earlier, loss]),
            np.ones(100),
            may_be_behind=True,
        )
        assert ("a" in endings) is ends


@pytest.mark.parametrize(
    ("monitor", "scores", "min_delta", "best_epoch"),
    [
        ("val_loss", [0.5, 0.4, 0.45, 0.4], 0.0, 1),
        ("val_loss", [0.5, 0.49, 0.42, 0.41], 0.05, 2),
        ("val_accuracy", [0.5, 0.6, 0.55, 0.7], 0.0, 3),
        ("val_accuracy", [0.5, 0.6], 0.1, 0),  # no more than min_delta
    ],
)
def test_the_best_epoch_is_the_one_that_no_later_one_improves(
    monitor: Any,
    scores: list[float],
    min_delta: float,
    best_epoch: int,
) -> None:
    stopping = sections.EarlyStopping(monitor=monitor, patience=1, min_delta=min_delta)
    similar_scores = [neighbours(score) for score in scores]
    for last_bits in product(*similar_scores):
        logs = [{monitor: score} for score in last_bits]
        best = 0
        for epoch in range(1, len(logs)):
            if has_improved(logs[best], logs[epoch], stopping):
                best = epoch
        assert best == best_epoch


@pytest.mark.parametrize("last_bits", [(-np.inf, np.inf), (np.inf, -np.inf)])
def test_of_two_equal_networks_the_first_gets_all_weight(
    last_bits: tuple[float, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even if the losses of the two networks have other last bits."""
    schema = build_schema("binary")
    losses = Setup.losses
    bits = cycle(last_bits)
    x = np.random.default_rng(0).normal(size=60)
    part = pa.table({"x": x, "y": (x > 0).astype(int)}, build_arrow_schema(schema))
    write_part(tmp_path, 0, part)
    train = load_train_params({"plain": {"epochs": 1}}, folds=2)
    setup = Setup([tmp_path], schema, train, build)
    monkeypatch.setattr(
        Setup,
        "losses",
        lambda *args: np.nextafter(losses(*args), next(bits)),
    )
    good = np.clip(0.5 + x / 10, 0.1, 0.9).astype(np.float32)[:, None]
    predictions = {"first": good, "second": good, "bad": 1 - good}
    weights = select_weights(setup, np.arange(60), predictions)
    assert weights == {"first": 1.0, "second": 0.0, "bad": 0.0}


# Forward chaining predicts later rows with models that have learnt only from earlier
# rows.
NUMBER = build_schema("regression")
PLAIN = {"epochs": 3, "units": [4], "learning_rate_schedule": "constant"}
TRAIN = load_train_params({"plain": PLAIN}, folds=2, forward_chaining=2)


def write_rows(folder: Path, times: np.ndarray, y: np.ndarray) -> None:
    """Write rows to two parts of the same size; each compiles a graph."""
    for number in range(2):
        rows = np.random.default_rng(0).permutation(np.arange(number, len(y), 2))
        columns = {"x": np.sin(rows), "y": y[rows]}
        part = pa.table(columns, schema=build_arrow_schema(NUMBER))
        write_part(folder, number, part.append_column(FOLD_KEY, pa.array(times[rows])))


def test_later_rows_do_not_change_a_prediction(tmp_path: Path) -> None:
    times = np.arange(96) / 96
    y = np.cos(np.arange(96.0))
    changed = np.where(times < 2 / 3, y, y + 100)
    for name, values in (("before", y), ("after", changed)):
        write_rows(tmp_path / name, times, values)
    before, after = (
        Setup([tmp_path / name], NUMBER, TRAIN, build) for name in ("before", "after")
    )
    predictions, block = predict_later_blocks(before, tmp_path)
    other_predictions, _ = predict_later_blocks(after, tmp_path)
    assert np.bincount(block + 1).tolist() == [32, 32, 32]
    assert np.isnan(predictions[block < 0]).all()
    assert np.isfinite(predictions[block >= 0]).all()
    # Not even for the last block, whose own targets have changed.
    assert predictions.tobytes() == other_predictions.tobytes()


def test_too_few_different_times_are_an_error(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows", np.repeat([0, 0.5], 30), np.arange(60.0))
    setup = Setup([tmp_path / "rows"], NUMBER, TRAIN, build)
    message = r"^train\.forward_chaining, the rows before block 1 .* train.folds is 2"
    with pytest.raises(UserError, match=message):
        predict_later_blocks(setup, tmp_path)
