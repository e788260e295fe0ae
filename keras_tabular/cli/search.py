"""Search for parameters of train with a better cross-validated score."""

import logging
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

from keras_tabular.config.metrics import check_custom_metrics, choose_primary_metric, metrics_by_key
from keras_tabular.config.params import Params, load_settings, metric_mistakes, train_mistakes
from keras_tabular.config.sections import Network, ResolvedTrain, Search, Train
from keras_tabular.config.task import Task
from keras_tabular.config.typed_yaml import expected_one_of, parse_section, read_yaml
from keras_tabular.core.errors import UserError
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.table.groups import row_groups
from keras_tabular.table.parquet import count_rows
from keras_tabular.training.folds import possible_folds

SEARCH, TRAINING_ROWS = Path("search.yaml"), Path("data/split/train")
# A search may not change these keys: another seed is better by luck only, and with other folds the
# scores of two trials cannot be compared.
NOT_SEARCHED = {"seed", "ignore", "folds", "forward_chaining", "exact", "networks"}


def main(parser: ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, metavar="N",
        help="total number of trials, with those of earlier searches that had the same table and "
        "parameters; default: trials in search.yaml")  # fmt: skip
    parser.add_argument("--storage", metavar="FILE", type=Path, default=".search/trials.log",
        help="the file that keeps the trials; default: %(default)s")  # fmt: skip
    args = parser.parse_args()
    schema, params = load_settings("train", "evaluate", "split")
    search, evaluate = load_search(params, schema.learning_task), params.evaluate
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
    total = search.trials if args.trials is None else args.trials
    search = search.model_copy(update={"trials": 1, "score": score_name})
    sections = [schema, train, evaluate, search]
    name = identity(sections, [TRAINING_ROWS], build, (*CODE, "runs", "evaluation"))
    study = open_study(args.storage, name, maximize=metric.greater_is_better)
    groups = row_groups(TRAINING_ROWS, schema)

    def predict_folds(changed: ResolvedTrain) -> Iterator[Predictions]:
        setup = Setup([TRAINING_ROWS], schema, changed, build)
        return fold_predictions(setup, groups, evaluate, METRICS)

    run_trials(study, total, train, search, predict_folds)
    print(summary(study, score_name))


def load_search(params: Params, task: Task, path: Path = SEARCH) -> Search:
    """Load search.yaml.

    Args:
        params: The sections `train`, `evaluate` and `split` of params.yaml.
        task: The task of the table.
        path: The file.

    Raises:
        UserError: The file cannot be read, the score or a key cannot be searched, or a key does not
            allow a value. The message has one line for each mistake.
    """
    search = parse_section(read_yaml(path), Search, path)
    mistakes = [*metric_mistakes("score", search.score, params.evaluate, task)]
    keys = sorted({*Train.model_fields} - NOT_SEARCHED)
    for name in params.train.networks:
        keys += [f"networks.{name}.{key}" for key in Network.model_fields]
    for key, candidates in search.space.items():
        if key not in keys:
            mistakes.append(f"space: {expected_one_of(key, keys)}")
            continue
        for value in candidates.limits:
            try:
                train = params.train.with_values({key: value})
                problems = [*train_mistakes(train, params.split, task)]
            except UserError as error:
                problems = str(error).splitlines()
            mistakes += [f"space{problem.removeprefix('train')}" for problem in problems]
    if mistakes:
        raise UserError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return search


def check_space(search: Search, train: ResolvedTrain) -> None:
    """Raise `UserError` if no key of the space belongs to a network that is trained."""
    trained = [f"networks.{members.network}" for members in train.members]
    sections = sorted({".".join(key.split(".")[:2]) for key in search.space})
    if sections and all(s.startswith("networks.") and s not in trained for s in sections):
        raise UserError(
            f"{SEARCH}: space only has keys of {', '.join(sections)}, but train.members trains "
            f"{', '.join(trained)} here. Search keys of a network that is trained, or set "
            f"train.members to [{{network: {sections[0].removeprefix('networks.')}}}]."
        )
