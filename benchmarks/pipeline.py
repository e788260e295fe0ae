"""Compare the time of `dvc repro` with that of the tutorial's script.

A whole run starts with an empty cache. It is measured with the parameters of the
tutorial, which make it the same training, and with the defaults; a second run has
nothing to do. Each command runs in a fresh clone of the last commit, and its time
includes the imports. The contenders take turns, so that a busy moment of the machine
affects all of them. Seconds are medians of the repeats. The exit code is 1 if a target
is missed.
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

import yaml

from benchmarks import tutorial

PROJECT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}
SCRIPT = "tutorial's script"
TUTORIAL = "dvc repro, tutorial's parameters"
DEFAULTS = "dvc repro, defaults"
NOTHING = "dvc repro, nothing to do"
STATUS = "dvc status"


def measure_seconds(folder: Path, *command: str) -> float:
    """Run a command in a folder, and return how long it took."""
    start = perf_counter()
    completed = subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    seconds = perf_counter() - start
    if completed.returncode:
        output = f"{completed.stdout}{completed.stderr}"
        sys.exit(f"{' '.join(command)}: exit code {completed.returncode}\n{output}")
    return seconds


def clone(folder: Path, train: dict[str, object]) -> Path:
    """Make a fresh clone with an empty cache, and change its section `train`.

    Without imputation, no value means missing.
    """
    shutil.rmtree(folder, ignore_errors=True)
    measure_seconds(PROJECT, "git", "clone", "--quiet", str(PROJECT), str(folder))
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params["train"] |= train
    schema = yaml.safe_load((folder / "data/schema.yaml").read_text(encoding="utf-8"))
    if params["train"]["imputation"] == "none":
        schema["columns"] = {
            k: {"kind": v["kind"]} for k, v in schema["columns"].items()
        }
        schema["columns"][schema["target"]]["values"] = [0, 1]
    for path, content in {"params.yaml": params, "data/schema.yaml": schema}.items():
        (folder / path).write_text(
            yaml.safe_dump(content, sort_keys=False),
            encoding="utf-8",
        )
    return folder


def measure_contenders(scratch: Path) -> dict[str, float]:
    """Measure the seconds of each contender, one after the other."""
    with_tutorial = clone(scratch / "tutorial", tutorial.PARAMS)
    with_defaults = clone(scratch / "defaults", {})
    script = (sys.executable, "-m", "benchmarks.tutorial", "data/raw/diabetes.csv")
    return {
        SCRIPT: measure_seconds(with_tutorial, *script),
        TUTORIAL: measure_seconds(with_tutorial, "dvc", "repro"),
        DEFAULTS: measure_seconds(with_defaults, "dvc", "repro"),
        NOTHING: measure_seconds(with_defaults, "dvc", "repro"),
        STATUS: measure_seconds(with_defaults, "dvc", "status"),
    }


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    with TemporaryDirectory() as scratch:
        repeated = [measure_contenders(Path(scratch)) for _ in range(args.repeats)]
    seconds = {
        name: statistics.median(each[name] for each in repeated) for name in repeated[0]
    }
    print(f"Medians of {args.repeats}")
    print(f"{'':34}{'seconds':>10}{'x script':>10}")
    for name, median in seconds.items():
        print(f"{name:34}{median:10.2f}{median / seconds[SCRIPT]:10.3f}")
    targets = {
        "whole run: share of the script's seconds": (
            seconds[TUTORIAL] / seconds[SCRIPT],
            0.3,
        ),
        "nothing to do: seconds above dvc status": (
            seconds[NOTHING] - seconds[STATUS],
            0.5,
        ),
    }
    missed = 0
    for name, (value, limit) in targets.items():
        missed += value > limit
        print(
            f"{'pass' if value <= limit else 'FAIL'}  {name:42}{value:8.2f}  at most"
            f" {limit:g}",
        )
    if missed:
        sys.exit(f"\n{missed} targets missed")


if __name__ == "__main__":
    main()
