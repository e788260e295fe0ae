"""Compare the time and memory of ingest, validate and split with pandas and polars.

Each contender runs in a process of its own. Its time includes the imports, since people
wait for them too. The contenders take turns, so that a busy moment of the machine
affects all of them. Seconds and megabytes (10^6 bytes) are medians of the repeats.
Pandas and polars write the whole table as one Parquet file. The exit code is 1 if a
target is missed.
"""

import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import numpy as np
import yaml

PROJECT = Path(__file__).parents[1]
CONTENDERS = {
    "ingest": "-m stages.ingest ingested profile.json",
    "validate": "-m stages.validate ingested validated rejected validation.json",
    "split": "-m stages.split validated split",
    "pandas": (
        "-c import pandas; pandas.read_csv('table.csv').to_parquet('pandas.parquet')"
    ),
    "polars": (
        "-c import polars; polars.scan_csv('table.csv').sink_parquet('polars.parquet')"
    ),
}
STAGES = ["ingest", "validate", "split"]
MAX_MEGABYTES = 700


class Cost(NamedTuple):
    """Time and peak memory of a process."""

    seconds: float
    megabytes: float


def measure_process(
    arguments: str,
    folder: Path,
    environment: dict[str, str] | None = None,
) -> Cost:
    """Run Python with some arguments in a folder; the project can be imported there."""
    option, rest = arguments.split(" ", 1)
    command = [sys.executable, option, *([rest] if option == "-c" else rest.split())]
    start = perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT)} | (environment or {}),
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    bytes_per_unit = 1 if sys.platform == "darwin" else 1024
    return Cost(seconds, usage.ru_maxrss * bytes_per_unit / 1e6)


def measure_contenders(rows: int, repeats: int, scratch: Path) -> dict[str, Cost]:
    """Measure each contender on one table, and return its median cost."""
    shutil.copy(PROJECT / "params.yaml", scratch)
    schema = yaml.safe_load((PROJECT / "data/schema.yaml").read_text())
    schema["source"] = "table.csv"
    (scratch / "data").mkdir()
    (scratch / "data/schema.yaml").write_text(
        yaml.safe_dump(schema, sort_keys=False),
        "utf-8",
    )
    measure_process(f"-m benchmarks.tables table.csv {rows}", scratch)
    repeated: dict[str, list[Cost]] = {name: [] for name in CONTENDERS}
    for _ in range(repeats):
        for name, arguments in CONTENDERS.items():
            repeated[name].append(measure_process(arguments, scratch))
    medians = {}
    for name, costs in repeated.items():
        seconds, megabytes = np.median(costs, axis=0)
        medians[name] = Cost(seconds, megabytes)
    return medians


def compare_with_targets(costs: dict[str, Cost]) -> dict[str, tuple[float, float]]:
    """Return the measured value and its limit for each target."""
    seconds = {name: cost.seconds for name, cost in costs.items()}
    ingest = seconds["ingest"]
    targets = {}
    for name in STAGES:
        targets[f"{name}: peak MB"] = (costs[name].megabytes, MAX_MEGABYTES)
    return targets | {
        "ingest: share of pandas' seconds": (ingest / seconds["pandas"], 0.5),
        "ingest: multiple of polars' seconds": (ingest / seconds["polars"], 1.4),
        "validate: share of ingest's seconds": (seconds["validate"] / ingest, 0.6),
        "split: share of ingest's seconds": (seconds["split"] / ingest, 0.6),
    }


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    with TemporaryDirectory() as scratch:
        costs = measure_contenders(args.rows, args.repeats, Path(scratch))
    print(f"{args.rows:,} rows, median of {args.repeats}")
    print(f"{'':10}{'rows/s':>12}{'seconds':>10}{'peak MB':>10}{'x ingest':>10}")
    for name, cost in costs.items():
        print(
            f"{name:10}{args.rows / cost.seconds:12,.0f}{cost.seconds:10.2f}"
            f"{cost.megabytes:10.0f}{cost.seconds / costs['ingest'].seconds:10.2f}",
        )
    missed = 0
    for name, (value, limit) in compare_with_targets(costs).items():
        missed += value > limit
        verdict = "pass" if value <= limit else "FAIL"
        print(f"{verdict}  {name:38}{value:8.2f}  at most {limit:g}")
    if missed:
        sys.exit(f"\n{missed} targets missed")


if __name__ == "__main__":
    main()
