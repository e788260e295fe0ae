"""List the experiments on the last commit, with their scores and changed parameters."""

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from keras_tabular.core.errors import align_columns
from keras_tabular.core.nested import flatten
from keras_tabular.experiments.rerun import dvc
from keras_tabular.report.formats import format_parameter, format_value
from keras_tabular.tasks.task import TASKS

ROW_SETS = {"test": "test", "cross_validation": "cv"}
SCORES = (*dict.fromkeys(task.main_metric for task in TASKS.values()), "loss")


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    print(align_columns(experiment_lines(json.loads(dvc("exp", "show", "--json")))))


def experiment_lines(entries: list[dict[str, Any]]) -> list[list[str]]:
    """Return a header, and a line for each run with its scores and its first changed parameter.

    Each further parameter that differs from the commit has a line of its own.

    Args:
        entries: The output of `dvc exp show --json`.
    """
    runs, committed = named_runs(entries), flat_values(entries[1], "params")
    metrics = {name: flat_values(entry, "metrics") for name, entry in runs.items()}
    keys = [(rows, score) for rows in ROW_SETS for score in SCORES]
    keys = [key for key in keys if any(".".join(key) in scores for scores in metrics.values())]
    lines = [["experiment", *(f"{ROW_SETS[rows]} {score}" for rows, score in keys), "changed"]]
    for name, entry in runs.items():
        changed = [
            f"{key}={format_parameter(value)}"
            for key, value in flat_values(entry, "params").items()
            if key not in committed or committed[key] != value
        ]
        first, *more = changed or [""]
        scores = [format_value(metrics[name].get(".".join(key))) for key in keys]
        lines.append([name, *scores, first])
        lines += [[""] * (1 + len(keys)) + [change] for change in more]
    return lines


def named_runs(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the workspace, the last commit and the experiments on it by name."""
    workspace, commit = entries[:2]
    runs = {"workspace": workspace, commit["name"] or commit["rev"][:7]: commit}
    for experiment in commit["experiments"] or []:
        (last, *_), executor = experiment["revs"], experiment["executor"] or {}
        state = executor.get("state") or "success"
        name = experiment["name"] or last["rev"][:7]
        runs[name if state == "success" else f"{name} ({state})"] = last
    return runs


def flat_values(entry: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the "params" or "metrics" of a run by dotted key; empty if it has not run yet."""
    files = ((entry.get("data") or {}).get(kind) or {}).values()
    return dict(pair for file in files for pair in flatten(file.get("data") or {}))
