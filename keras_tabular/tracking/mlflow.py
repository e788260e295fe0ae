"""Log a committed run to an MLflow server, and register its model there."""

import os
import re
from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np

from keras_tabular.cli.report import build_report
from keras_tabular.column_statistics.summary import ColumnSummary
from keras_tabular.config.params import PARAMS
from keras_tabular.config.schema import EPOCHS, ISO, SCHEMA, Column
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.core.nested import flatten
from keras_tabular.experiments.comparison import Comparison
from keras_tabular.experiments.rerun import cached_output
from keras_tabular.experiments.run import LOCK, WORKSPACE, Run, git
from keras_tabular.model_file.metadata import training_rows
from keras_tabular.prediction.inputs import MODEL as MODEL_FILE
from keras_tabular.prediction.inputs import read_schema, scratch_folder

LIBRARY = Path(__file__).parents[1]
SERVER, NAME = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
COMMIT = "mlflow.source.git.commit"  # the tag in which MLflow's pages look for the commit
TYPES = {"float": "float", "double": "double", "int64": "long", "bool": "boolean"}
# A package in a lock file, with its marker; not the library, whose code the model contains.
LOCKED = re.compile(r"^(?!keras-tabular=)[\w.-]+==.*?(?= *\\?$)", re.MULTILINE)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("rev", nargs="?", default="HEAD", help="the commit; default: %(default)s")
    args = parser.parse_args()
    if not os.environ.get(SERVER):
        raise UserError(f"{SERVER}: expected the address of a server such as http://localhost:5000")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # 15 seconds instead of minutes
    comparison, report = build_report(None, args.rev)
    run, content = comparison.run, read_committed_model(comparison)
    name = os.environ.get(NAME) or Path(run.source).stem
    tags = {COMMIT: run.sha, "gate": str(comparison.verdict and comparison.verdict.status)}
    try:
        import mlflow

        mlflow.set_experiment(name)
        finished = f"attributes.status = 'FINISHED' and tags.`{COMMIT}` = '{run.sha}'"
        if runs := mlflow.search_runs(filter_string=finished, output_format="list"):
            print(f"{run.label} is logged already, as run {runs[0].info.run_id}")
            return
        with mlflow.start_run(run_name=run.label, tags=tags) as active:
            mlflow.log_params(allowed_keys(flatten(run.load(PARAMS))))
            mlflow.log_metrics(allowed_keys(metrics_to_log(run).items()))
            mlflow.log_text(report, "report.html")
            paths = (LOCK, str(PARAMS), str(SCHEMA), str(run.metrics))
            files = git("ls-tree", "-r", "-z", "--name-only", run.sha, "--", *paths) or ""
            for path in filter(None, files.split("\0")):
                mlflow.log_text(run.read(path), path)
            version = log_model(run, content, name)
    except ModuleNotFoundError as error:
        raise UserError(f"{error}. Run `pip install -r requirements/mlflow.txt`.") from None
    except mlflow.MlflowException as error:
        raise UserError(f"{SERVER}: {error}") from None
    print(f"{run.label}: run {active.info.run_id}, version {version} of the model {name}")


def allowed_keys(items: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Replace characters, such as those of column names, that MLflow does not allow in keys."""
    return {re.sub(r"[^\w.\- ]", "_", key): value for key, value in items}


def metrics_to_log(run: Run) -> dict[str, float]:
    """Return all numbers of scores.json by keys as in metrics.json."""
    evaluation = run.require_evaluation()
    fields = flatten(evaluation.model_dump(exclude={"scores"}, exclude_defaults=True))
    metrics = {key: value for key, value in fields if type(value) in (int, float)}
    for score in evaluation.scores:
        key = score.key
        metrics[key] = score.value
        if score.interval:
            metrics[f"{key}_low"], metrics[f"{key}_high"] = score.interval
        if score.difference:
            metrics |= {f"{key}_difference.{name}": end for name, end in score.difference}
    return metrics


def read_committed_model(comparison: Comparison) -> bytes:
    """Return the model of a run from DVC's cache.

    Raises:
        UserError: The run is not that of a commit, or the model is not in the cache.
    """
    run = comparison.run
    if not run.sha:
        raise UserError(f"{WORKSPACE}: expected a commit, which can be found again later.")
    if comparison.stale:
        problem = f"{LOCK} is of another run, since {format_list(comparison.stale)} changed"
        raise UserError(f"{run.label}: {problem}. Run `dvc repro`, and commit the results.")
    content = cached_output(MODEL_FILE, run.lock)
    if content is None:
        problem = f"DVC's cache does not have the version of {run.label}"
        raise UserError(f"{MODEL_FILE}: {problem}. Check the commit out, and run `dvc pull`.")
    if Run(WORKSPACE).uncommitted:
        print(f"warn: there are uncommitted changes, which are not part of {run.label}")
    return content


def log_model(run: Run, content: bytes, name: str) -> int:
    """Log a model with the code of the library, without pickle, and return its new version."""
    import mlflow
    import pandas as pd
    from mlflow.types.schema import AnyType, ColSpec, Schema

    schema, metadata = read_schema(MODEL_FILE, content)
    # A column may have integers in one data frame, and floats in the next one with a gap. MLflow
    # would refuse one of them if the column had a type. The model itself checks every cell.
    names = (*schema.features, *schema.ignore)
    inputs = [ColSpec(AnyType(), name, required=name in schema.features) for name in names]
    task, ends = schema.learning_task, np.empty((0, 2), "f4")
    empty = np.empty((0, task.n_outputs), "f4")
    columns = task.prediction_columns(empty, 0.5, ends if metadata.intervals else None)
    outputs = [ColSpec(TYPES.get(str(cells.type), "string"), k) for k, cells in columns.items()]
    summaries = training_rows(MODEL_FILE, metadata).summaries.items()
    row = {name: example_cell(schema.columns[name], values) for name, values in summaries}
    packages = LOCKED.findall(run.read("requirements.txt"))
    with scratch_folder() as folder:
        file = Path(folder, MODEL_FILE.name)
        file.write_bytes(content)
        model = mlflow.pyfunc.log_model(
            name="model",
            python_model=Path(__file__).with_name("mlflow_model.py"),
            code_paths=[LIBRARY],
            artifacts={"model": str(file)},
            signature=mlflow.models.ModelSignature(Schema(inputs), Schema(outputs)),
            input_example=pd.DataFrame([row]),
            pip_requirements=[f"mlflow-skinny=={mlflow.__version__}", *packages],
            registered_model_name=name,
        )
    return model.registered_model_version


def example_cell(column: Column, summary: ColumnSummary) -> object:
    if column.kind == "datetime" and column.formats[0] not in EPOCHS:
        return date(2024, 5, 31).strftime(column.formats[0].replace(ISO, "%Y-%m-%d"))
    return summary.background[len(summary.background) // 2] if summary.background else "text"
