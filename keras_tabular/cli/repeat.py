"""Score the present parameters on other splits: how much of a score is luck?"""

import json
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

from keras_tabular.config.params import load_settings
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import md5_hash, write_json
from keras_tabular.core.parallel import Progress, map_in_processes
from keras_tabular.runs.repeat import run_repeat, summarize
from keras_tabular.runs.run import METRICS, WORKSPACE, Run, run_module

FOLDER = Path(".repeats")
SCORES = METRICS / "scores.json"
MIN_REPEATS = 5  # with fewer, the differences of accuracies are often equal by chance
# What a repeat is, if not another split.
REPEATED = {"time": "period", "column": "training", "file": "training"}


def main(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-n",
        "--number",
        type=int,
        default=10,
        help="of repeats; default: 10",
    )
    total = parser.parse_args().number
    schema, params = load_settings("split")
    if total < MIN_REPEATS:
        raise UserError(f"--number: expected {MIN_REPEATS} or more, got {total}")
    if json.loads(run_module("dvc", "status", "--json", "--with-deps", "evaluate")):
        raise UserError(f"{SCORES} is out of date. Run `dvc repro` first.")
    run = Run(WORKSPACE)
    present = run.require_evaluation()
    if present.score("test", present.primary_metric) is None:
        raise UserError(
            f"{present.primary_metric} is undefined on the test rows. See {SCORES}.",
        )
    run_hash = md5_hash(run.read(SCORES).encode())
    time = schema.time if params.split.by == "time" else None
    # The periods depend on their number.
    folder = FOLDER / (f"{run_hash}-{total}" if time else run_hash)
    evaluations = []
    with Progress() as progress:
        progress.start_round("repeats", total, is_steady=True)
        repeat = partial(run_repeat, folder, time, total)
        for evaluation in map_in_processes(repeat, range(1, total + 1)):
            evaluations.append(evaluation)
            progress.advance(1, f"{len(evaluations)} of {total}")
    repeated = REPEATED.get(params.split.by, "split")
    keys = present.main_metrics[:2]
    measures = []
    for key in keys:
        measure = summarize(key, schema.learning_task, repeated, present, evaluations)
        if measure:
            measures.append(measure.model_dump())
            print(measure.conclusion)
    if not measures:
        raise UserError(
            f"{' and '.join(keys)} are undefined on the test rows of some repeats.",
        )
    # The hash tells later whether these are the repeats of the present run.
    write_json(METRICS / "repeats.json", {"run": run_hash, "measures": measures})
