"""Search for better parameters of train by the cross-validated score of the training rows."""

import json
import logging
import shlex
from argparse import ArgumentParser, Namespace
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tabular.config.params import load_params
from tabular.config.schema import load_schema
from tabular.config.sections import Resolved, Search
from tabular.config.typed_yaml import Section
from tabular.core.engine import Bar, ordered_map
from tabular.core.errors import UserError, align_columns
from tabular.core.metrics import metric
from tabular.core.process import run
from tabular.model.training.folds import possible_folds
from tabular.table.parquet import count_rows

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
MAX_TRIALS_SHOWN = 5


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, help="how many in all, in place of search.trials")
    parser.add_argument("--train", type=Path, default="data/split/train", help="folder of parts")
    parser.add_argument("--storage", type=Path, default=".search/trials.log", help="their journal")
    return parser.parse_args()


def check_space(search: Search, train: Resolved) -> None:
    """Refuse a space whose values would change nothing.

    Raises:
        UserError: All keys are of networks that are not trained.
    """
    trained = [f"networks.{members.network}" for members in train.members]
    sections = sorted({".".join(key.split(".")[:2]) for key in search.space})
    if sections and all(s.startswith("networks.") and s not in trained for s in sections):
        raise UserError(
            f"search.space has only keys of {', '.join(sections)}, and train.members trains "
            f"{', '.join(trained)} here. Search its keys, or set train.members to "
            f"[{{network: {sections[0].removeprefix('networks.')}}}]."
        )


def as_override(value: Any) -> str:
    """Return a value of params.yaml as `dvc exp run -S` reads it."""
    return json.dumps(value, separators=(",", ":"), default=Section.model_dump).replace('"', "")


def summary(trials: list[FrozenTrial], train: Resolved, search: Search) -> str:
    """Return the best trials, what the best one is worth, and the command that runs it.

    Args:
        trials: Completed and pruned trials.

    Raises:
        UserError: No trial has a score.
    """
    from tabular.search.study import Draws, expected_gain

    score, greater = search.score, metric(search.score).greater_is_better
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        raise UserError(f"No trial has a {score}. The last one: {trials[-1].user_attrs['reason']}")
    best = sorted(complete, key=lambda trial: trial.value, reverse=greater)
    lines = []
    for trial in best:
        tried = train.changed(trial.user_attrs["changes"])
        values = [as_override(tried.value(key)) for key in search.space]
        remark = "" if trial.user_attrs["changes"] else "in params.yaml now"
        lines.append([str(trial.number + 1), f"{trial.value:.6f}", *values, remark])
    present = next((place for place, line in enumerate(lines) if line[-1]), None)
    top_lines = lines[:MAX_TRIALS_SHOWN] + [line for line in lines[MAX_TRIALS_SHOWN:] if line[-1]]
    table = align_columns([["trial", score, *search.space, ""], *top_lines])
    text = (
        f"Cross-validated {score} of {len(trials)} trials, {len(trials) - len(best)} of them given "
        f"up before the last of {train.folds} folds:\n\n{table}\n\n"
    )
    if present == 0:
        return f"{text}None is better than what params.yaml has now."
    draws, first = [Draws(*trial.user_attrs["draws"]) for trial in best], present or 0
    expected = best[first].value + expected_gain(draws, draws[first], greater_is_better=greater)
    text += (
        f"The best of {len(best)} trials was chosen by the rows that score it. On other rows, "
        f"expect {score} {expected:.6f}"
    )
    text += f", compared with {best[first].value:.6f} now." if present else "."
    values = best[0].user_attrs["changes"].items()
    changed = [(key, value) for key, value in values if train.changed({key: value}) != train]
    options = [
        word for key, value in changed for word in ("-S", f"train.{key}={as_override(value)}")
    ]
    return f"{text}\n\ndvc exp run {shlex.join(options)}"


def main() -> None:
    args = parse_arguments()
    schema = load_schema()
    params = load_params("train", "evaluate", "search", schema=schema)
    search = params.search
    total = search.trials if args.trials is None else args.trials
    if total < 1:
        raise UserError(f"--trials: found {total}; expected at least 1")
    folds = search.folds or ("auto" if params.train.folds == 1 else params.train.folds)
    train = params.train.changed({"folds": folds}).resolved(
        sum(count_rows(args.train)), schema.task, len(schema.features), possible_folds(args.train)
    )
    if train.folds < 2:
        raise UserError(
            "A search compares cross-validated scores, and the training rows fill one fold only. "
            "Set search.folds to 2 or more, or use rows of more groups."
        )
    check_space(search, train)

    from tabular.model.training.checkpoint import CODE, identity
    from tabular.search.study import open_study, run_trial

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns that each trial has a graph
    sections = [schema, train, params.evaluate, search.model_copy(update={"trials": 1})]
    name = identity(sections, [args.train], (*CODE, "search", "evaluation"))
    greater_is_better = metric(search.score).greater_is_better
    study = open_study(args.storage, name, greater_is_better=greater_is_better)
    done = len(study.get_trials(deepcopy=False, states=FINISHED))
    work = partial(
        run_trial, study=study, train=train, params=params, schema=schema, folder=args.train
    )
    with closing(Bar(total, done)) as bar:
        for number, result in enumerate(ordered_map(work, range(done, total), threads=False), done):
            bar.advance(1, f"trial {number + 1} of {total}, {result}")
    print(summary(study.get_trials(deepcopy=False, states=FINISHED), train, search))


if __name__ == "__main__":
    run(main)
