"""List the experiments on the last commit, the best one by cross-validation first.

The scores on the test rows are not shown, because the best of many would look better than it is.
"""

import json
import math
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import Any

from keras_tabular.core.errors import align_columns
from keras_tabular.core.nested import flatten
from keras_tabular.experiments.rerun import dvc
from keras_tabular.experiments.run import WORKSPACE, Run
from keras_tabular.report.formats import format_parameter, format_value
from keras_tabular.scoring.evaluation import Evaluation
from keras_tabular.tasks.task import TASKS

ROW_SETS = {"test": "test", "cross_validation": "cv"}
SCORES = (*dict.fromkeys(task.main_metric for task in TASKS.values()), "loss")


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--test", action="store_true", help="also show the scores on test rows")
    row_sets = ["cross_validation", *(["test"] if parser.parse_args().test else [])]
    entries = json.loads(dvc("exp", "show", "--json"))
    lines = experiment_lines(entries, Run(WORKSPACE).evaluation, row_sets)
    print(align_columns(lines))
    if len(lines[0]) == 2:
        print("No run has cross-validated scores. Add --test for those of the test rows.")


def experiment_lines(
    entries: list[dict[str, Any]], evaluation: Evaluation | None, row_sets: Sequence[str]
) -> list[list[str]]:
    """Return a header, and a line for each run with its scores and its first changed parameter.

    Each further parameter that differs from the commit has a line of its own. The runs are sorted
    by the metric that decides, on the first set of rows.

    Args:
        entries: The output of `dvc exp show --json`.
        evaluation: The evaluation in the workspace, which names the metric that decides.
        row_sets: Keys of `ROW_SETS`, whose scores are shown.
    """
    runs, committed = named_runs(entries), flat_values(entries[1], "params")
    metrics = {name: flat_values(entry, "metrics") for name, entry in runs.items()}
    names = dict.fromkeys((*(evaluation.primary_metrics if evaluation else ()), *SCORES))
    titles = {f"{rows}.{name}": f"{ROW_SETS[rows]} {name}" for rows in row_sets for name in names}
    keys = [key for key in titles if any(key in scores for scores in metrics.values())]
    lines = [["experiment", *(titles[key] for key in keys), "changed"]]
    if keys and evaluation:
        _, _, deciding = keys[0].partition(".")
        sign = 1 if evaluation.metric(deciding).greater_is_better else -1
        ranks = {name: sign * metrics[name].get(keys[0], -sign * math.inf) for name in runs}
        runs = {name: runs[name] for name in sorted(runs, key=ranks.__getitem__, reverse=True)}
    for name, entry in runs.items():
        changed = [
            f"{key}={format_parameter(value)}"
            for key, value in flat_values(entry, "params").items()
            if key not in committed or committed[key] != value
        ]
        first, *more = changed or [""]
        scores = [format_value(metrics[name].get(key)) for key in keys]
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
