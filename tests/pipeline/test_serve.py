"""A server makes the same predictions as the command `predict`, within its limits."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from tests.commands import call_main, check_output, run_command, start_command
from tests.helpers import PROJECT

LIMITS = ("--max-body", "0.05", "--allow-host", "*.example.org")
PORT = re.compile(r"http://127\.0\.0\.1:(\d+)$")


class Server(NamedTuple):
    """A running server."""

    port: int
    process: subprocess.Popen[str]

    def send(
        self, path: str, body: Any = None, method: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        """Send a request; return the status of the response, and its JSON or its text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | headers
        connection.request(method or ("GET" if body is None else "POST"), path, content, headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        is_json = text and response.headers["content-type"] == "application/json"
        return response.status, json.loads(text) if is_json else text


@contextmanager
def start_server(folder: Path, *arguments: str) -> Iterator[Server]:
    """Serve the model in a folder until the end of the block."""
    command = ("python", "-m", "keras_tabular", "serve", *arguments, "--port", "0")
    process = start_command(folder, *command, PYTHONPATH=str(PROJECT))
    try:
        assert process.stdout
        address = PORT.search(process.stdout.readline().strip())
        assert address, process.communicate()
        yield Server(int(address[1]), process)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def server(short_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve a model from a folder that contains only the model."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(short_run / "models/model.keras", folder / "m.keras")
    with start_server(folder, "m.keras", *LIMITS) as server:
        yield server


ROW = {
    **{"Pregnancies": 6, "Glucose": 148, "BloodPressure": 72, "SkinThickness": 35},
    **{"Insulin": None, "BMI": 33.6, "DiabetesPedigreeFunction": 0.627, "Age": 50},
}


@pytest.mark.parametrize(
    "name",
    [
        "mixed_binary",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("mixed_regression", "wine")),
    ],
)
def test_predictions_are_those_of_the_command_to_the_last_bit(
    trained_project: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    """One request has all rows, and many clients send requests with one row each."""
    project, new, out = trained_project(name), tmp_path / "new.csv", tmp_path / "out.csv"
    raw = pd.read_csv(project / "data/raw/t.csv")[:100]
    frame = raw.drop(columns=raw.columns[-1])
    frame.to_csv(new, index=False)
    call_main(project, "keras_tabular.cli.predict", str(new), "--explain", "2", "-o", str(out))
    expected = pd.read_csv(out)
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    with start_server(project) as server, ThreadPoolExecutor(8) as clients:
        status, explained = server.send("/predict?explain=2", {"rows": rows})
        single = list(clients.map(lambda row: server.send("/predict", [row]), rows[:40]))
    assert status == 200
    answers = pd.DataFrame(explained["rows"])
    assert list(answers) == list(expected)
    answers = answers.astype(expected.dtypes.to_dict())  # identifiers are texts in JSON
    pd.testing.assert_frame_equal(answers, expected, check_exact=True)
    plain = [
        {name: value for name, value in row.items() if not name.startswith("reason_")}
        for row in explained["rows"]
    ]
    assert [answer["rows"][0] for _, answer in single] == plain[:40]


OTHER = {name: value for name, value in ROW.items() if name != "Age"} | {"Agee": 3}
OUTSIDE = "row 2, column Age: expected 18 to 120, got '500'"
NO_NUMBER = "row 3, column Glucose: expected a finite number, got 'high'"
SIMILAR = "row 1: no column 'Agee' is declared. Did you mean 'Age'?"
NO_ROW = "row 2: expected an object, got '3'"


@pytest.mark.parametrize(
    ("body", "headers", "status", "errors"),
    [
        ([ROW], {"Host": "model.example.org:80"}, 200, []),
        ([ROW], {"Host": "evil.example"}, 400, []),  # a name that leads to this address
        ([ROW], {"Content-Type": "text/plain"}, 415, []),  # as a page of another site sends it
        (b'[{"Age": 5', {}, 400, []),
        (b'{"rows": []}', {}, 400, []),
        (b" " * 60_000, {}, 413, []),
        ([ROW, ROW | {"Age": 500}, ROW | {"Glucose": "high"}], {}, 422, [OUTSIDE, NO_NUMBER]),
        ({"rows": [OTHER, 3]}, {}, 422, ["row 1: missing: Age", SIMILAR, NO_ROW]),
    ],
)
def test_a_wrong_request_is_refused_with_a_line_for_each_mistake(
    server: Server, body: Any, headers: dict[str, str], status: int, errors: list[str]
) -> None:
    actual_status, answer = server.send("/predict", body, **headers)
    assert actual_status == status
    assert not errors or answer["errors"] == errors
    assert server.send("/predict", [ROW])[0] == 200


def test_the_root_describes_every_path_of_the_server(server: Server) -> None:
    status, document = server.send("/")
    assert (status, document) == server.send("/schema")
    assert {*document["paths"]} == {"/predict", "/health", "/metrics"}
    post = document["paths"]["/predict"]["post"]
    assert post["description"].startswith("Predict all rows of a request")
    rows, _ = post["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert rows["items"]["required"] == list(ROW)
    assert set(post["responses"]) == {"200", "4XX"}


def test_health_describes_the_model_and_metrics_count_rows(server: Server) -> None:
    status, health = server.send("/health")
    assert (status, health["status"], health["model"]["trained_on"]["rows"]) == (200, "ok", 514)
    assert server.send("/health", method="HEAD") == (200, "")

    def count(name: str) -> float:
        _, text = server.send("/metrics")
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    rows, failed = "tabular_rows_total", 'tabular_failed_cells_total{check="range"'
    before = count(rows), count(failed)
    server.send("/predict", [ROW, ROW])
    server.send("/predict", [ROW | {"Age": 7}])
    assert (count(rows), count(failed)) == (before[0] + 2, before[1] + 1)
    assert count('tabular_requests_total{path="/predict",status="422"}') >= 1
    assert server.send("/predict?explain=x", [ROW])[0] == 422
    assert server.send("/nothing") == (404, {"errors": ["Not Found"]})


LOAD_SAVED_MODEL = """
import numpy as np, pandas as pd, tensorflow as tf
rows = pd.read_csv("new.csv")
predict = tf.saved_model.load("served/1").signatures["predict_rows"]
columns = {n: tf.constant(rows[n], tf.float64) for n in rows}
np.save("outputs.npy", predict(**columns)["outputs"])
"""


@pytest.mark.slow
def test_tensorflow_loads_the_export(workspace: Path) -> None:
    """Its outputs differ from those of `predict` by less than 1e-6."""
    rows = pd.read_csv(workspace / "data/raw/diabetes.csv").drop(columns="Outcome")
    rows.to_csv(workspace / "new.csv", index=False)
    output = check_output(workspace, "python", "-m", "keras_tabular", "export", "served/1")
    assert output == "served/1: the signature predict_rows has an input for each column\n"
    again = run_command(workspace, "python", "-m", "keras_tabular", "export", "served/1")
    assert "served/1: this folder exists already" in again.stderr
    call_main(workspace, "keras_tabular.cli.predict", "new.csv", "-o", "out.csv")
    expected = pd.read_csv(workspace / "out.csv")["probability_1"].to_numpy()
    check_output(workspace, "python", "-c", LOAD_SAVED_MODEL)
    assert np.abs(np.load(workspace / "outputs.npy")[:, 0] - expected).max() < 1e-6
