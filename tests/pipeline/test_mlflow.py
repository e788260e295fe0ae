"""A committed run in MLflow: its scores, its files, and a model that predicts as `predict` does."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from keras_tabular.core.nested import flatten
from tests.commands import call_command, call_main, check_output, start_command
from tests.documentation import MLFLOW_VARIABLES, find_free_port
from tests.projects import SHORT_TRAINING, change_settings, clone, commit_all, read_json
from tests.tables import load_table

CLIENT = """
import json, sys, mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
model.predict(pandas.read_parquet(sys.argv[2])).to_parquet(sys.argv[3])
model.predict(model.input_example)
signature = model.metadata.signature
print(json.dumps([signature.inputs.to_dict(), signature.outputs.to_dict()]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an MLflow server with an SQLite store, and return its address."""
    folder, port = tmp_path_factory.mktemp("server"), find_free_port()
    address = f"http://127.0.0.1:{port}"
    process = start_command(
        folder,
        *("bash", "-c", 'exec "$@" > log 2>&1', "sh", "mlflow", "server", "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination"),
        *(str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port)),
        **MLFLOW_VARIABLES,
    )
    retry = ("--retry", "60", "--retry-connrefused", "--retry-delay", "1")
    check_output(folder, "curl", "--silent", "--fail", *retry, f"{address}/health")
    yield address
    process.terminate()
    process.wait(timeout=60)


@pytest.fixture(scope="module")
def project(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed run of a regression with categories, gaps and an identifier."""
    folder = clone(origin, tmp_path_factory.mktemp("mixed") / "project")
    load_table("mixed_regression").to_csv(folder / "data/raw/mixed.csv", index=False)
    call_command(folder, "infer_schema", "data/raw/mixed.csv", "--target=y")
    slices = {"red (or /)": {"colour": ["red"]}}  # characters that MLflow does not allow
    change_settings(folder, train=SHORT_TRAINING, evaluate={"slices": slices})
    check_output(folder, "dvc", "repro")
    commit_all(folder, "Another table")
    return folder


@pytest.mark.slow
def test_a_run_and_its_model(project: Path, server: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    variables = {"MLFLOW_TRACKING_URI": server}
    command = ("python", "-m", "keras_tabular", "mlflow")
    output = check_output(project, *command, **variables)
    assert output.endswith(", version 1 of the model mixed\n")
    assert " is logged already, as run " in check_output(project, *command, **variables)

    client, head = MlflowClient(server), check_output(project, "git", "rev-parse", "HEAD").strip()
    (version,) = client.search_model_versions("name = 'mixed'")
    run = client.get_run(version.run_id)
    assert (run.info.status, run.data.tags["mlflow.source.git.commit"]) == ("FINISHED", head)
    metrics = run.data.metrics
    assert metrics.items() >= dict(flatten(read_json(project / "metrics/metrics.json"))).items()
    model_keys = {"test.loss_low", "train.mae", "slices.red _or __.mae"}
    baseline_keys = {"baseline.ridge.cross_validation.mae", "baseline.ridge.loss_difference.low"}
    assert model_keys | baseline_keys <= metrics.keys()
    assert run.data.params["train.networks.plain.epochs"] == "3"
    assert "evaluate.slices.red _or __.colour" in run.data.params
    for path in ("params.yaml", "dvc.lock", "data/schema.yaml", "metrics/scores.json"):
        copy = client.download_artifacts(version.run_id, path, str(tmp_path))
        assert Path(copy).read_bytes() == (project / path).read_bytes()
    assert "report.html" in {file.path for file in client.list_artifacts(version.run_id)}

    options = {"dtype": {"zip/code": str, "colour": "category"}, "na_values": "?", "nrows": 50}
    rows = pd.read_csv(project / "data/raw/mixed.csv", **options).drop(columns="y")
    rows.to_parquet(tmp_path / "rows.parquet")
    arguments = ("models:/mixed/1", "rows.parquet", "logged.parquet")
    printed = check_output(tmp_path, "python", "-P", "-c", CLIENT, *arguments, **variables)
    file = tmp_path / "expected.parquet"
    call_command(project, "predict", tmp_path / "rows.parquet", "-o", file)
    logged, expected = pd.read_parquet(tmp_path / "logged.parquet"), pd.read_parquet(file)
    pd.testing.assert_frame_equal(logged, expected, check_exact=True)
    inputs, outputs = json.loads(printed)
    required = {column["name"]: column["required"] for column in inputs}
    assert required == {name: name != "id" for name in rows}
    assert [column["name"] for column in outputs] == ["predicted", "low", "high"]


def test_refusals(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent to a server unless the run is that of a commit."""

    def expect_error(start: str, *arguments: str) -> None:
        with pytest.raises(SystemExit, match=f"^error: {start}"):
            call_main(workspace, "keras_tabular.tracking.mlflow", *arguments)

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    expect_error("MLFLOW_TRACKING_URI: expected the address of a ")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    expect_error("workspace: expected a commit", "workspace")
    shutil.move(workspace / ".dvc/cache", workspace / ".dvc/other")
    expect_error(r"models/model\.keras: DVC's cache does not have the ")
    change_settings(workspace, split={"seed": 8})
    (workspace / "metrics/scores.json").open("a").write("\n")
    commit_all(workspace, "Another seed")
    expect_error(r"\w{7}: dvc.lock is of another run, since split.seed, metrics/scores.json ")
