"""Compare the time of training with that of Keras's `fit` and of scikit-learn.

The comparison takes about ten minutes, and less with `--repeats 1`. Each contender runs in its own
process; the time includes compilation but not imports. The exit code is 1 if a target is missed.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import Column, Schema, load_schema
from keras_tabular.config.sections import Train

PROJECT = Path(__file__).parents[1]
TABLE = PROJECT / "data/raw/diabetes.csv"
ROWS, COLUMNS, PART_ROWS, LARGE_BATCH = 10_000_000, 8, 500_000, 4096
UNITS = (8, 6)  # as in the tutorial, for both jobs


def load_small_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return raw x and y of 514 training rows and of 254 validation rows, as float32."""
    rows = np.loadtxt(TABLE, delimiter=",", skiprows=1, dtype=np.float32)
    order = np.random.default_rng(9).permutation(len(rows))
    train, validation = rows[order[:514]], rows[order[514:]]
    return train[:, :8], train[:, 8:], validation[:, :8], validation[:, 8:]


def write_large(folder: Path) -> None:
    """Write Parquet files with standard normal columns and a class that depends on them."""
    rng = np.random.default_rng(0)
    for number in range(ROWS // PART_ROWS):
        x = rng.normal(size=(PART_ROWS, COLUMNS))
        y = (x.sum(axis=1) + rng.normal(size=PART_ROWS) > 0).astype(np.int64)
        columns = {f"x{i}": column for i, column in enumerate(x.T)} | {"y": y}
        pq.write_table(pa.table(columns), folder / f"part-{number:05d}.parquet")


def read_large_arrays(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield x and y of each file as float32."""
    for path in sorted(folder.glob("*.parquet")):
        part = pq.read_table(path)
        columns = [part[f"x{i}"].to_numpy() for i in range(COLUMNS)]
        y = part["y"].to_numpy().astype(np.float32)[:, None]
        yield np.column_stack(columns).astype(np.float32), y


def build_keras_model(units: tuple[int, ...], **compile_options: Any) -> Any:
    import keras

    stack = [keras.layers.Dense(n, "relu", kernel_initializer="random_uniform") for n in units]
    output = keras.layers.Dense(1, "sigmoid", kernel_initializer="random_uniform")
    model = keras.Sequential([keras.Input((8,)), *stack, output])
    options = {"optimizer": "adam", "loss": "binary_crossentropy", "metrics": ["accuracy"]}
    model.compile(**options, **compile_options)
    return model


def load_our_params(schema: Schema) -> Train:
    return load_params("train", schema=schema, path=PROJECT / "params.yaml").train


def fit_ours(train: Any, validation: Any, batch_size: int, epochs: int) -> None:
    """Train a new network with `UNITS`, and score the validation rows after each epoch."""
    from keras_tabular.network.features import ColumnSample
    from keras_tabular.training.architecture import Architecture
    from keras_tabular.training.trainer import Trainer
    from network import build

    schema = load_schema(PROJECT / "data/schema.yaml")
    changes = {
        "units": UNITS,
        "activation": "relu",
        "kernel_initializer": "random_uniform",
        "l2": 0.0,
        "learning_rate": 0.001,
        "batch_size": batch_size,
    }
    params = load_our_params(schema).with_values(
        {f"networks.plain.{k}": v for k, v in changes.items()}
    )
    params = params.with_values({"members": [{"network": "plain"}]})
    resolved = params.resolve_auto(ROWS, schema.learning_task, COLUMNS)
    columns = ColumnSample(np.zeros((1, COLUMNS)), COLUMNS, ROWS, {})
    architecture = Architecture("plain", resolved, schema, build, columns)
    compiled = architecture.build_compiled(seed=1)
    trainer = Trainer(compiled, batch_size)
    for epoch in range(epochs):
        trainer.train(compiled, train, [1, epoch])
        if validation:
            y, y_pred = np.asarray(validation[0].y)[:, 0], trainer.predict(compiled, validation)
            schema.learning_task.row_losses(y, y_pred).mean()
            schema.learning_task.row_scores(y, y_pred, threshold=0.5).mean()


def small_ours() -> Callable[[], Any]:
    from keras_tabular.network.backend import tf
    from keras_tabular.training.dataset import Rows

    x, y, x_validation, y_validation = load_small_rows()

    def work() -> None:
        train, validation = (
            Rows(tf.constant(x), tf.constant(y), tf.ones(len(x)), np.arange(len(x), dtype=np.int32))
            for x, y in ((x, y), (x_validation, y_validation))
        )
        fit_ours([train], [validation], batch_size=5, epochs=200)

    from keras_tabular.network import backend  # noqa: F401  imports are excluded

    return work


def small_fit(**compile_options: Any) -> Callable[[], Any]:
    import keras  # noqa: F401

    x, y, x_validation, y_validation = load_small_rows()

    def work() -> None:
        build_keras_model(UNITS, **compile_options).fit(
            x, y, validation_data=(x_validation, y_validation), epochs=200, batch_size=5, verbose=0
        )

    return work


def small_scikit_learn() -> Callable[[], Any]:
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    x, y, x_validation, y_validation = load_small_rows()

    def work() -> None:
        model = MLPClassifier(UNITS, batch_size=5, alpha=0.0, random_state=1)
        for _ in range(200):
            model.partial_fit(x, y[:, 0], classes=[0, 1])
            probability = model.predict_proba(x_validation)
            log_loss(y_validation[:, 0], probability)
            np.mean((probability[:, 1] > 0.5) == y_validation[:, 0])

    return work


def large_ours(folder: Path) -> Callable[[], Any]:
    from keras_tabular.network import backend  # noqa: F401  imports are excluded
    from keras_tabular.network.layers import build_preprocessing
    from keras_tabular.network.statistics import Scaling, Statistics
    from keras_tabular.training.dataset import Preprocessor, TableDataset, read_labels

    columns = {f"x{i}": Column(kind="real") for i in range(COLUMNS)}
    columns["y"] = Column(kind="integer", values=(0, 1))
    schema = Schema(source="t.csv", task="binary", target="y", positive=1, columns=columns)
    no_scaling = Scaling(fill=0.0, shift=0.0, scale=1.0)
    statistics = Statistics(
        scalings=dict.fromkeys(schema.features, no_scaling),
        columns_with_missing=set(),
        target=no_scaling,
        target_range=(0.0, 1.0),
    )

    def work() -> None:
        layers = build_preprocessing(statistics, schema, load_our_params(schema))
        preprocessor = Preprocessor(schema, statistics, layers, {}, 0, np.empty(0))
        dataset = TableDataset(folder, preprocessor, read_labels(folder, schema))
        fit_ours(dataset, [], LARGE_BATCH, epochs=1)

    return work


def large_fit_files(folder: Path, *, row_by_row: bool) -> Callable[[], Any]:
    """Read files with tf.data, which shuffles single rows, or NumPy shuffles within each file."""
    import tensorflow as tf

    rng = np.random.default_rng(1)

    def shuffled() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for x, y in read_large_arrays(folder):
            order = rng.permutation(len(x))
            yield x[order], y[order]

    def work() -> None:
        signature = (tf.TensorSpec((None, COLUMNS)), tf.TensorSpec((None, 1)))
        parts = tf.data.Dataset.from_generator(
            (lambda: read_large_arrays(folder)) if row_by_row else shuffled,
            output_signature=signature,
        )
        if row_by_row:
            rows = parts.unbatch().shuffle(100_000, seed=1).batch(LARGE_BATCH)
        else:
            rows = parts.rebatch(LARGE_BATCH)
        build_keras_model(UNITS).fit(rows.prefetch(2), epochs=1, verbose=0)

    return work


def large_fit_arrays(folder: Path) -> Callable[[], Any]:
    import keras  # noqa: F401

    x, y = (np.concatenate(arrays) for arrays in zip(*read_large_arrays(folder), strict=True))

    def work() -> None:
        build_keras_model(UNITS).fit(x, y, epochs=1, batch_size=LARGE_BATCH, verbose=0)

    return work


SMALL = {
    "ours": small_ours,
    "fit": small_fit,
    "fit, steps_per_execution": lambda: small_fit(steps_per_execution=103),
    "scikit-learn": small_scikit_learn,
}
LARGE: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "ours, large": large_ours,
    "fit on tf.data from files": partial(large_fit_files, row_by_row=True),
    "fit on tf.data and NumPy": partial(large_fit_files, row_by_row=False),
    "fit on arrays": large_fit_arrays,
}


def measure(contender: str, folder: str) -> dict[str, float]:
    """Return the seconds and peak memory (GB) of a contender in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", "--contender", contender, folder]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    completed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return json.loads(completed.stdout.splitlines()[-1])


def run_contender(contender: str, folder: Path) -> None:
    work = SMALL[contender]() if contender in SMALL else LARGE[contender](folder)
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak": peak}))


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--contender", help="run only this contender, in this process")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--job", choices=["small", "large", "both"], default="both")
    parser.add_argument("folder", nargs="?", help="the folder of the large table")
    args = parser.parse_args()
    if args.contender:
        run_contender(args.contender, Path(args.folder))
        return
    with TemporaryDirectory() as folder:
        contenders: list[str] = []
        if args.job != "large":
            contenders += SMALL
        if args.job != "small":
            contenders += LARGE
            write_large(Path(folder))
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
        for _ in range(args.repeats):  # in turn, so that a busy minute affects all contenders
            for name in contenders:
                runs[name].append(measure(name, folder))
    seconds = {n: statistics.median(run["seconds"] for run in runs[n]) for n in contenders}
    for name in contenders:
        print(f"{name:<28}{seconds[name]:>9.2f} s   peak {runs[name][0]['peak']:.2f} GB")
    checks: list[tuple[str, float, str, float]] = []
    if args.job != "large":
        checks += [
            ("time of fit / ours", seconds["fit"] / seconds["ours"], "at least", 50),
            (
                "time of scikit-learn / ours",
                seconds["scikit-learn"] / seconds["ours"],
                "at least",
                3,
            ),
        ]
    if args.job != "small":
        ours = seconds["ours, large"]
        peak = max(run["peak"] for run in runs["ours, large"])
        checks += [
            (
                "rows/s, ours / fit from files",
                seconds["fit on tf.data from files"] / ours,
                "at least",
                10,
            ),
            (
                "rows/s, ours / NumPy shuffles",
                seconds["fit on tf.data and NumPy"] / ours,
                "at least",
                10,
            ),
            ("rows/s, ours / fit on arrays", seconds["fit on arrays"] / ours, "at least", 3),
            ("peak memory of ours, GB", peak, "below", 1.5),
        ]
    missed = 0
    print()
    for name, value, word, target in checks:
        reached = value >= target if word == "at least" else value < target
        missed += not reached
        print(f"{name:<32}{value:>8.2f}   {word} {target}   {'reached' if reached else 'MISSED'}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
