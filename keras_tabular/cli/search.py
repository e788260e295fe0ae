"""Search for parameters of train with a better cross-validated score."""

import logging
import sys
from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.config.sections import ResolvedTrain, Search
from keras_tabular.core.errors import UserError
from keras_tabular.table.parquet import count_rows
from keras_tabular.tasks.metrics import metric
from keras_tabular.training.folds import possible_folds

TRAINING_ROWS = Path("data/split/train")
MIN_TRIALS, MIN_FOLDS = 4, 2  # finished trials, and folds of a trial, before it may be pruned


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--trials", type=int, metavar="N",
        help="total number of trials, with those of earlier searches that had the same table and "
        "parameters; default: search.trials in params.yaml")  # fmt: skip
    add("--storage", metavar="FILE", type=Path, default=".search/trials.log",
        help="the file that keeps the trials; default: %(default)s")  # fmt: skip
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("train", "evaluate", "search", schema=schema)
    search = params.search
    folds = search.folds or ("auto" if params.train.folds == 1 else params.train.folds)
    train = params.train.with_values({"folds": folds}).resolve_auto(
        sum(count_rows(TRAINING_ROWS)),
        schema.learning_task,
        len(schema.features),
        possible_folds(TRAINING_ROWS),
    )
    check_space(search, train)

    import optuna

    from keras_tabular.search.study import fold_predictions, run_trials, summary
    from keras_tabular.training.checkpoint import CODE, identity

    sys.path.insert(0, str(Path.cwd()))  # the project, where `keras-tabular` does not look
    from network import build

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns that each trial has a graph
    args.storage.parent.mkdir(parents=True, exist_ok=True)
    sections = [schema, train, params.evaluate, search.model_copy(update={"trials": 1})]
    journal = optuna.storages.journal.JournalFileBackend(str(args.storage))
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(journal),
        pruner=optuna.pruners.MedianPruner(MIN_TRIALS, MIN_FOLDS),
        study_name=identity(sections, [TRAINING_ROWS], build, (*CODE, "search", "evaluation")),
        direction="maximize" if metric(search.score).greater_is_better else "minimize",
        load_if_exists=True,
    )
    total = search.trials if args.trials is None else args.trials
    options = (TRAINING_ROWS, schema, build, params.evaluate.threshold)
    run_trials(study, total, train, search, lambda changed: fold_predictions(changed, *options))
    print(summary(study, search.score))


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
