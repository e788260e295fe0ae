"""Better parameters for train, looked for by the cross-validated score of the training rows."""

import logging
import shlex
import sys
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import optuna
from optuna.study import Study

from tabular.config.params import Params, load_params
from tabular.config.schema import load_schema
from tabular.config.train import Resolved, Train
from tabular.core.cluster import disconnect
from tabular.core.engine import ordered_map
from tabular.core.errors import UserError
from tabular.core.files import locked
from tabular.core.metrics import metric
from tabular.core.process import is_interrupt, restart, run
from tabular.search.space import Space, as_yaml
from tabular.search.study import Peers, draw, ended, keep, open_study, ranked
from tabular.table.parquet import count_rows, part_paths

SHOWN = 5
TRIALS_A_PROCESS = 10  # what XLA compiles stays in memory until its process ends, 50 MB a trial


def with_folds(params: Params, rows: int, task: str) -> Resolved:
    """The section `train` as each trial cross-validates it.

    Raises:
        UserError: there are more folds than rows.
    """
    train = params.train
    if params.search.folds or train.folds == 1:
        train = train.changed({"folds": params.search.folds or "auto"})
    resolved = train.resolved(rows, task)
    if resolved.folds > rows:
        raise UserError(f"{resolved.folds} folds, but {rows} training rows; set search.folds lower")
    return resolved


def summary(space: Space, train: Train, score: str, study: Study, total: int) -> str:
    """The best trials and the first one, which has the present parameters; and what to run.

    Args:
        train: the section as trials start from it.
        score: by which they are ranked.
        total: how many trials to show.

    Raises:
        UserError: no trial has a score.
    """
    trials = ended(study)[:total]
    best = ranked(study, trials)
    if not best:
        raise UserError(f"no trial has a score; the last one: {trials[-1].user_attrs['reason']}")
    lines = [["trial", score, *space.distributions, ""]]
    for trial in [*best[:SHOWN], *(trial for trial in trials[:1] if trial not in best[:SHOWN])]:
        tried = space.train(trial.params)
        value = f"{trial.value:.6f}" if trial in best else "given up"
        values = [as_yaml(tried.value(key)) for key in space.distributions]
        remark = "in params.yaml now" if trial is trials[0] else ""
        lines.append([str(trials.index(trial) + 1), value, *values, remark])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    chosen = space.train(best[0].params)
    command = ["dvc", "exp", "run"]
    for key in space.distributions:
        if chosen.value(key) != train.value(key):
            command += ["-S", f"train.{key}={as_yaml(chosen.value(key))}"]
    head = (
        f"Cross-validated {score} of {len(trials)} trials, {len(trials) - len(best)} "
        f"of them given up before the last of {train.folds} folds:"
    )
    nothing = "None is better than what params.yaml has now."
    return "\n".join([head, "", *table, "", shlex.join(command) if command[3:] else nothing])


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, help="how many in all, in place of search.trials")
    parser.add_argument("--train", type=Path, default="data/split/train", help="folder of parts")
    parser.add_argument("--storage", type=Path, default=".search/trials.db", help="SQLite file")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("train", "evaluate", "search", schema=schema)
    total = params.search.trials if args.trials is None else args.trials
    if total < 1:
        raise UserError(f"--trials: found {total}; expected at least 1")
    train = with_folds(params, sum(count_rows(args.train)), schema.task)
    space = Space(params.search, train)
    score = params.search.score

    from tabular.core.progress import Bar
    from tabular.model.training.checkpoint import CODE, identity
    from tabular.search.cross_validation import cross_validate

    # TensorFlow warns of many graphs; each trial has its own.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Another table, another space or other code is another search; more trials are not.
    decisive = [schema, train, params.evaluate, params.search.model_copy(update={"trials": 1})]
    name = identity(
        "".join(section.model_dump_json() for section in decisive) + optuna.__version__,
        part_paths(args.train),
        (*CODE, "search", "evaluation"),
    )
    with locked(args.storage.with_suffix(".lock"), "a search runs"):
        study = open_study(args.storage, name, greater_is_better=metric(score).greater_is_better)
        before = number = len(ended(study))
        bar = Bar(total, before)
        try:
            while number < total:
                if number - before >= TRIALS_A_PROCESS:
                    bar.close()
                    disconnect()
                    restart()
                start = number - number % params.search.round
                known = ended(study)[:start]
                numbers = range(number, min(start + params.search.round, total))
                drawn = [draw(study, known, space, params.search.seed, n) for n in numbers]
                try_out = partial(
                    cross_validate,
                    folder=args.train,
                    schema=schema,
                    metric=score,
                    threshold=params.evaluate.threshold,
                    peers=Peers.of(study, known),
                )
                trains = [space.train(of_trial) for of_trial in drawn]
                found = ordered_map(try_out, trains, most=len(trains), threads=False)
                for of_trial, tried in zip(drawn, found, strict=True):
                    keep(study, space, of_trial, tried)
                    number += 1
                    best = ranked(study, ended(study))
                    shown = "given up" if tried.score is None else f"{score} {tried.score:.4f}"
                    so_far = f", best {best[0].value:.4f}" if best else ""
                    bar.advance(1, f"trial {number} of {total}, {shown}{so_far}")
        except BaseException as error:
            if not is_interrupt(error):
                raise
            bar.close()
            sys.exit(
                f"interrupted after {len(ended(study))} of {total} trials; "
                "the same command goes on from there"
            )
        bar.close()
    print(summary(space, train, score, study, total))


if __name__ == "__main__":
    run(main)
