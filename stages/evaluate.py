"""The stage `evaluate` of dvc.yaml."""

import sys
from pathlib import Path

from custom import METRICS
from keras_tabular.config.metrics import check_custom_metrics
from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.parallel import run_in_background
from keras_tabular.evaluation.labelled_file import add_test_files, score_test_files
from keras_tabular.evaluation.records import write_scores
from keras_tabular.evaluation.result import evaluate, fit_baselines, write_test_predictions
from keras_tabular.evaluation.summary import summary_lines
from keras_tabular.model.metadata import ModelMetadata
from stages import run


def main(model_file: Path, data: Path, metrics: Path) -> None:
    """Score the model and its baselines with confidence intervals, and explain the predictions.

    Args:
        model_file: The .keras file to score.
        data: Folder with split, oof and tests.
        metrics: Folder for scores and plot data.
    """
    schema = load_schema()
    params = load_params("evaluate", "validate", schema=schema)
    check_custom_metrics(METRICS, params.evaluate.metric)
    content, task = model_file.read_bytes(), schema.learning_task
    trained = ModelMetadata.from_file(model_file, content)
    schema, loss = schema.without(trained.ignore), trained.loss
    baselines = run_in_background(fit_baselines, data, schema, loss)  # while TensorFlow starts

    from keras_tabular.explain.explanations import explain
    from keras_tabular.model.saved_model import load_saved_model

    model = load_saved_model(model_file, content, schema)
    print("Scoring the model and its baselines, then shuffling each column", file=sys.stderr)
    result = evaluate(model, data, schema, baselines, METRICS)
    test_files = score_test_files(model, data, schema, params, result.evaluation, METRICS)
    result = result._replace(evaluation=add_test_files(result.evaluation, test_files))

    # The scores are written before the explanations, which may fail.
    write_scores(metrics, result.evaluation, task)
    write_test_predictions(data, result.predictions["test"], model.metadata, schema)
    evaluation = explain(model, data, metrics, result, schema, params.evaluate)
    write_scores(metrics, evaluation, task)
    print(*summary_lines(evaluation, test_files, task), sep="\n")


if __name__ == "__main__":
    run(main)
