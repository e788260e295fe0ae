"""How tests run commands, in copies of the project, and the tables that they share."""

import importlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import Schema, load_schema
from keras_tabular.config.sections import Train, Validate
from keras_tabular.core import process
from keras_tabular.core.metrics import ROW_SETS
from keras_tabular.evaluation.evaluation import Evaluation, Scores
from keras_tabular.evaluation.scores_json import from_json
from keras_tabular.model_file.metadata import REPRODUCIBLE_MACHINES
from keras_tabular.table.cells import ARROW_TYPES
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.parquet import FILE_SUBSET
from keras_tabular.table.rows import CheckedRows, check_rows, parse_valid_rows
from keras_tabular.table.source import column_names, read_rows

PROJECT = Path(__file__).parents[1]
# The environment that runs the tests is the one that the commands find.
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@localhost",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@localhost",
}

needs_committed_bytes = pytest.mark.skipif(
    platform.machine() not in REPRODUCIBLE_MACHINES,
    reason="the numbers in git are those of x86-64 and ARM64 under Linux",
)

Run = subprocess.CompletedProcess[str]
Found = TypeVar("Found")


def run(folder: Path, *command: str, **environment: str) -> Run:
    """Run a command in `folder`; its output comes back whatever its exit code.

    Through files, since what the command leaves in the background would hold a pipe open.
    """
    settings: dict[str, Any] = {"cwd": folder, "env": ENVIRONMENT | environment, "timeout": 300}
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        done = subprocess.run(command, stdout=out, stderr=err, check=False, **settings)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


def must(folder: Path, *command: str, **environment: str) -> str:
    """Run a command that has to succeed; its stdout comes back."""
    done = run(folder, *command, **environment)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def call(folder: Path, script: str, *arguments: str) -> None:
    """Run a stage or a command in this process, where TensorFlow has to start but once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [script, *arguments])
        process.run(importlib.import_module(script).main)


def begin(folder: Path, *command: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command that a test will stop: Ctrl-C ends it wherever the tests were started.

    A shell lets what it starts in the background ignore SIGINT, and children inherit that.
    """
    inherited = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=ENVIRONMENT | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, inherited)


def wait_until(
    see: Callable[[], Found],
    accept: Callable[[Found], bool] = bool,
    seconds: float = 120,
    pause: float = 0.02,
) -> Found:
    """Look until what is seen is accepted; fail after so many seconds with what was seen last."""
    deadline = time.monotonic() + seconds
    while not accept(found := see()):
        assert time.monotonic() < deadline, f"after {seconds} s: {found!r}"
        time.sleep(pause)
    return found


def wait_for_queue(folder: Path) -> None:
    """Wait until each queued experiment has succeeded or failed."""

    def has_ended(status: str) -> bool:
        return not re.search("Queued|Running", status)

    wait_until(lambda: must(folder, "dvc", "queue", "status"), has_ended, 240, pause=0.5)


def end_queue(folder: Path) -> None:
    """End the workers that `dvc queue start` left in the background."""
    for file in (folder / ".dvc/tmp/exps/celery").glob("dvc-exp-worker-*.json"):
        worker = json.loads(file.read_text())
        if worker["returncode"] is None:  # a group of its own: the worker and what it runs
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(worker["pid"]), signal.SIGKILL)


def stages_that_ran(output: str) -> list[str]:
    """The stages that `dvc repro` or `dvc exp run` says it has run."""
    return re.findall(r"^Running stage '(\w+)'", output, re.MULTILINE)


def read_scores(folder: Path) -> dict[str, Any]:
    """All scores of the run in a folder."""
    scores: dict[str, Any] = json.loads((folder / "metrics/scores.json").read_text())
    return scores


def evaluation_of(**content: Any) -> Evaluation:
    """Build an evaluation from parts of `metrics/scores.json`, by default of 254 rows each."""

    def with_rows(scores: dict[str, Any]) -> dict[str, Any]:
        nested = {key: with_rows(scores[key]) for key in ROW_SETS if key in scores}
        return {"rows": 254} | scores | nested

    content = {"primary_metrics": ["accuracy"], "test": {}} | content
    baselines = content.get("baseline", {}).items()
    content["baseline"] = {name: with_rows(scores) for name, scores in baselines}
    content |= {key: with_rows(content[key]) for key in ROW_SETS if key in content}
    evaluation = from_json(content)
    assert evaluation
    return evaluation


def values_of(scores: Scores) -> dict[str, float]:
    """The defined scores without their intervals."""
    return {key: estimate.value for key, estimate in scores.items()}


def schema_of(task: str, **columns: dict[str, Any]) -> Schema:
    """A table of one real column `x`, or of `columns`, and a target `y` of the task."""
    targets: dict[str, dict[str, Any]] = {
        "binary": {"kind": "integer", "values": [0, 1]},
        "multiclass": {"kind": "category", "values": ["a", "b", "c"]},
        "regression": {"kind": "real"},
    }
    schema: dict[str, Any] = {
        "source": "t.csv",
        "task": task,
        "target": "y",
        "positive": 1 if task == "binary" else None,
        "columns": (columns or {"x": {"kind": "real"}}) | {"y": targets[task]},
    }
    return Schema.model_validate(schema)


def train_params(networks: dict[str, dict[str, Any]] | None = None, **changes: Any) -> Train:
    """The section `train` of the project, other values for some keys.

    Args:
        networks: the members, one of each for a fold, and other values for some of their keys.
    """
    path, schema = PROJECT / "params.yaml", load_schema(PROJECT / "data/schema.yaml")
    if networks is not None:
        changes = {"members": [{"network": name} for name in networks]} | changes
        for name, keys in networks.items():
            changes |= {f"networks.{name}.{key}": value for key, value in keys.items()}
    return load_params("train", schema=schema, path=path).train.changed(changes)


def mixed_table(task: str) -> pd.DataFrame:
    """600 rows of all kinds with gaps; the target hangs on a number and a colour."""
    rng = np.random.default_rng(0)
    rows = 600
    frame = pd.DataFrame(
        {
            "id": np.arange(rows),
            "cast": rng.normal(size=rows).round(3),  # the name of a Keras operation
            "colour": rng.choice(["red", "green", "blue, dark"], rows),
            "zip/code": rng.choice(["00123", "00456"], rows),
            "flag": rng.random(rows) > 0.5,
            "count": rng.integers(0, 100, rows).astype(str),
        }
    )
    signal = frame["cast"] + (frame["colour"] == "red") + rng.normal(size=rows) / 2
    if task == "regression":
        frame["y"] = (1e6 + 1e4 * signal).round(1)
    else:
        frame["y"] = np.where(signal > 0.3, "pos", "neg")
    for column, gap in {"cast": np.nan, "colour": None, "count": "?"}.items():
        frame.loc[rng.random(rows) < 0.1, column] = gap
    return frame


GOOD, BAD = ["lovely", "great taste"], ["stale", "bad smell"]


def shops(rows: int = 1200) -> pd.DataFrame:
    """The sales of days: they hang on the weekday, the words of a text, and the shop."""
    rng = np.random.default_rng(0)
    day = pd.Timestamp("2019-03-01") + pd.to_timedelta(rng.integers(0, 1500, rows), unit="D")
    good = rng.random(rows) > 0.5
    noise = [f"word{number}" for number in range(200)]
    words = [
        f"{' '.join(rng.choice(noise, 3))} {rng.choice(GOOD if g else BAD)} {rng.choice(noise)}"
        for g in good
    ]
    shop = rng.integers(0, 60, rows)
    level = rng.normal(size=60)[shop] + 2.0 * (day.day_of_week >= 5) + 2.0 * good
    return pd.DataFrame(
        {
            "day": day.strftime("%d.%m.%Y"),
            "review": words,
            "shop_id": shop + 1000,
            "sales": (10 + level + rng.normal(size=rows) / 3).round(2),
        }
    )


def table_of(name: str) -> pd.DataFrame:
    """Return a table by its name: one of those above, or one that scikit-learn ships."""
    tasks = {"words": "binary", "values": "regression"}
    if name in tasks:
        return mixed_table(tasks[name])
    if name == "shops":
        return shops()
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")(as_frame=True).frame


# A training of a second: two members of one kind.
FEW_EPOCHS = {"epochs": 3, "learning_rate": 0.002, "learning_rate_schedule": "constant"}
SHORT = {"members": [{"network": "plain"}], "folds": 2, "networks": {"plain": FEW_EPOCHS}}
# One cycle of as many folds as by default; and one of both architectures in few folds.
ONE_CYCLE = {"members": [{"network": "plain"}], "networks": {"plain": {"epochs": 1}}}
ONE_CYCLE_OF_BOTH = {"folds": 2, "networks": {"realmlp": {"epochs": 1}, "plain": {"epochs": 1}}}
# One of seconds, which learns what there is.
LEARNING = SHORT | {"folds": 3, "networks": {"plain": FEW_EPOCHS | {"epochs": 60, "l2": 0.001}}}

# The command and the outputs of each stage, as dvc.yaml has them.
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
COMMANDS: dict[str, list[str]] = {name: stage["cmd"].split() for name, stage in STAGES.items()}
OUTS: dict[str, list[str]] = {
    name: [out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]]
    for name, stage in STAGES.items()
}


def lay_out(folder: Path, csv: str) -> None:
    """Make a folder with the code, the parameters and a table."""
    (folder / "data/raw").mkdir(parents=True)
    (folder / "data/raw/t.csv").write_bytes(csv.encode())
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(PROJECT / name, folder)
    for name in ("network.py", "stages", "keras_tabular"):
        (folder / name).symlink_to(PROJECT / name)


def project_of(folder: Path, frame: pd.DataFrame) -> Path:
    """A folder with the code, the parameters and a table, described by `infer_schema`."""
    lay_out(folder, frame.to_csv(index=False))
    call(folder, "keras_tabular.cli.infer_schema", "data/raw/t.csv", "--target", frame.columns[-1])
    return folder


def change(folder: Path, schema: dict[str, Any] | None = None, **sections: dict[str, Any]) -> None:
    """Write other values into sections of params.yaml, and into the schema."""
    for path, changes in (("params.yaml", sections), ("data/schema.yaml", schema)):
        if changes:
            found = yaml.safe_load((folder / path).read_text())
            if "space" in changes.get("search", {}):
                del found["search"]["space"]  # another one takes its place
            found = merged(found, changes)
            (folder / path).write_text(yaml.safe_dump(found, sort_keys=False))


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings; a leaf of both is the second's."""
    result = dict(first)
    for key, value in second.items():
        both = isinstance(value, dict) and isinstance(first.get(key), dict)
        result[key] = merged(first[key], value) if both else value
    return result


def run_stages(folder: Path, first: str = "ingest", last: str = "gate") -> None:
    """Run stages from one to another in this process."""
    names = [*COMMANDS]
    for name in names[names.index(first) : names.index(last) + 1]:
        _, _, script, *arguments = COMMANDS[name]
        call(folder, script, *arguments)


def commit(folder: Path, message: str) -> None:
    """Commit all that is in a folder."""
    must(folder, "git", "add", "-A", ".")
    must(folder, "git", "commit", "-qm", message, "--allow-empty")


def clone(project: Path, folder: Path) -> Path:
    """A clone of its last commit."""
    must(folder.parent, "git", "clone", "-q", str(project), str(folder))
    return folder


def copy_of(project: Path, folder: Path) -> Path:
    """A copy to change; what git and DVC store under its hash is never written again: links."""

    def copy(source: str, target: str) -> None:
        stored = "/.git/objects/" in source or "/.dvc/cache/" in source
        (os.link if stored else shutil.copy2)(source, target)

    return Path(shutil.copytree(project, folder, symlinks=True, copy_function=copy))


def checked_rows(file: Path, schema: Schema, names: list[str]) -> list[CheckedRows]:
    """The rows of a file as `predict` reads and checks them."""
    checks = declared_checks(schema, Validate())
    return [check_rows(raw, schema.features, checks) for raw in read_rows(file, schema, names)]


def read_table(file: Path, schema: Schema) -> Iterator[pa.Table]:
    """The rows of a file as values, some at a time."""
    column_names(file, schema, schema.columns)
    for raw in read_rows(file, schema, list(schema.columns)):
        yield parse_valid_rows(raw, schema)


def outs(folder: Path, *without: str) -> dict[str, str]:
    """The hash of each output that a project's dvc.lock names, but for some."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"].values()
    found = {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}
    return {path: md5 for path, md5 in found.items() if path not in without}


# README first, then docs/; the commands of each.
PAGES = {
    str(path.relative_to(PROJECT)): path.read_text()
    for path in (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
}
BLOCKS = {
    name: re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for name, text in PAGES.items()
}
# `make` finds its environment made: the one that runs the tests.
MADE = {"MAKEFLAGS": "-o .venv/installed -o .venv/installed-serve"}


def follow(folder: Path, page: str, blocks: list[str]) -> list[str]:
    """Run blocks of a page in a project; what each printed, which is what the page says."""
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(sys.prefix)
    text, outputs = PAGES[page], []
    for block in blocks:
        if "serve &" in block:  # on a port that is free, and stopped if the block fails
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            block = block.replace("serve &", f"serve --port {port} &").replace("8000", str(port))
            block = f"trap 'kill $(jobs -p)' ERR\n{block}"
        # A project that a block creates uses the library of the clone.
        output = must(folder, "bash", "-ec", block, PYTHONPATH=str(folder), **MADE)
        outputs.append(output)
        if "kernel_initializer=random_uniform" in block:
            (accuracy,) = re.findall(r"Accuracy: ([\d.]+)", output)
            assert 0.7 <= float(accuracy) <= 0.76
        if (page, block) == ("README.md", "make gate\n"):
            assert [line for line in output.splitlines() if line.startswith("Gate: ")][-1] in text
        if "--example wine" in block:
            (line,) = [line for line in output.splitlines() if line.startswith("Accuracy")]
            assert line in text
        if "queue start" in block:
            wait_for_queue(folder)
        if "exp-show" in block:
            changed = re.findall(r"^units-\d .*plain\.units=\[(\d+)\]$", output, re.MULTILINE)
            assert sorted(changed) == ["32", "8"]
        if "metrics diff" in block:
            table = re.findall(r"^metrics/metrics\.json .*", text, re.MULTILINE)
            assert table
            assert [row for row in table if row not in output] == [], output
        if "cat predictions.csv" in block:
            assert output in text
        if "keras_tabular drift" in block:
            assert "Drift: pass" in output
        if "curl" in block or "dvc push" in block:
            assert output.splitlines()[-1] in text
    return outputs


def arrow_schema(schema: Schema) -> pa.Schema:
    """Return the declared columns in declared order with their Arrow types, and `FILE_SUBSET`."""
    fields = [(name, ARROW_TYPES[column.kind]) for name, column in schema.columns.items()]
    return pa.schema([*fields, *([(FILE_SUBSET, pa.string())] if schema.test_files else [])])
