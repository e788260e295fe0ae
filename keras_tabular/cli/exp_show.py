"""List the experiments on the last commit: what each one changed, and its scores."""

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from keras_tabular.core.errors import align_columns
from keras_tabular.core.metrics import TASKS
from keras_tabular.core.nested import flatten
from keras_tabular.experiments.rerun import dvc
from keras_tabular.report.formats import number, parameter

ROWS = {"test": "test", "cross_validation": "cv"}
SCORES = (*dict.fromkeys(task.main for task in TASKS.values()), "loss")


def values_of(entry: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the "params" or "metrics" of a run by dotted key; nothing of one that has not run."""
    files = ((entry.get("data") or {}).get(kind) or {}).values()
    return dict(pair for file in files for pair in flatten(file.get("data") or {}))


def runs_of(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the workspace, the last commit and the experiments on it by their names."""
    workspace, commit = entries[:2]
    runs = {"workspace": workspace, commit["name"] or commit["rev"][:7]: commit}
    for experiment in commit["experiments"] or []:
        (last, *_), executor = experiment["revs"], experiment["executor"] or {}
        state = executor.get("state") or "success"
        name = experiment["name"] or last["rev"][:7]
        runs[name if state == "success" else f"{name} ({state})"] = last
    return runs


def lines_of(entries: list[dict[str, Any]]) -> list[list[str]]:
    """Return a header, and a line for each run with its scores and the parameters that differ.

    Each further parameter that is not as in the commit has a line of its own.

    Args:
        entries: What `dvc exp show --json` prints.
    """
    runs, committed = runs_of(entries), values_of(entries[1], "params")
    metrics = {name: values_of(entry, "metrics") for name, entry in runs.items()}
    keys = [(rows, score) for rows in ROWS for score in SCORES]
    keys = [key for key in keys if any(".".join(key) in scores for scores in metrics.values())]
    lines = [["experiment", *(f"{ROWS[rows]} {score}" for rows, score in keys), "changed"]]
    for name, entry in runs.items():
        params = values_of(entry, "params").items()
        changed = [
            f"{key}={parameter(value)}"
            for key, value in params
            if key not in committed or committed[key] != value
        ]
        first, *more = changed or [""]
        scores = [number(metrics[name].get(".".join(key))) for key in keys]
        lines.append([name, *scores, first])
        lines += [[""] * (1 + len(keys)) + [other] for other in more]
    return lines


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    print(align_columns(lines_of(json.loads(dvc("exp", "show", "--json")))))
