"""The trainer gives the weights that Keras's `fit` gives, also for a table in parts."""

import re
from functools import partial
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import yaml

from keras_tabular.config.sections import Optimizer, OptimizerArgument, ResolvedTrain
from keras_tabular.core.errors import UserError
from keras_tabular.networks.backend import tf
from keras_tabular.preprocessing.features import ColumnSample
from keras_tabular.training.architecture import Architecture
from keras_tabular.training.dataset import Labels, Rows, class_weights
from keras_tabular.training.optimizer import build_optimizer, learnt_weights
from keras_tabular.training.trainer import Trainer
from network import build
from tests.documentation import PAGES
from tests.helpers import BINARY, build_schema, load_train_params

X = np.random.default_rng(0).normal(size=(103, 5)).astype(np.float32)
Y = (X.sum(axis=1, keepdims=True) > 0).astype(np.float32)
SCHEMA = build_schema("binary")


def build_part(rows: slice = slice(None), weight: np.ndarray | None = None) -> Rows:
    weight = np.ones(len(X), np.float32) if weight is None else weight
    x, y, weight = (tf.constant(values[rows]) for values in (X, Y, weight))
    return Rows(x, y, weight, np.arange(len(x), dtype=np.int32))


def resolve_params(**changes: Any) -> ResolvedTrain:
    """Return parameters with a small network, and changes of keys of the network or of `train`."""
    of_section = {key: changes.pop(key) for key in [*changes] if key in ResolvedTrain.model_fields}
    network = {"units": (4,), "batch_size": 8, "learning_rate_schedule": "constant"} | changes
    return load_train_params({"plain": network}, **of_section).resolve_auto(len(X), BINARY, 8)


def build_architecture(train: ResolvedTrain) -> Architecture:
    return Architecture("plain", train, SCHEMA, build, ColumnSample(X, X.shape[1], len(X), {}))


@pytest.mark.parametrize(
    ("optimizer", "exact"), [("adam", True), pytest.param("sgd", False, marks=pytest.mark.slow)]
)
def test_one_epoch_gives_the_weights_of_fit(
    optimizer: str, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With L2, class weights and a short last batch; 103 rows in batches of 8."""
    train = resolve_params(
        optimizer=optimizer, learning_rate=0.01, l2=0.01, class_weight={0: 1, 1: 3}, exact=exact
    )
    ours = build_architecture(train).build_compiled(seed=3)
    reference = build_architecture(train).network
    unshuffled = SimpleNamespace(
        permutation=lambda rows: np.arange(len(rows) if np.ndim(rows) else rows)
    )
    monkeypatch.setattr(np.random, "default_rng", lambda seed: unshuffled)
    reference.set_weights(learnt_weights(ours))
    keys = {"loss": "binary_crossentropy", "weighted_metrics": ["accuracy"], "run_eagerly": True}
    reference.compile(build_optimizer(train.networks["plain"], steps=100), **keys)
    weight = np.where(Y[:, 0] == 1, 3, 1).astype(np.float32)
    logs = Trainer(ours, 8).train(ours, [partial(build_part, weight=weight)], seed=[0])
    keys = {"shuffle": False, "class_weight": train.class_weight}
    fitted = reference.fit(X, Y, batch_size=8, epochs=1, verbose=0, **keys)
    for weight, expected in zip(learnt_weights(ours), reference.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-6)
    for name, (value,) in fitted.history.items():
        assert logs[name] == pytest.approx(value, abs=1e-5)


def test_the_page_about_own_parts_lists_what_optimizers_take() -> None:
    page = PAGES["docs/own-parts.md"].partition("arguments and their defaults |\n")[2]
    rows = re.findall(r"^\| (`.*`) \| (.*) \|$", page.partition("\n\n")[0], re.MULTILINE)
    listed = {name: text for names, text in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(listed) == set(get_args(Optimizer))
    for name, text in listed.items():
        defaults = {key: yaml.safe_load(v) for key, v in re.findall(r"`(\w+)` ([^, ]+)", text)}
        arguments = {key: float(value) for key, value in defaults.items()}
        configs = []
        for values in (arguments, {"clipvalue": 0.5}):
            train = resolve_params(optimizer=name, optimizer_arguments=values)
            configs.append(build_optimizer(train.networks["plain"], steps=1).get_config())
        assert {key: configs[1][key] for key in arguments} == arguments
        for other in {*get_args(OptimizerArgument)} - {*arguments, "clipvalue"}:
            wrong = resolve_params(optimizer=name, optimizer_arguments={other: 0.5})
            with pytest.raises(UserError, match=rf"optimizer_arguments of {name}: .*{other}"):
                build_optimizer(wrong.networks["plain"], steps=1)


def test_balanced_class_weights_give_each_class_the_same_sum() -> None:
    ones = np.ones(len(Y))
    train = resolve_params(class_weight="balanced")
    weights = class_weights(Labels(Y, ones), train, SCHEMA)[Y[:, 0].astype(int)]
    assert weights[Y[:, 0] == 1].sum() == pytest.approx(weights[Y[:, 0] == 0].sum(), rel=1e-5)
    assert weights.sum() == pytest.approx(len(Y), rel=1e-5)


def test_an_epoch_uses_every_row_of_a_table_in_parts() -> None:
    cuts = [*(slice(start, start + 25) for start in (0, 25, 50, 75)), slice(100, 103)]
    parts = [partial(build_part, cut) for cut in cuts]
    model = build_architecture(resolve_params(dropout=0.3)).build_compiled(seed=3)
    trainer = Trainer(model, 8)
    trainer.train(model, parts, [1, 0])
    assert int(model.optimizer.iterations) == 4 * 4 + 1
    predictions = trainer.predict(model, parts)
    np.testing.assert_allclose(predictions, model.predict(X, verbose=0), atol=1e-6)
