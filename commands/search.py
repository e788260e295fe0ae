"""Better parameters for train, looked for by the cross-validated score of the training rows."""

import logging
import os
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial

from tabular.config.params import Params, load_params
from tabular.config.schema import Schema, load_schema
from tabular.config.sections import Resolved, Search, Train
from tabular.core.cluster import disconnect
from tabular.core.engine import Bar, ordered_map
from tabular.core.errors import UserError, align_columns
from tabular.core.files import locked
from tabular.core.metrics import metric
from tabular.core.process import is_interrupt, run
from tabular.model.training.folds import possible_folds
from tabular.search.study import (
    Draws,
    Peers,
    Space,
    TrialResult,
    add_trial,
    as_yaml,
    expected_gain,
    finished_trials,
    open_study,
    ranked,
    suggest,
)
from tabular.table.parquet import count_rows

TOP_TRIALS = 5  # that are shown
# What XLA compiles stays in memory until its process ends: 85 MB a trial. To start anew takes 3 of
# the 50 seconds of so many; a child process would take as long, and has to end with its parent.
TRIALS_A_PROCESS = 10


def with_folds(params: Params, rows: int, schema: Schema, possible: range) -> Resolved:
    """Return the section `train` as each trial cross-validates it.

    Args:
        possible: Numbers of folds of which each fold has rows.

    Raises:
        UserError: There are more folds than rows.
    """
    train = params.train
    if params.search.folds or train.folds == 1:
        train = train.changed({"folds": params.search.folds or "auto"})
    resolved = train.resolved(rows, schema.task, len(schema.features), possible)
    if not 1 < resolved.folds <= rows:
        raise UserError(
            f"A search compares cross-validated scores, and {rows} training rows cannot fill "
            f"{max(resolved.folds, 2)} folds. Set search.folds to a lower number, or add rows."
        )
    return resolved


def summary(space: Space, train: Train, score: str, study: Study, total: int) -> str:
    """The best trials and the first one, which has the present parameters; and what to run.

    Raises:
        UserError: no trial has a score.
    """
    trials = finished_trials(study)[:total]
    best = ranked(study, trials)
    if not best:
        raise UserError(f"no trial has a score; the last one: {trials[-1].user_attrs['reason']}")
    lines = [["trial", score, *space.distributions, ""]]
    top = best[:TOP_TRIALS]
    for trial in [*top, *(trial for trial in trials[:1] if trial not in top)]:
        tried = space.train(trial.params)
        value = f"{trial.value:.6f}" if trial in best else "given up"
        values = [as_yaml(tried.value(key)) for key in space.distributions]
        remark = "in params.yaml now" if trial is trials[0] else ""
        lines.append([str(trials.index(trial) + 1), value, *values, remark])
    chosen = space.train(best[0].params)
    command = ["dvc", "exp", "run"]
    for key in space.distributions:
        if chosen.value(key) != train.value(key):
            command += ["-S", f"train.{key}={as_yaml(chosen.value(key))}"]
    head = (
        f"Cross-validated {score} of {len(trials)} trials, {len(trials) - len(best)} "
        f"of them given up before the last of {train.folds} folds:"
    )
    found = f"{head}\n\n{align_columns(lines)}\n\n"
    if not command[3:]:
        return f"{found}None is better than what params.yaml has now."
    return f"{found}{worth_of_choosing(best, trials[0], score)}\n\n{shlex.join(command)}"


def check_space(search: Search, train: Resolved) -> None:
    """Refuse a space whose values would change nothing.

    Raises:
        UserError: all are of networks that are not trained.
    """
    trained = {members.network for members in train.members}
    parts = [key.split(".") for key in search.space]
    if parts and all(part[0] == "networks" and part[1] not in trained for part in parts):
        names = ", ".join(f"networks.{name}" for name in sorted(trained))
        others = ", ".join(sorted({".".join(part[:2]) for part in parts}))
        raise UserError(
            f"search.space: found keys of {others} alone, which train.members does not train here; "
            f"expected some of {names}: `train.members: [{{network: {parts[0][1]}}}]` trains it"
        )


def worth_of_choosing(best: list[FrozenTrial], first: FrozenTrial, score: str) -> str:
    """What the best of some trials is to be expected to score on other rows than chose it."""
    greater = metric(score).greater_is_better
    draws = {trial.number: Draws(*trial.user_attrs["draws"]) for trial in best}
    beside = first if first.number in draws else best[0]
    gain = expected_gain([*draws.values()], draws[beside.number], greater_is_better=greater)
    said = (
        f"The best of {len(best)} was chosen by the rows that score it. On others expect {score} "
        f"{beside.value + gain:.6f} of it"
    )
    if beside is not first:
        return f"{said}."
    if (gain > 0) == greater and gain:
        return f"{said}, {abs(gain):.6f} better than what params.yaml has now."
    return f"{said}, which is no better than what params.yaml has now: keep that, or try"


def search_identity(schema: Schema, train: Resolved, params: Params, folder: Path) -> str:
    """The name of a search: of another table, space or code it is another, of more trials not."""
    from tabular.model.training.checkpoint import CODE, identity

    search = params.search.model_copy(update={"trials": 1})
    code = (*CODE, "search", "evaluation")
    return identity([schema, train, params.evaluate, search], [folder], code)


def run_trials(
    study: Study, space: Space, search: Search, total: int, evaluate: Callable[..., TrialResult]
) -> None:
    """Run rounds of trials until there are `total`, or `TRIALS_A_PROCESS` more than before.

    The trials of a round follow from those of the rounds before.

    Args:
        evaluate: `cross_validate`, of which only `train` and `peers` are left to give.
    """
    before = number = len(finished_trials(study))
    with closing(Bar(total, before)) as bar:
        while number < min(total, before + TRIALS_A_PROCESS):
            start = number - number % search.round
            known = finished_trials(study)[:start]
            numbers = range(number, min(start + search.round, total))
            suggested = [suggest(study, known, space, search.seed, n) for n in numbers]
            results = ordered_map(
                partial(evaluate, peers=Peers.of(study, known)),
                [space.train(trial_params) for trial_params in suggested],
                most=len(suggested),
                threads=False,
            )
            for trial_params, result in zip(suggested, results, strict=True):
                add_trial(study, space, trial_params, result)
                number += 1
                bar.advance(1, progress(study, search.score, result, total))


def progress(study: Study, score: str, result: TrialResult, total: int) -> str:
    """The result of the last trial of a study, and the best score so far."""
    trials = finished_trials(study)
    best = ranked(study, trials)
    shown = "given up" if result.score is None else f"{score} {result.score:.4f}"
    so_far = f", best {best[0].value:.4f}" if best else ""
    return f"trial {len(trials)} of {total}, {shown}{so_far}"


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, help="how many in all, in place of search.trials")
    parser.add_argument("--train", type=Path, default="data/split/train", help="folder of parts")
    parser.add_argument("--storage", type=Path, default=".search/trials.db", help="SQLite file")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    schema = load_schema()
    params = load_params("train", "evaluate", "search", schema=schema)
    total = params.search.trials if args.trials is None else args.trials
    if total < 1:
        raise UserError(f"--trials: found {total}; expected at least 1")
    rows = sum(count_rows(args.train))
    train = with_folds(params, rows, schema, possible_folds(args.train))
    check_space(params.search, train)
    space = Space(params.search, train)
    score = params.search.score

    from tabular.search.cross_validation import cross_validate

    # TensorFlow warns of many graphs; each trial has its own.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    evaluate = partial(
        cross_validate,
        folder=args.train,
        schema=schema,
        metric=score,
        threshold=params.evaluate.threshold,
    )
    name = search_identity(schema, train, params, args.train)
    with locked(args.storage.with_suffix(".lock"), "a search runs"):
        study = open_study(args.storage, name, greater_is_better=metric(score).greater_is_better)
        try:
            run_trials(study, space, params.search, total, evaluate)
            if len(finished_trials(study)) < total:
                disconnect()
                os.execv(sys.executable, sys.orig_argv)  # frees what XLA has compiled
        except BaseException as error:
            if not is_interrupt(error):
                raise
            sys.exit(
                f"interrupted after {len(finished_trials(study))} of {total} trials; "
                "the same command goes on from there"
            )
    print(summary(space, train, score, study, total))


if __name__ == "__main__":
    run(main)
