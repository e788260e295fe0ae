"""Measure the speed-up from one worker to two, on one machine and on Ray, and draw it.

Each stage runs in a process of its own, whose time includes the imports. The stages
ingest, validate and split get a large table. The stages train and evaluate get a small
one: most of their time is compilation, which each process of Ray repeats. The default
table, which is tiny, shows what Ray costs. The contenders take turns, and seconds are
medians of the repeats. Ray is a cluster of two cores that is started before the first
command, in a network namespace of its own. There are no targets, since the speed-ups
depend on the machine.
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

from benchmarks.data_path import measure_process

PROJECT = Path(__file__).parents[1]
PORT = "6399"
IN_NAMESPACE = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
STAGES = {
    "ingest": "data/ingested profile.json",
    "validate": "data/ingested data/validated data/rejected report.json",
    "split": "data/validated data/split",
    "train": "data/split networks.keras data/oof metrics --state .training",
    "calibrate": "networks.keras data/split/train data/oof model.keras",
    "evaluate": "model.keras data metrics",
}
LARGE = ["ingest", "validate", "split"]
SMALL = ["train", "evaluate"]
BACKENDS = {"without Ray": {}, "with Ray": {"RAY_ADDRESS": f"127.0.0.1:{PORT}"}}


@contextmanager
def cluster() -> Iterator[None]:
    """Run a Ray cluster of two cores on this machine until the end of the block."""
    command = (
        f"ray start --head --block --num-cpus=2 --port={PORT}"
        " --node-ip-address=127.0.0.1"
    )
    with subprocess.Popen(
        [*command.split(), "--include-dashboard=false"],
        env=os.environ
        | {
            "PYTHONPATH": str(PROJECT),
        },  # the stages run in other folders
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as head:
        try:
            time.sleep(10)
            yield
        finally:
            head.terminate()


def create_folder(folder: Path, rows: int | None) -> Path:
    """Create a folder with a table of `rows` rows, or with the default table."""
    (folder / "data").mkdir(parents=True)
    shutil.copy(PROJECT / "params.yaml", folder)
    schema = yaml.safe_load((PROJECT / "data/schema.yaml").read_text(encoding="utf-8"))
    if rows is None:
        shutil.copy(PROJECT / schema["source"], folder / "table.csv")
    else:
        measure_process(f"-m benchmarks.tables table.csv {rows}", folder)
    schema["source"] = "table.csv"
    (folder / "data/schema.yaml").write_text(
        yaml.safe_dump(schema, sort_keys=False),
        "utf-8",
    )
    return folder


def measure_seconds(name: str, folder: Path, **environment: str) -> float:
    """Return the seconds that a stage takes."""
    return measure_process(
        f"-m stages.{name} {STAGES[name]}",
        folder,
        environment,
    ).seconds


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, help="SVG file for the speed-ups")
    parser.add_argument("--rows", type=int, nargs=2, default=[4_000_000, 3_000])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if "SCALE_IN_NAMESPACE" not in os.environ:
        command = [
            *IN_NAMESPACE,
            sys.executable,
            "-m",
            "benchmarks.scale",
            *sys.argv[1:],
        ]
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
        os.execvpe(
            command[0],
            command,
            os.environ | token | {"SCALE_IN_NAMESPACE": "1"},
        )

    seconds: dict[tuple[str, str, int], list[float]] = {}
    default_seconds: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    with TemporaryDirectory() as scratch, cluster():
        large, small, default = (
            create_folder(Path(scratch, name), rows)
            for name, rows in (
                ("large", args.rows[0]),
                ("small", args.rows[1]),
                ("tiny", None),
            )
        )
        for name in STAGES:
            measure_seconds(name, small)
        for _ in range(args.repeats):
            for name in [*LARGE, *SMALL]:
                for backend, environment in BACKENDS.items():
                    for workers in (1, 2):
                        seconds.setdefault((name, backend, workers), []).append(
                            measure_seconds(
                                name,
                                large if name in LARGE else small,
                                TABULAR_WORKERS=f"{workers}",
                                **environment,
                            ),
                        )
            for backend, environment in BACKENDS.items():
                default_seconds[backend].append(
                    sum(
                        measure_seconds(name, default, **environment) for name in STAGES
                    ),
                )
    print(f"Medians of {args.repeats}; {args.rows[0]:,} and {args.rows[1]:,} rows")
    print(f"{'':12}{'':11}{'1 worker':>10}{'2 workers':>11}{'speed-up':>10}")
    speedups = []
    for name in [*LARGE, *SMALL]:
        for backend in BACKENDS:
            one, two = (
                statistics.median(seconds[name, backend, workers]) for workers in (1, 2)
            )
            speedups.append(
                {"stage": name, "backend": backend, "speed-up": round(one / two, 2)},
            )
            print(f"{name:12}{backend:11}{one:9.2f}s{two:10.2f}s{one / two:10.2f}")
    alone, ray = (statistics.median(times) for times in default_seconds.values())
    print(f"all stages of the default table: {alone:.1f} s, and {ray:.1f} s with Ray")
    args.picture.write_text(
        vl_convert.vegalite_to_svg(json.dumps(build_chart(speedups))),
        encoding="utf-8",
    )


def build_chart(speedups: list[dict[str, object]]) -> dict[str, object]:
    """Build a Vega-Lite chart of the speed-ups."""
    stages = {"field": "stage", "sort": None, "axis": {"title": None, "labelAngle": 0}}
    backends = {"field": "backend", "sort": None, "title": None}
    color = {**backends, "legend": {"orient": "bottom"}}
    return {
        "data": {"values": speedups},
        "title": "Speed-up from one worker to two (2 cores)",
        "width": 480,
        "height": 220,
        "layer": [
            {"mark": "bar", "encoding": {"color": color}},
            {
                "mark": {"type": "text", "dy": -6},
                "encoding": {"text": {"field": "speed-up", "format": ".2f"}},
            },
        ],
        "encoding": {
            "x": stages,
            "xOffset": backends,
            "y": {
                "field": "speed-up",
                "type": "quantitative",
                "scale": {"domain": [0, 2]},
            },
        },
    }


if __name__ == "__main__":
    main()
