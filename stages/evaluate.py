"""Score the model and its baselines with confidence intervals, and explain the predictions."""

import sys
from argparse import ArgumentParser
from pathlib import Path

from custom import METRICS
from keras_tabular.config.metrics import check_custom_metrics
from keras_tabular.config.params import load_settings
from keras_tabular.core.parallel import run_in_background
from keras_tabular.evaluation.labelled_file import add_test_files, score_test_files
from keras_tabular.evaluation.records import write_scores
from keras_tabular.evaluation.result import (
    evaluate,
    fit_baselines,
    write_test_predictions,
)
from keras_tabular.evaluation.summary import summary_lines
from keras_tabular.model.metadata import ModelMetadata
from stages import run


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the .keras file to score")
    parser.add_argument("data", type=Path, help="folder with split, oof and tests")
    parser.add_argument("metrics", type=Path, help="folder for scores and plot data")
    args = parser.parse_args(arguments)
    schema, params = load_settings("evaluate", "validate")
    check_custom_metrics(METRICS, params.evaluate.metric)
    content = args.model.read_bytes()
    task = schema.learning_task
    trained = ModelMetadata.from_file(args.model, content)
    schema = schema.without(trained.ignore)
    loss = trained.loss
    baselines = run_in_background(
        fit_baselines,
        args.data,
        schema,
        loss,
    )  # while TensorFlow starts

    from keras_tabular.explain.explanations import explain
    from keras_tabular.model.saved_model import load_saved_model

    model = load_saved_model(args.model, content, schema)
    print(
        "Scoring the model and its baselines, then shuffling each column",
        file=sys.stderr,
    )
    result = evaluate(model, args.data, schema, baselines, METRICS)
    test_files = score_test_files(
        model,
        args.data,
        schema,
        params,
        result.evaluation,
        METRICS,
    )
    result = result._replace(evaluation=add_test_files(result.evaluation, test_files))

    # The scores are written before the explanations, which may fail.
    write_scores(args.metrics, result.evaluation, task)
    write_test_predictions(
        args.data,
        result.predictions["test"],
        model.metadata,
        schema,
    )
    evaluation = explain(
        model,
        args.data,
        args.metrics,
        result,
        schema,
        params.evaluate,
    )
    write_scores(args.metrics, evaluation, task)
    print(*summary_lines(evaluation, test_files, task), sep="\n")


if __name__ == "__main__":
    run(main)
