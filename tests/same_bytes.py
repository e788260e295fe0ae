"""Hashes of exact products and of trained models, which `make check-cpu` compares between CPUs.

The products have the shapes of the default networks; the models are those of a mixed table of 5,000
rows, of each task, and of layers of several sizes.
"""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabular.model import ensemble, exact, saved_model
from tabular.model.backend import keras, tf
from tabular.params.loading import load_params
from tabular.params.train import Train
from tabular.schema import Column, Schema
from tabular.table.arrays import feature_arrays
from tabular.table.cells import ARROW_TYPES

Task = Literal["binary", "multiclass", "regression"]
PARAMS = Path(__file__).parents[1] / "params.yaml"
ROWS = 5_000
SHAPES = [(128, 69, 128), (128, 128, 128), (256, 240, 128), (1024, 128, 128), (1024, 600, 128)]


def product_hash(rows: int, inputs: int, outputs: int) -> str:
    """Of a product, compiled, and of its two gradients."""
    rng = np.random.default_rng(rows + inputs)
    x, kernel, upstream = (
        tf.constant(rng.standard_cauchy(shape), tf.float32)
        for shape in ((rows, inputs), (inputs, outputs), (rows, outputs))
    )

    @tf.function(jit_compile=True)
    def products(x: tf.Tensor, kernel: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = exact.product("bk,kn->bn", x, kernel, rows)
        return [y, *tape.gradient(y, [x, kernel], upstream)]

    found = b"".join(part.numpy().tobytes() for part in products(x, kernel))
    return hashlib.md5(found).hexdigest()


def mixed_table(folder: Path, task: Task) -> Schema:
    """Five number columns, one with gaps, categories of 4 and of 40 values, a day and a text."""
    rng = np.random.default_rng(1)
    columns = {f"x{i}": rng.gamma(2, size=ROWS) for i in range(5)}
    many = rng.integers(0, 40, ROWS)
    y = columns["x0"] * np.sin(columns["x1"]) + many / 40 + rng.normal(size=ROWS) / 4
    classes = {"binary": 2, "multiclass": 3}.get(task, 0)
    target = np.digitize(y, np.quantile(y, np.arange(1, classes) / classes)) if classes else y
    table = pa.table(
        {
            **columns,
            "x4": pa.array(columns["x4"], mask=rng.random(ROWS) < 0.1),
            "few": [f"f{n}" for n in rng.integers(0, 4, ROWS)],
            "many": [f"m{n}" for n in many],
            "day": pa.array(1_600_000_000_000_000 + 3_600_000_000 * rng.integers(0, 20_000, ROWS)),
            "said": [f"word{n} of {m} and others" for n, m in enumerate(many)],
            "y": target,
        }
    )
    table = table.cast(table.schema.set(7, pa.field("day", ARROW_TYPES["datetime"])))
    pq.write_table(table, folder / "part-00000.parquet")
    kinds = {name: Column(kind="real") for name in columns}
    kinds |= {name: Column(kind="category") for name in ("few", "many")}
    kinds |= {"day": Column(kind="datetime"), "said": Column(kind="text")}
    kinds["y"] = (
        Column(kind="integer", values=tuple(range(classes))) if classes else Column(kind="real")
    )
    positive = 1 if task == "binary" else None
    return Schema(source="t.csv", task=task, target="y", positive=positive, columns=kinds)


def model_hash(task: Task, train: Train) -> str:
    """Of all weights of the networks trained on the mixed table, and of all predictions."""
    with TemporaryDirectory() as folder:
        schema = mixed_table(Path(folder), task)
        setup = ensemble.set_up(Path(folder), schema, train)
        members = list(ensemble.fit(setup))
        blend = ensemble.blend(setup, members)
        model = ensemble.weighted(setup, members, blend.weights)
        rows = feature_arrays(pq.read_table(folder)[:1000], schema)
    outputs = saved_model.predict(exact.with_exact_products(model), rows)
    parts = [outputs, blend.oof, *(weight for m in members for weight in m.model.get_weights())]
    return hashlib.md5(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def main() -> None:
    for shape in SHAPES:
        print("product", *shape, product_hash(*shape))
    train = load_params("train", path=PARAMS).train.changed({"folds": 2})
    choices: list[tuple[Task, dict[str, Any]]] = [
        ("binary", {}),
        ("multiclass", {"members": [{"network": "plain"}], "networks.plain.units": [200, 100]}),
        ("regression", {"members": [{"network": "realmlp"}], "networks.realmlp.batch_size": 1024}),
    ]
    for task, changes in choices:
        few = {"networks.realmlp.epochs": 1, "networks.plain.epochs": 1} | changes
        print("model", task, model_hash(task, train.changed(few)))
        keras.utils.clear_session()


if __name__ == "__main__":
    main()
