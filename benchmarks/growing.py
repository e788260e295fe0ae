"""Measure what `train.growing` does in a split by time, on simulated and on public tables.

A simulated table has the features of 1,500 sales in three years, a running number and the date. Its
prices have a trend, a season, both or none. For each table and each value of `train.growing`, the
output has the errors on the test rows and on later training rows (forward chaining), of the model
and of gradient boosting, and the share of the test values inside 90 % intervals. Errors are root
mean squared errors, or log losses for classes. The lines with limits say whether `auto` is worse
than `keep`, on the test rows and in forward chaining.

The table in docs/splits.md is from this script. The exit code is 1 if a limit is exceeded.

    python -m benchmarks.growing FOLDER_OF_TABLES
"""

import math
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.intervals import Measurement, print_measurements
from keras_tabular.config.params import PARAMS, load_params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Split, Train
from keras_tabular.evaluation.baselines import predict_baselines
from keras_tabular.evaluation.intervals import fit_intervals
from keras_tabular.splitting.rules import SUBSETS, by_time
from keras_tabular.table.arrays import feature_arrays, labels
from keras_tabular.table.cells import ARROW_TYPES
from keras_tabular.table.parquet import FOLD_KEY, read_parts, write_part
from keras_tabular.training.ensemble import build_model, weigh_snapshots
from keras_tabular.training.fit import fit
from keras_tabular.training.forward_chaining import predict_later_blocks
from keras_tabular.training.setup import Setup
from network import build

SPLIT = Split(by="time", test_size=0.33, validation_size=0, seed=9)
# Limits of the error with auto to that with keep. Two trainings differ by about 2 %. In forward
# chaining, a model of few earlier rows may decide wrongly.
MAX_RATIOS = {"test": 1.02, "later": 1.15}


class Table(NamedTuple):
    """A table whose column `date` or `week` is its time."""

    name: str
    frame: pd.DataFrame
    target: str
    time: str = "date"


class Result(NamedTuple):
    """Errors on the test rows and on later training rows, and the share inside intervals."""

    unread: tuple[str, ...]
    test: float
    later: float
    boosted_test: float
    boosted_later: float
    inside: float


def simulate_sales(kind: str, seed: int = 0, rows: int = 1500, years: int = 3) -> pd.DataFrame:
    """Draw sales whose prices have a yearly trend of 20, a season of ±10, `both` or `none`."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.uniform(0, 365 * years, rows))
    size = rng.gamma(4, 25, rows).round(1)
    rooms = np.clip((size / 25 + rng.normal(size=rows)).round(), 1, 9)
    district = rng.choice(list("abcde"), rows)
    level = pd.Series({"a": 0, "b": 5, "c": -5, "d": 10, "e": 0})[district].to_numpy()
    price = 100 + 0.2 * size + 3 * rooms + level + 5 * rng.normal(size=rows)
    price += 20 * day / 365 * (kind in ("trend", "both"))
    price += 10 * np.sin(2 * np.pi * day / 365.25) * (kind in ("season", "both"))
    date = pd.Timestamp("2021-01-01", tz="UTC") + pd.to_timedelta(day, unit="D").floor("s")
    return pd.DataFrame(
        {"date": date, "size": size, "rooms": rooms, "district": district}
        | {"invoice": 1000.0 + np.arange(rows), "price": price.round(2)}
    )


def load_tables(folder: Path) -> Iterator[Table]:
    """Load the public tables with times: the sales of houses and juice, and the trains' riders."""
    trains = pd.read_csv(folder / "Chicago.csv", parse_dates=["date"])[::4]
    yield Table("trains, every 4th day", trains, "ridership")
    yield Table("juice", pd.read_csv(folder / "OJ.csv"), "Purchase", "WeekofPurchase")
    houses = pd.read_csv(folder / "ames.csv", keep_default_na=False, na_values=[""])
    month = {"year": houses.pop("Year_Sold"), "month": houses.pop("Mo_Sold"), "day": 1}
    yield Table("houses", houses.assign(date=pd.to_datetime(month)), "Sale_Price")


def build_schema(table: Table) -> Schema:
    """Build a schema with the kinds of the columns of a frame."""
    columns = {}
    for name, values in table.frame.items():
        is_number = pd.api.types.is_numeric_dtype(values)
        is_date = pd.api.types.is_datetime64_any_dtype(values)
        kind = "real" if is_number else "datetime" if is_date else "category"
        columns[name] = {"kind": kind, "nullable": bool(values.isna().any())}
    content = {"source": "t.csv", "task": "regression", "target": table.target}
    if columns[table.target]["kind"] == "category":
        classes = sorted(table.frame[table.target].unique())
        columns[table.target]["values"] = classes
        content |= {"task": "binary", "positive": classes[1]}
    return Schema.model_validate(content | {"time": table.time, "columns": columns})


def write_split(table: Table, schema: Schema, folder: Path) -> None:
    """Write the rows of a table as the stage split does."""
    times = table.frame[table.time].to_numpy()
    subset, keys = by_time(times, SPLIT)
    types = pa.schema([(name, ARROW_TYPES[c.kind]) for name, c in schema.columns.items()])
    for number, name in enumerate(SUBSETS):
        rows = np.random.RandomState(SPLIT.seed).permutation(np.flatnonzero(subset == number))
        frame = table.frame.iloc[rows]
        columns = [pa.array(frame[c], from_pandas=True).cast(types.field(c).type) for c in frame]
        part = pa.table(columns, names=[*frame]).select(types.names)
        write_part(folder / name, 0, part.append_column(FOLD_KEY, pa.array(keys[rows])))


def measure(table: Table, train: Train) -> Result:
    """Train and score the model and gradient boosting on a table."""
    schema = build_schema(table)
    task = schema.learning_task

    def error(y: np.ndarray, y_pred: np.ndarray) -> float:
        loss = float(task.row_losses(y, y_pred).mean())
        return loss if task.classes else math.sqrt(loss)

    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_split(table, schema, folder)
        rows = {name: pa.concat_tables(read_parts(folder / name)) for name in ("train", "test")}
        y, y_test = (labels(rows[name], schema)[:, 0] for name in ("train", "test"))
        setup = Setup([folder / "train"], schema, train, build)
        snapshots = list(fit(setup))
        weighted = weigh_snapshots(setup, snapshots)
        model = build_model(setup, snapshots, weighted)
        y_pred, inside = model.predict(feature_arrays(rows["test"], schema)), math.nan
        if not task.classes:
            oof = weighted.oof[:, 0]
            intervals = fit_intervals(y[weighted.rows] - oof, oof, weighted.fold, 0.9)
            low, high = intervals.ends(y_pred[:, 0]).T
            inside = float(np.mean((low <= y_test) & (y_test <= high)))
        later = predict_later_blocks(folder / "train", schema, train, build, folder)
        as_read, folds = schema.without(setup.unread.names), {"forward_chaining": later.fold}
        baselines = predict_baselines(folder, folds, as_read, setup.train.loss)
        boosted = baselines[task.baselines["boosted"]]
        return Result(
            tuple(name.replace("\x1f", ": ") for name in setup.unread.names),
            error(y_test, y_pred),
            error(y[later.rows], later.y_pred),
            error(y_test, boosted["test"]),
            error(y[later.rows], boosted["forward_chaining"]),
            inside,
        )


def measure_growing(tables: Iterator[Table], drop: bool) -> Iterator[Measurement]:
    """Compare `train.growing: auto` with `keep`, which is how earlier versions trained.

    Args:
        drop: Whether to print the result of `drop`, too.
    """
    for table in tables:
        schema = build_schema(table)
        train = load_params("train", schema=schema, path=PARAMS).train
        train = train.model_copy(update={"forward_chaining": 3})
        results = {}
        for growing in ("keep", "auto", *["drop"] * drop):
            result = results[growing] = measure(table, train.with_values({"growing": growing}))
            numbers = " ".join(f"{value:8.3f}" for value in result[1:])
            print(f"{table.name:24}{growing:6}{numbers}  {', '.join(result.unread)}", flush=True)
        for key, limit in MAX_RATIOS.items():
            auto, keep = (getattr(results[name], key) for name in ("auto", "keep"))
            name = f"{table.name}, {key} rows: error with auto / keep"
            yield Measurement(name, auto / keep, limit, is_minimum=False)


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="folder of the public tables")
    parser.add_argument("--kinds", nargs="*", default=["trend", "season", "both", "none"])
    parser.add_argument("--drop", action="store_true", help="measure train.growing: drop, too")
    args = parser.parse_args()
    tables = [Table(kind, simulate_sales(kind), "price") for kind in args.kinds]
    tables += load_tables(args.folder) if args.folder else []
    print(f"{'':30}    test    later  boosted  boosted   inside\n{'':53}test    later")
    print_measurements(measure_growing(iter(tables), args.drop))


if __name__ == "__main__":
    main()
