"""Score the model and its baselines with intervals, and explain the predictions."""

import sys

from custom import METRICS
from keras_tabular.config.params import load_settings
from keras_tabular.core.parallel import run_in_background
from keras_tabular.evaluation.labelled_file import add_test_files, fit_baselines
from keras_tabular.evaluation.records import write_scores
from keras_tabular.evaluation.result import evaluate, write_test_predictions
from keras_tabular.evaluation.summary import summary_lines
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.tasks.metrics import check_custom_metrics
from stages import path_parser, run


def main(arguments: list[str] | None = None) -> None:
    args = path_parser(
        __doc__,
        model="the .keras file to score",
        data="folder with split, oof and tests",
        metrics="folder for scores and plot data",
    ).parse_args(arguments)
    data = args.data
    schema, params = load_settings("evaluate", "validate")
    check_custom_metrics(METRICS, params.evaluate.metric)
    content = args.model.read_bytes()
    trained = ModelMetadata.from_file(args.model, content)
    schema = schema.without(trained.ignore)
    task = schema.learning_task
    # The baselines are fitted while TensorFlow starts.
    baselines = run_in_background(fit_baselines, data, schema, trained.loss)

    from keras_tabular.explain.explanations import explain
    from keras_tabular.model.saved_model import load_saved_model

    model = load_saved_model(args.model, content, schema)
    print(
        "Scoring the model and its baselines, then shuffling each column",
        file=sys.stderr,
    )
    result = evaluate(model, data, schema, baselines, METRICS)
    evaluation, test_files = add_test_files(
        result,
        model,
        data,
        schema,
        params,
        METRICS,
    )
    result = result._replace(evaluation=evaluation)

    # The scores are written before the explanations, which may fail.
    write_scores(args.metrics, evaluation, task)
    write_test_predictions(data, result.predictions["test"], model.metadata, schema)
    evaluation = explain(model, data, args.metrics, result, schema, params.evaluate)
    write_scores(args.metrics, evaluation, task)
    print(*summary_lines(evaluation, test_files, task), sep="\n")


if __name__ == "__main__":
    run(main)
