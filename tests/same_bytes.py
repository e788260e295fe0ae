"""Print hashes of operations and outputs, which `make check-cpu` compares.

The operations are all activations, losses and optimizers of params.yaml. For each task,
the stages run on a table with numbers, missing values, days, texts and categories: both
architectures are trained, with layers of several sizes and a batch of 1,024 rows. The
binary model is evaluated too, on fewer rows, which saves minutes.
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

from keras_tabular.config.sections import Activation, Optimizer
from keras_tabular.network import reproducible
from keras_tabular.network.backend import keras, tf
from keras_tabular.tasks.task import TASKS
from tests.projects import (
    ONE_CYCLE_OF_BOTH,
    change_settings,
    create_project,
    run_stages,
)
from tests.tables import make_shop_sales

ONLY_PLAIN = {"members": [{"network": "plain"}]}
NETWORKS: dict[str, dict[str, Any]] = {
    "binary": {"members": [{"network": "realmlp"}]},
    "multiclass": ONLY_PLAIN | {"networks": {"plain": {"units": [200, 100]}}},
    "regression": (
        ONLY_PLAIN | {"networks": {"plain": {"units": [600], "batch_size": 1024}}}
    ),
}
ROWS = {"binary": 600, "multiclass": 5000, "regression": 5000}
CLASSES = {"binary": 2, "multiclass": 3}
OUTPUT_FOLDERS = ("data/oof", "data/predictions", "metrics", "models")


def build_operations(y: tf.Tensor) -> dict[str, Callable[[tf.Tensor], tf.Tensor]]:
    """Return the activations, and the losses of each task for the labels `y`."""
    outputs = {"binary": keras.activations.sigmoid, "multiclass": reproducible.softmax}

    def loss(task: str, name: str, x: tf.Tensor) -> tf.Tensor:
        logits = x if task == "multiclass" else x[:, 1:2]
        y_pred = outputs.get(task, tf.identity)(logits)
        return reproducible.MeanLoss(name)(y, y_pred)

    operations = {name: keras.activations.get(name) for name in get_args(Activation)}
    for task in TASKS.values():
        for name in task.losses:
            operations[f"{task.name} {name}"] = partial(loss, task.name, name)
    return operations


def print_hashes_of_operations() -> None:
    """Print a hash of each operation, its gradient, and optimized weights."""
    x = tf.constant(np.random.default_rng(0).standard_cauchy((5000, 3)), tf.float32)
    operations = build_operations(tf.cast(x[:, :1] > 0, tf.float32))

    @tf.function(jit_compile=True, autograph=False)
    def compute_all(x: tf.Tensor) -> list[list[tf.Tensor]]:
        results = []
        for operation in operations.values():
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = operation(x)
            results.append([value, tape.gradient(value, x)])
        return results

    optimizers = {name: keras.optimizers.get(name) for name in get_args(Optimizer)}
    weights = {name: keras.Variable(x) for name in optimizers}
    for name, optimizer in optimizers.items():
        optimizer.build([weights[name]])

    @tf.function(jit_compile=True, autograph=False)
    def take_step(gradient: tf.Tensor) -> None:
        for name, optimizer in optimizers.items():
            optimizer.apply([gradient], [weights[name]])

    for name, tensors in zip(operations, compute_all(x), strict=True):
        print(name, hash_tensors(tensors))
    take_step(x + 1)
    take_step(x * x)
    for name, weight in weights.items():
        print(name, hash_tensors([weight]))


def hash_tensors(tensors: list[tf.Tensor]) -> str:
    content = b"".join(tensor.numpy().tobytes() for tensor in tensors)
    return hashlib.md5(content).hexdigest()


def draw_table(task: str) -> pd.DataFrame:
    """Draw sales, or classes of equal size, and a column with missing values."""
    rng = np.random.default_rng(1)
    rows = ROWS[task]
    frame = make_shop_sales(rows)
    is_missing = rng.random(rows) < 0.1
    x = rng.gamma(2, size=rows).round(4)
    frame.insert(0, "x", np.where(is_missing, np.nan, x))
    if task in CLASSES:
        frame["sales"] = pd.qcut(frame["sales"], CLASSES[task]).cat.codes
    return frame


def main() -> None:
    print_hashes_of_operations()
    for task in sys.argv[1:] or NETWORKS:
        with TemporaryDirectory() as parent:
            folder = create_project(Path(parent, task), draw_table(task))
            change_settings(folder, train=ONE_CYCLE_OF_BOTH)
            change_settings(folder, train=NETWORKS[task])
            run_stages(folder, last="evaluate" if task == "binary" else "calibrate")
            for name in OUTPUT_FOLDERS:
                print_hashes_of_files(task, folder, name)
        keras.utils.clear_session()


def print_hashes_of_files(task: str, folder: Path, name: str) -> None:
    for file in sorted((folder / name).rglob("*")):
        if file.is_file():
            md5 = hashlib.md5(file.read_bytes()).hexdigest()
            print(task, file.relative_to(folder), md5)


if __name__ == "__main__":
    main()
