"""Seconds of a whole `dvc repro` beside the tutorial's one script, and of one with nothing to do.

Each is a process of its own in a fresh clone of the last commit, timed from its start to its end,
imports included. A whole run starts from an empty cache, with the tutorial's parameters, which make
it the same job, and with the defaults. Contenders take turns, so that a busy machine is busy for
all; seconds are medians of the repeats. Exits 1 below a target.
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
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
}
SCRIPT = "tutorial's script"
TUTORIAL = "dvc repro, tutorial's parameters"
DEFAULTS = "dvc repro, defaults"
NOTHING = "dvc repro, nothing to do"
STATUS = "dvc status"


def seconds(folder: Path, *command: str) -> float:
    """Run a command in `folder` and wait for it."""
    start = perf_counter()
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    taken = perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return taken


def clone(folder: Path, train: dict[str, object]) -> Path:
    """A fresh clone with other `train` parameters; its cache is empty."""
    shutil.rmtree(folder, ignore_errors=True)
    seconds(PROJECT, "git", "clone", "--quiet", str(PROJECT), str(folder))
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params["train"] |= train
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return folder


def turn(scratch: Path) -> dict[str, float]:
    """The seconds of each contender, one after the other."""
    old = clone(scratch / "tutorial", tutorial.PARAMS)
    new = clone(scratch / "defaults", {})
    script = (sys.executable, "-m", "benchmarks.tutorial", "data/raw/diabetes.csv")
    return {
        SCRIPT: seconds(old, *script),
        TUTORIAL: seconds(old, "dvc", "repro"),
        DEFAULTS: seconds(new, "dvc", "repro"),
        NOTHING: seconds(new, "dvc", "repro"),
        STATUS: seconds(new, "dvc", "status"),
    }


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    with TemporaryDirectory() as scratch:
        turns = [turn(Path(scratch)) for _ in range(args.repeats)]
    found = {name: statistics.median(one[name] for one in turns) for name in turns[0]}
    print(f"Medians of {args.repeats}")
    print(f"{'':34}{'seconds':>10}{'x script':>10}")
    for name, taken in found.items():
        print(f"{name:34}{taken:10.2f}{taken / found[SCRIPT]:10.3f}")
    targets = {
        "whole run: share of the script's seconds": (found[TUTORIAL] / found[SCRIPT], 0.3),
        "nothing to do: seconds above dvc status": (found[NOTHING] - found[STATUS], 0.5),
    }
    short = 0
    for name, (value, most) in targets.items():
        short += value > most
        print(f"{'pass' if value <= most else 'FAIL'}  {name:42}{value:8.2f}  at most {most:g}")
    if short:
        sys.exit(f"\n{short} targets missed")


if __name__ == "__main__":
    main()
