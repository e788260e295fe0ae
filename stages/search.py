"""Better parameters for train, looked for by the cross-validated score of the training rows."""

import gc
import os
import shlex
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.params import LESS_IS_BETTER, Params, load_params
from stages.lib.stage import UserError, run
from stages.lib.table import count_rows, part_paths

FOLDS = 10  # where neither search nor train says how many
SHOWN = 5
TRIALS_A_PROCESS = 10  # what XLA compiles stays in memory until its process ends, 50 MB a trial


def with_folds(params: Params, rows: int) -> Params:
    """The parameters as each trial cross-validates them.

    Raises:
        UserError: there are more folds than rows.
    """
    folds = params.search.folds or (params.train.folds if params.train.folds > 1 else FOLDS)
    if folds > rows:
        raise UserError(f"{folds} folds, but {rows} training rows; set search.folds lower")
    return params.with_train({"ensemble": folds, "members": "folds"})


def fold_scores(params: Params, folder: Path) -> Iterator[float | None]:
    """The score over the rows of the first fold, of the first two, and so on to all rows.

    None where these rows have no such score.

    Raises:
        UserError: a training leaves the finite numbers (`NotFiniteError`), or a column has gaps.
    """
    from stages.lib import ensemble, training
    from stages.lib.backend import keras
    from stages.lib.blocks import all_labels
    from stages.lib.scores import score

    keras.utils.clear_session()
    gc.collect()
    data, train = params.data, params.train
    ready = training.ready(folder, data, train)
    y = all_labels(folder, data)[:, 0]
    rows, outputs = [], []
    for member in ensemble.fit(ready.untrained, ready.rows, [], train, xla=ready.small):
        rows.append(member.rows)
        outputs.append(ready.in_units(member.outputs))
        seen, predicted = np.concatenate(rows), np.concatenate(outputs)
        found: Any = score(y[seen], predicted, data, params.evaluate.threshold)
        for key in params.search.score.split("."):
            found = found.get(key)
        yield found


def in_columns(lines: list[list[str]]) -> str:
    """Lines of words as a table; what goes beyond the first line's words is a remark."""
    columns = zip(*(line[: len(lines[0])] for line in lines), strict=True)
    widths = [max(map(len, column)) for column in columns] + [0]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, help="how many in all, in place of search.trials")
    parser.add_argument("--train", type=Path, default="data/split/train", help="folder of parts")
    parser.add_argument("--storage", type=Path, default=".search/trials.db", help="SQLite file")
    args = parser.parse_args()
    params = load_params()
    params = with_folds(params, sum(count_rows(args.train)))
    search, folds = params.search, params.train.folds
    total = search.trials if args.trials is None else args.trials

    import optuna

    from stages.lib import trials
    from stages.lib.checkpoint import identity
    from stages.lib.loop import NotFiniteError
    from stages.lib.progress import Bar

    space = trials.Space(params)
    # Another table, another space or other code is another search; more trials are not.
    decisive = params.model_dump_json(
        exclude={"validate_": True, "split": True, "search": {"trials"}}
    )
    name = identity(decisive + optuna.__version__, part_paths(args.train), Path(__file__).parent)
    study = trials.open_study(args.storage, name, less_is_better=search.score in LESS_IS_BETTER)

    def cross_validate(trial: optuna.Trial) -> float | None:
        """The score of a trial; None where it was given up."""
        score = None
        try:
            for fold, score in enumerate(fold_scores(space.params(trial.params), args.train), 1):
                if score is not None:
                    trial.report(score, fold)
                    if fold < folds and trials.is_bad(score, fold, study):
                        return None
        except NotFiniteError:
            return None
        return score

    before = len(trials.ended(study))
    bar = Bar(total, "trial", before)
    try:
        for number in range(before, total):
            if number == before + TRIALS_A_PROCESS:
                bar.close()
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until the next main
                os.execv(sys.executable, sys.orig_argv)
            trial = trials.draw(study, space, search.seed)
            score = cross_validate(trial)
            pruned = optuna.trial.TrialState.PRUNED if score is None else None
            study.tell(trial, score, state=pruned)
            best = trials.ranked(study, trials.ended(study))
            shown = {search.score: "given up" if score is None else f"{score:.4f}"}
            bar.update(number + 1, shown | {"best": f"{best[0].value:.4f}"} if best else shown)
    except KeyboardInterrupt:
        bar.close()
        done = len(trials.ended(study))
        sys.exit(f"interrupted after {done} of {total} trials; the same command goes on from there")
    bar.close()

    ended = trials.ended(study)[:total]
    best = trials.ranked(study, ended)
    if not best:
        raise UserError("no trial has a score: each training left the finite numbers")
    lines = [["trial", search.score, *space.distributions]]
    for trial in [*best[:SHOWN], *(trial for trial in ended[:1] if trial not in best[:SHOWN])]:
        train = space.params(trial.params).train
        value = "given up" if trial.value is None else f"{trial.value:.6f}"
        values = [trials.written(getattr(train, key)) for key in space.distributions]
        remark = ["in params.yaml now"] if trial is ended[0] else []
        lines.append([str(ended.index(trial) + 1), value, *values, *remark])
    print(
        f"Cross-validated {search.score} of {len(ended)} trials, {len(ended) - len(best)} of them "
        f"given up before the last of {folds} folds:\n\n{in_columns(lines)}\n"
    )
    chosen = space.params(best[0].params).train
    changes = {key: getattr(chosen, key) for key in space.distributions}
    changes = {key: v for key, v in changes.items() if v != getattr(params.train, key)}
    if changes:
        options = [("-S", f"train.{key}={trials.written(v)}") for key, v in changes.items()]
        print(shlex.join(["dvc", "exp", "run", *(word for pair in options for word in pair)]))
    else:
        print("None is better than what params.yaml has now.")


if __name__ == "__main__":
    run(main)
