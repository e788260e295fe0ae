"""Hashes of operations, and of what stages make, which `make check-cpu` compares between CPUs.

The operations are each activation, loss and optimizer of params.yaml; the stages run on a table of
5,000 rows with numbers, gaps, days, texts and categories, for each task, with layers of several
sizes; one of them is evaluated too.
"""

import hashlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import pandas as pd

from keras_tabular.config.sections import LOSSES, Activation, Optimizer
from keras_tabular.networks import reproducible
from keras_tabular.networks.backend import keras, tf
from tests.projects import change_settings, create_project, run_stages
from tests.tables import make_shop_sales

NETWORKS: dict[str, dict[str, Any]] = {
    "binary": {"networks": {"plain": {"units": [600]}}},
    "multiclass": {"members": [{"network": "plain"}], "networks": {"plain": {"units": [200, 100]}}},
    "regression": {
        "members": [{"network": "plain"}],
        "networks": {"plain": {"units": [64], "batch_size": 1024}},
    },
}
MADE = ("models", "metrics", "data/oof", "data/predictions")
FEW = {"folds": 2, "networks": {"realmlp": {"epochs": 1}, "plain": {"epochs": 1}}}


def digest(tensors: list[tf.Tensor]) -> str:
    return hashlib.md5(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()


def gradients(functions: dict[str, Callable[[tf.Tensor], tf.Tensor]], x: tf.Tensor) -> None:
    """Print a hash of what each of the functions gives and of its gradient, compiled together."""

    @tf.function(jit_compile=True, autograph=False)
    def all_of(x: tf.Tensor) -> list[list[tf.Tensor]]:
        found = []
        for function in functions.values():
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
            found.append([y, tape.gradient(y, x)])
        return found

    for name, parts in zip(functions, all_of(x), strict=True):
        print(name, digest(parts))


def two_steps(optimizer: keras.optimizers.Optimizer, x: tf.Tensor) -> keras.Variable:
    weight = keras.Variable(x)
    optimizer.build([weight])

    @tf.function(jit_compile=True, autograph=False)
    def step(gradient: tf.Tensor) -> None:
        optimizer.apply([gradient], [weight])

    step(x + 1)
    step(x * x)
    return weight


def choices() -> None:
    """The same of each activation, loss and optimizer."""
    x = tf.constant(np.random.default_rng(0).standard_cauchy((5000, 3)), tf.float32)
    gradients({name: keras.activations.get(name) for name in get_args(Activation)}, x)
    outputs = {"binary": keras.activations.sigmoid, "multiclass": reproducible.softmax}
    y = tf.cast(x[:, :1] > 0, tf.float32)

    def loss(task: str, name: str, x: tf.Tensor) -> tf.Tensor:
        x = x if task == "multiclass" else x[:, 1:2]
        return reproducible.MeanLoss(name)(y, outputs.get(task, tf.identity)(x))

    named = [(task, name) for task, names in LOSSES.items() for name in names]
    gradients({" ".join(each): partial(loss, *each) for each in named}, x)
    for name in get_args(Optimizer):
        print(name, digest([two_steps(keras.optimizers.get(name), x)]))


def table(task: str) -> pd.DataFrame:
    """The sales of shops and a number with gaps; of classes, which third or half they are in."""
    frame = make_shop_sales(5000)
    rng = np.random.default_rng(1)
    frame.insert(0, "x", np.where(rng.random(5000) < 0.1, np.nan, rng.gamma(2, size=5000).round(4)))
    if task != "regression":
        frame["sales"] = pd.qcut(frame["sales"], {"binary": 2, "multiclass": 3}[task]).cat.codes
    return frame


def main() -> None:
    choices()
    for task in sys.argv[1:] or NETWORKS:
        with TemporaryDirectory() as parent:
            folder = create_project(Path(parent, task), table(task))
            change_settings(folder, train=FEW)
            change_settings(folder, train=NETWORKS[task])
            run_stages(folder, last="evaluate" if task == "binary" else "calibrate")
            made = [file for name in MADE for file in (folder / name).rglob("*") if file.is_file()]
            for file in sorted(made):
                print(task, file.relative_to(folder), hashlib.md5(file.read_bytes()).hexdigest())
        keras.utils.clear_session()


if __name__ == "__main__":
    main()
