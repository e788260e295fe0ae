"""Speed-up from one worker to two, for each stage and for a search, here and on Ray.

Each is a process of its own, timed from its start to its end, imports included. ingest, validate
and split have a large table; train, evaluate and a search of two trials have a small one, where
compiling takes most of the time and is done again in each process of Ray. A tiny table, the default
one, shows what Ray costs. Contenders take turns; seconds are medians of the repeats. Ray runs in a
network namespace of its own, as one cluster of two cores that is there before the first command.
Writes a picture of the speed-ups. There is no target: it tells of the machine as much as of us.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import vl_convert
import yaml

from benchmarks.data_path import cost

PROJECT = Path(__file__).parents[1]
PORT = "6399"
ALONE = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
STAGES = {
    "ingest": "data/ingested profile.json",
    "validate": "data/ingested data/validated data/rejected report.json",
    "split": "data/validated data/split",
    "train": "data/split networks.keras data/oof metrics --state .training",
    "calibrate": "networks.keras data/split/train data/oof model.keras",
    "evaluate": "model.keras data metrics",
}
SEARCH = "-m keras_tabular search --trials 2 --storage trials.log"
LARGE, SMALL = ["ingest", "validate", "split"], ["train", "evaluate", "search"]
WAYS = {"here": {}, "Ray": {"RAY_ADDRESS": f"127.0.0.1:{PORT}"}}


@contextmanager
def cluster() -> Iterator[None]:
    """A Ray cluster of two cores on this machine."""
    command = f"ray start --head --block --num-cpus=2 --port={PORT} --node-ip-address=127.0.0.1"
    with subprocess.Popen(
        [*command.split(), "--include-dashboard=false"],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},  # the stages run in other folders
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as head:
        try:
            time.sleep(10)
            yield
        finally:
            head.terminate()


def prepare(folder: Path, rows: int | None) -> Path:
    """A folder where the stages can run, with a table of so many rows, or the default one."""
    (folder / "data").mkdir(parents=True)
    shutil.copy(PROJECT / "params.yaml", folder)
    schema = yaml.safe_load((PROJECT / "data/schema.yaml").read_text(encoding="utf-8"))
    if rows is None:
        shutil.copy(PROJECT / schema["source"], folder / "table.csv")
    else:
        cost(f"-m benchmarks.tables table.csv {rows}", folder)
    schema["source"] = "table.csv"
    (folder / "data/schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False), "utf-8")
    return folder


def seconds(name: str, folder: Path, **environment: str) -> float:
    """Of a stage, or of a search from nothing."""
    (folder / "trials.log").unlink(missing_ok=True)
    command = SEARCH if name == "search" else f"-m stages.{name} {STAGES[name]}"
    return cost(command, folder, environment).seconds


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, help="SVG file for the speed-ups")
    parser.add_argument("--rows", type=int, nargs=2, default=[4_000_000, 3_000])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if "SCALE_ALONE" not in os.environ:
        command = [*ALONE, sys.executable, "-m", "benchmarks.scale", *sys.argv[1:]]
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
        os.execvpe(command[0], command, os.environ | token | {"SCALE_ALONE": "1"})

    found: dict[tuple[str, str, int], list[float]] = {}
    tiny: dict[str, list[float]] = {way: [] for way in WAYS}
    with TemporaryDirectory() as scratch, cluster():
        large, small, default = (
            prepare(Path(scratch, name), rows)
            for name, rows in (("large", args.rows[0]), ("small", args.rows[1]), ("tiny", None))
        )
        for name in STAGES:
            seconds(name, small)
        for _ in range(args.repeats):
            for name in [*LARGE, *SMALL]:
                for way, environment in WAYS.items():
                    for workers in (1, 2):
                        found.setdefault((name, way, workers), []).append(
                            seconds(
                                name,
                                large if name in LARGE else small,
                                TABULAR_WORKERS=f"{workers}",
                                **environment,
                            )
                        )
            for way, environment in WAYS.items():
                tiny[way].append(sum(seconds(name, default, **environment) for name in STAGES))
    print(f"Medians of {args.repeats}; {args.rows[0]:,} and {args.rows[1]:,} rows")
    print(f"{'':12}{'':6}{'1 worker':>10}{'2 workers':>11}{'speed-up':>10}")
    ups = []
    for name in [*LARGE, *SMALL]:
        for way in WAYS:
            one, two = (statistics.median(found[name, way, workers]) for workers in (1, 2))
            ups.append({"stage": name, "where": way, "speed-up": round(one / two, 2)})
            print(f"{name:12}{way:6}{one:9.2f}s{two:10.2f}s{one / two:10.2f}")
    here, ray = (statistics.median(times) for times in tiny.values())
    print(f"all stages of the default table: {here:.1f} s here, {ray:.1f} s on Ray")
    args.picture.write_text(vl_convert.vegalite_to_svg(json.dumps(chart(ups))), encoding="utf-8")


def chart(ups: list[dict[str, object]]) -> dict[str, object]:
    """The speed-ups as a Vega-Lite chart."""
    stages = {"field": "stage", "sort": None, "axis": {"title": None, "labelAngle": 0}}
    return {
        "data": {"values": ups},
        "title": "Speed-up from one worker to two (2 cores)",
        "width": 480,
        "height": 220,
        "layer": [
            {"mark": "bar", "encoding": {"color": {"field": "where", "title": None}}},
            {
                "mark": {"type": "text", "dy": -6},
                "encoding": {"text": {"field": "speed-up", "format": ".2f"}},
            },
        ],
        "encoding": {
            "x": stages,
            "xOffset": {"field": "where"},
            "y": {"field": "speed-up", "type": "quantitative", "scale": {"domain": [0, 2]}},
        },
    }


if __name__ == "__main__":
    main()
