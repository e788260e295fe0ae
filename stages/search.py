"""Better parameters for train, looked for by the cross-validated score of the training rows."""

import logging
import os
import shlex
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import TrialState

from stages.lib import trials
from stages.lib.cross_validation import cross_validate, with_folds
from stages.lib.params import LOWER_IS_BETTER, Params, load_params
from stages.lib.stage import UserError, run
from stages.lib.table import count_rows, part_paths

SHOWN = 5
TRIALS_A_PROCESS = 10  # what XLA compiles stays in memory until its process ends, 50 MB a trial


def summary(space: trials.Space, params: Params, study: Study, total: int) -> str:
    """The best trials and the first one, which has the present parameters; and what to run.

    Raises:
        UserError: no trial has a score.
    """
    found = trials.ended(study)[:total]
    best = trials.ranked(study, found)
    if not best:
        raise UserError(f"no trial has a score; the last one: {found[-1].user_attrs['reason']}")
    lines = [["trial", params.search.score, *space.distributions, ""]]
    for trial in [*best[:SHOWN], *(trial for trial in found[:1] if trial not in best[:SHOWN])]:
        train = space.params(trial.params).train
        score = f"{trial.value:.6f}" if trial in best else "given up"
        values = [trials.written(getattr(train, key)) for key in space.distributions]
        remark = "in params.yaml now" if trial is found[0] else ""
        lines.append([str(found.index(trial) + 1), score, *values, remark])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    chosen = space.params(best[0].params).train
    changes = [
        key for key in space.distributions if getattr(chosen, key) != getattr(params.train, key)
    ]
    command = ["dvc", "exp", "run"]
    for key in changes:
        command += ["-S", f"train.{key}={trials.written(getattr(chosen, key))}"]
    head = (
        f"Cross-validated {params.search.score} of {len(found)} trials, {len(found) - len(best)} "
        f"of them given up before the last of {params.train.folds} folds:"
    )
    last = shlex.join(command) if changes else "None is better than what params.yaml has now."
    return "\n".join([head, "", *table, "", last])


def main() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, help="how many in all, in place of search.trials")
    parser.add_argument("--train", type=Path, default="data/split/train", help="folder of parts")
    parser.add_argument("--storage", type=Path, default=".search/trials.db", help="SQLite file")
    args = parser.parse_args()
    params = load_params()
    total = params.search.trials if args.trials is None else args.trials
    if total < 1:
        raise UserError(f"--trials: found {total}; expected at least 1")
    params = with_folds(params, sum(count_rows(args.train)))
    space = trials.Space(params)

    from stages.lib.checkpoint import identity
    from stages.lib.progress import Bar

    # TensorFlow warns of many graphs; each trial has its own.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Another table, another space or other code is another search; more trials are not.
    irrelevant: Any = {"validate_": True, "split": True, "search": {"trials"}, "evaluate": {"gate"}}
    decisive = params.model_dump_json(exclude=irrelevant) + optuna.__version__
    name = identity(decisive, part_paths(args.train), Path(__file__).parent)
    score_name = params.search.score
    study = trials.open_study(args.storage, name, less_is_better=score_name in LOWER_IS_BETTER)
    before = len(trials.ended(study))
    bar = Bar(total, "trial", before)
    try:
        for number in range(before, total):
            if number == before + TRIALS_A_PROCESS:
                bar.close()
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until the next main
                os.execv(sys.executable, sys.orig_argv)
            trial = trials.draw(study, space, params.search.seed)
            score = cross_validate(space.params(trial.params), args.train, trial)
            study.tell(trial, score, state=TrialState.PRUNED if score is None else None)
            best = trials.ranked(study, trials.ended(study))
            shown = {score_name: "given up" if score is None else f"{score:.4f}"}
            bar.update(number + 1, shown | ({"best": f"{best[0].value:.4f}"} if best else {}))
    except KeyboardInterrupt:
        bar.close()
        done = len(trials.ended(study))
        sys.exit(f"interrupted after {done} of {total} trials; the same command goes on from there")
    bar.close()
    print(summary(space, params, study, total))


if __name__ == "__main__":
    run(main)
