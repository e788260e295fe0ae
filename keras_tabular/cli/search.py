"""Search for parameters of train with a better cross-validated score."""

import logging
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

from keras_tabular.config.metrics import check_custom_metrics, choose_primary_metric, metrics_by_key
from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.config.sections import ResolvedTrain, Search
from keras_tabular.core.errors import UserError
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.table.groups import row_groups
from keras_tabular.table.parquet import count_rows
from keras_tabular.training.folds import possible_folds

TRAINING_ROWS = Path("data/split/train")


def main(parser: ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, metavar="N",
        help="total number of trials, with those of earlier searches that had the same table and "
        "parameters; default: search.trials in params.yaml")  # fmt: skip
    parser.add_argument("--storage", metavar="FILE", type=Path, default=".search/trials.log",
        help="the file that keeps the trials; default: %(default)s")  # fmt: skip
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("train", "evaluate", "search", schema=schema)
    search, evaluate = params.search, params.evaluate
    folds = search.folds or ("auto" if params.train.folds == 1 else params.train.folds)
    size = sum(count_rows(TRAINING_ROWS)), schema.learning_task, len(schema.features)
    with_folds = params.train.with_values({"folds": folds})
    train = with_folds.resolve_auto(*size, possible_folds(TRAINING_ROWS))
    check_space(search, train)
    choice = evaluate.metric if search.score == "auto" else search.score
    score_name = choose_primary_metric(choice, train.loss, evaluate.costs(schema.learning_task))

    from keras_tabular.runs.search import fold_predictions, open_study, run_trials, summary
    from keras_tabular.training.checkpoint import CODE, identity
    from keras_tabular.training.setup import Setup

    sys.path.insert(0, str(Path.cwd()))  # the project, where `keras-tabular` does not look
    from custom import METRICS
    from network import build

    check_custom_metrics(METRICS, score_name)
    metric = metrics_by_key({each.name: each.greater_is_better for each in METRICS})[score_name]
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns that each trial has a graph
    search = search.model_copy(update={"trials": 1, "score": score_name})
    sections = [schema, train, evaluate, search]
    name = identity(sections, [TRAINING_ROWS], build, (*CODE, "runs", "evaluation"))
    study = open_study(args.storage, name, maximize=metric.greater_is_better)
    groups = row_groups(TRAINING_ROWS, schema)

    def predict_folds(changed: ResolvedTrain) -> Iterator[Predictions]:
        setup = Setup([TRAINING_ROWS], schema, changed, build)
        return fold_predictions(setup, groups, evaluate, METRICS)

    total = params.search.trials if args.trials is None else args.trials
    run_trials(study, total, train, search, predict_folds)
    print(summary(study, score_name))


def check_space(search: Search, train: ResolvedTrain) -> None:
    """Raise `UserError` if a value is `auto`, or no key belongs to a network that is trained."""
    for key, candidates in search.space.items():
        if "auto" in candidates.limits:
            hint = f"For this table, auto is {train.value(key)}, and the first trial has it."
            raise UserError(f"search.space.{key}: expected values to try, got auto. {hint}")
    trained = [f"networks.{members.network}" for members in train.members]
    sections = sorted({".".join(key.split(".")[:2]) for key in search.space})
    if sections and all(s.startswith("networks.") and s not in trained for s in sections):
        raise UserError(
            f"search.space only has keys of {', '.join(sections)}, but train.members trains "
            f"{', '.join(trained)} here. Search keys of a network that is trained, or set "
            f"train.members to [{{network: {sections[0].removeprefix('networks.')}}}]."
        )
