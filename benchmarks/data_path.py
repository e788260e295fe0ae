"""Seconds and peak memory of ingest, validate and split beside pandas, polars and NumPy.

Every contender is a process of its own, timed from its start to its end: imports are in it, as
they are in what people wait for. Contenders take turns, so that a busy machine is busy for all;
seconds and megabytes (10^6 bytes) are medians of the repeats. `loadtxt` reads the CSV and writes
nothing; pandas and polars write the whole table as one Parquet file. Exits 1 below a target.
"""

import os
import shutil
import statistics
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import yaml

PROJECT = Path(__file__).parents[1]
CONTENDERS = {
    "ingest": "-m stages.ingest ingested profile.json",
    "validate": "-m stages.validate ingested validated rejected validation.json",
    "split": "-m stages.split validated split",
    "pandas": "-c import pandas; pandas.read_csv('table.csv').to_parquet('pandas.parquet')",
    "polars": "-c import polars; polars.scan_csv('table.csv').sink_parquet('polars.parquet')",
    "loadtxt": "-c import numpy; numpy.loadtxt('table.csv', delimiter=',', skiprows=1)",
}
STAGES = ["ingest", "validate", "split"]
LOADTXT_ROWS = 1_000_000  # it takes longer than all others together
MAX_MEGABYTES = 700


class Cost(NamedTuple):
    """What one process took."""

    seconds: float
    megabytes: float


def cost(arguments: str, folder: Path, environment: dict[str, str] | None = None) -> Cost:
    """Run Python with `arguments` in `folder`, where the project can be imported."""
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
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return Cost(seconds, usage.ru_maxrss * unit / 1e6)


def measure(rows: int, repeats: int, scratch: Path) -> dict[str, Cost]:
    """The median cost of each contender on one table of `rows` rows."""
    shutil.copy(PROJECT / "params.yaml", scratch)
    schema = yaml.safe_load((PROJECT / "data/schema.yaml").read_text(encoding="utf-8"))
    schema["source"] = "table.csv"
    (scratch / "data").mkdir()
    (scratch / "data/schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False), "utf-8")
    cost(f"-m benchmarks.tables table.csv {rows}", scratch)
    names = [name for name in CONTENDERS if name != "loadtxt" or rows <= LOADTXT_ROWS]
    turns: dict[str, list[Cost]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            turns[name].append(cost(CONTENDERS[name], scratch))
    return {
        name: Cost(*map(statistics.median, zip(*costs, strict=True)))
        for name, costs in turns.items()
    }


def targets(costs: dict[str, Cost]) -> dict[str, tuple[float, float]]:
    """What has to be reached: the number found, and the most that it may be."""
    seconds = {name: found.seconds for name, found in costs.items()}
    return {
        **{f"{name}: peak MB": (costs[name].megabytes, MAX_MEGABYTES) for name in STAGES},
        "ingest: share of pandas' seconds": (seconds["ingest"] / seconds["pandas"], 0.5),
        "ingest: multiple of polars' seconds": (seconds["ingest"] / seconds["polars"], 1.4),
        "validate: share of ingest's seconds": (seconds["validate"] / seconds["ingest"], 0.6),
        "split: share of ingest's seconds": (seconds["split"] / seconds["ingest"], 0.6),
    }


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**6, 4 * 10**6, 16 * 10**6])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    short = 0
    for rows in args.rows:
        with TemporaryDirectory() as scratch:
            costs = measure(rows, args.repeats, Path(scratch))
        print(f"\n{rows:,} rows, median of {args.repeats}")
        print(f"{'':10}{'rows/s':>12}{'seconds':>10}{'peak MB':>10}{'x ingest':>10}")
        for name, found in costs.items():
            print(
                f"{name:10}{rows / found.seconds:12,.0f}{found.seconds:10.2f}"
                f"{found.megabytes:10.0f}{found.seconds / costs['ingest'].seconds:10.2f}"
            )
        if "loadtxt" not in costs:
            print(f"{'loadtxt':10}not run above {LOADTXT_ROWS:,} rows: too slow")
        for name, (value, most) in targets(costs).items():
            short += value > most
            verdict = "pass" if value <= most else "FAIL"
            print(f"{verdict}  {name:38}{value:8.2f}  at most {most:g}")
    if short:
        sys.exit(f"\n{short} targets missed")


if __name__ == "__main__":
    main()
