"""A server makes the same predictions as `predict`, within its limits, and logs its answers."""

import hashlib
import http.client
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import keras_tabular
from tests.commands import call_command, wait_until
from tests.projects import change_settings, copy_project
from tests.servers import ROW, Server, run_after_mounts, start_server

LIMITS = ("--max-body", "0.05", "--allow-host", "*.example.org", "--no-page")
LOG = ("--log", "answers", "--model-version", "v1.2.0")


@pytest.fixture(scope="module")
def server(short_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve a model from a folder that contains only the model."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(short_run / "models/model.keras", folder / "m.keras")
    with start_server(folder, "m.keras", *LIMITS, *LOG) as server:
        yield server


def read_log(folder: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the inputs and the answer of each line of a log, whose last line may be incomplete."""
    lines = [line for file in sorted(folder.iterdir()) for line in file.open("rb")]
    answers = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [(answer["inputs"], answer["answer"]) for answer in answers]


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
    """One request has all rows, and many clients send one row each. All answers are logged."""
    project, new, out = trained_project(name), tmp_path / "new.csv", tmp_path / "out.csv"
    raw, log = pd.read_csv(project / "data/raw/t.csv")[:100], tmp_path / "answers"
    frame = raw.drop(columns=raw.columns[-1])
    frame.to_csv(new, index=False)
    call_command(project, "predict", new, "--explain", "2", "-o", out)
    expected = pd.read_csv(out)
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    with start_server(project, "--log", str(log)) as server, ThreadPoolExecutor(8) as clients:
        explained = server.send("/predict?explain=2", {"rows": rows})[1]["rows"]
        responses = list(clients.map(lambda row: server.send("/predict", [row]), rows * 9))
        counts = server.read_metrics("tabular_predicted_")
    answers = pd.DataFrame(explained).astype(expected.dtypes.to_dict())  # identifiers are texts
    pd.testing.assert_frame_equal(answers, expected, check_exact=True)
    reasons = [column for column in expected if column.startswith("reason_")]
    plain = pd.DataFrame(explained).drop(columns=reasons).to_dict("records")
    single = [answer["rows"][0] for _, answer in responses]
    assert single == plain * 9

    logged = read_log(log)
    assert logged[: len(rows)] == list(zip(rows, explained, strict=True))
    answered = zip(rows * 9, single, strict=True)
    assert sorted(map(str, logged[len(rows) :])) == sorted(map(str, answered))
    predicted = [answer["predicted"] for _, answer in logged]
    if name == "mixed_regression":
        assert counts["tabular_predicted_value_sum"] == pytest.approx(sum(predicted))
        buckets = [v for metric, v in counts.items() if "_bucket" in metric]
        assert buckets == sorted(buckets)
        assert max(np.diff(buckets)) < len(predicted) / 2
    else:
        for value, count in Counter(predicted).items():
            assert counts[f'tabular_predicted_total{{class="{value}"}}'] == count


def test_a_changed_schema_changes_no_prediction_of_a_trained_model(
    trained_project: Callable[[str], Path], tmp_path: Path
) -> None:
    """The command, the API and the server use the schema and the policies in the model's file."""
    project = copy_project(trained_project("shops"), tmp_path / "project")
    frame = pd.read_csv(project / "data/raw/t.csv", dtype=str)[:50].drop(columns="sales")
    frame.to_csv(project / "new.csv", index=False)
    frame.assign(shop_id=None).to_csv(project / "incomplete.csv", index=False)

    call_command(project, "predict", "new.csv", "-o", "before.parquet")
    day, shop = {"timezone": "Asia/Tokyo"}, {"replace": {"1057": "1027"}}
    columns = {"columns": {"day": day, "shop_id": shop}}
    change_settings(project, columns, validate={"missing": "warn"})
    call_command(project, "predict", "new.csv", "-o", "after.parquet")
    expected = pd.read_parquet(project / "before.parquet")
    assert pd.read_parquet(project / "after.parquet").equals(expected)
    assert keras_tabular.load_model(project / "models/model.keras").predict(frame).equals(expected)
    rows = json.loads(frame.to_json(orient="records"))
    with start_server(project) as server:
        _, answer = server.send("/predict", rows)
        assert server.send("/predict", [rows[0] | {"shop_id": None}])[0] == 422
    assert pd.DataFrame(answer["rows"]).astype(expected.dtypes.to_dict()).equals(expected)
    with pytest.raises(SystemExit, match="column shop_id: expected a value in every row"):
        call_command(project, "predict", "incomplete.csv", "-o", "after.parquet")


OTHER = {name: value for name, value in ROW.items() if name != "Age"} | {"Agee": 3}
MISTAKES = [ROW | {"Age": 500}, OTHER | {"Glucose": "high"}, 3, ROW | {"Age": 500}]
SURROGATE = json.dumps([ROW, ROW | {"Outcome": "\ud800"}]).encode()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ([ROW], {"Host": "model.example.org:80"}, 200),
        ([ROW], {"Host": "evil.example"}, 400),  # a name that leads to this address
        ([ROW], {"Content-Type": "text/plain"}, 415),  # as a page of another site sends it
        (b'[{"Age": 5', {}, 400),
        (b'{"rows": []}', {}, 400),
        (b" " * 60_000, {}, 413),
    ],
)
def test_a_request_is_answered_or_refused(
    server: Server, body: Any, headers: dict[str, str], status: int
) -> None:
    assert server.send("/predict", body, **headers)[0] == status
    assert server.send("/predict", [ROW])[0] == 200


@pytest.mark.parametrize(
    ("body", "places"),
    [
        (
            {"rows": MISTAKES},
            [
                *("row 1, column Age", "row 2: missing: Age"),
                "row 2: no column 'Agee' is declared. Did you mean 'Age'?",
                *("row 2, column Glucose", "row 3", "There may be more."),
            ],
        ),
        (
            [ROW | {"\ud800": [], "BMI": [1]}],
            [r"row 1: no column '\ud800' is declared.", "row 1, column BMI"],
        ),
        (SURROGATE, ["row 2, column Outcome"]),
        (SURROGATE.replace(rb"\ud800", b"\xed\xa0\x80"), ["row 2, column Outcome"]),
    ],
)
def test_every_mistake_has_a_line(server: Server, body: Any, places: list[str]) -> None:
    status, answer = server.send("/predict", body)
    assert status == 422
    assert [error.partition(": expected ")[0] for error in answer["errors"]] == places


def test_the_root_describes_every_path_of_the_server(server: Server) -> None:
    status, document = server.send("/")
    assert (status, document) == server.send("/schema")
    assert document == server.send("/", Accept="text/html")[1]
    assert "x-model" not in document["paths"]["/predict"]["post"]
    assert {*document["paths"]} == {"/predict", "/health", "/metrics"}
    request = document["paths"]["/predict"]["post"]["requestBody"]
    rows, _ = request["content"]["application/json"]["schema"]["anyOf"]
    assert rows["items"]["required"] == list(ROW)


def test_health_describes_the_model_and_metrics_count_rows(server: Server) -> None:
    status, health = server.send("/health")
    assert (status, health["status"], health["model"]["trained_on"]["rows"]) == (200, "ok", 514)
    assert server.send("/health", method="HEAD") == (200, "")
    md5 = hashlib.md5((server.folder / "m.keras").read_bytes()).hexdigest()
    model = {"version": "v1.2.0", "md5": md5}
    assert server.send("/predict", [ROW])[1]["model"] == model
    assert health["model"].items() >= model.items()
    (log,) = (server.folder / "answers").iterdir()
    assert json.loads(log.read_text().splitlines()[-1])["model"] == model
    info = f'tabular_model_info{{file="m.keras",md5="{md5}",version="v1.2.0"}}'
    assert server.read_metrics("tabular_model_info") == {info: 1}

    def count(name: str) -> float:
        return sum(server.read_metrics(name).values())

    rows, failed = "tabular_rows_total", 'tabular_failed_cells_total{check="range"'
    rows_before, failed_before = count(rows), count(failed)
    server.send("/predict", [ROW, ROW])
    server.send("/predict", [ROW | {"Age": 7}])
    assert (count(rows), count(failed)) == (rows_before + 2, failed_before + 1)
    assert count('tabular_requests_total{path="/predict",status="422"}') >= 1
    assert server.send("/predict?explain=x", [ROW])[0] == 422
    assert server.send("/nothing") == (404, {"errors": ["Not Found"]})


def test_answers_are_sent_while_the_log_cannot_be_written(server: Server) -> None:
    """The lines are lost and counted. The next ones are complete again."""
    expected, folder = server.send("/predict", [ROW]), server.folder / "answers"
    before, lost = read_log(folder), server.read_log_state()["lost_lines"] + 3
    moved = folder.rename(server.folder / "moved")
    assert [server.send("/predict", [ROW]) for _ in range(3)] == [expected] * 3
    wait_until(lambda: server.read_log_state()["lost_lines"] == lost)
    assert server.read_log_state()["error"] == "No such file or directory"
    moved.rename(folder)
    assert server.send("/predict", [ROW]) == expected
    wait_until(lambda: server.read_log_state()["error"] is None)
    name = "tabular_log_lost_lines_total"
    assert server.read_metrics(name) == {name: lost}
    assert read_log(folder) == [*before, (ROW, expected[1]["rows"][0])]


def test_a_full_disk_and_its_repair_are_reported_once(short_run: Path, tmp_path: Path) -> None:
    """The log is on a disk of 16 kB in a mount namespace."""
    disk = "mount -t tmpfs -o size=16k tmpfs answers"
    (tmp_path / "answers").mkdir()
    wrapper = run_after_mounts(tmp_path, disk)
    model = str(short_run / "models/model.keras")
    with start_server(tmp_path, model, *LOG, wrapper=wrapper) as server:
        folder = Path(f"/proc/{server.process.pid}/root{tmp_path}/answers")
        answers = [server.send("/predict", [ROW] * 3) for _ in range(30)]
        assert server.read_log_state()["error"] == "No space left on device"
        assert [status for status, _ in answers] == [200] * 30
        (log,) = folder.iterdir()
        # During a failure, no answer waits until its lines are counted as lost and removed.
        wait_until(lambda: server.read_log_state()["lost_lines"] + len(read_log(folder)) == 90)
        assert log.read_bytes().endswith(b"\n")
        log.write_bytes(b"")
        server.send("/predict", [ROW])
        wait_until(lambda: server.read_log_state()["error"] is None)
        assert len(read_log(folder)) == 1
        server.process.kill()
        _, messages = server.process.communicate()
    assert messages.count("No space left on device") == 1
    assert messages.count("--log answers: is writ") == 1


def test_a_folder_that_cannot_be_written_is_refused(short_run: Path) -> None:
    log = "models/model.keras/answers"
    with pytest.raises(SystemExit, match=f"--log {log}: cannot be written: Not a directory"):
        call_command(short_run, "serve", "--log", log, "--port", "0")


def test_every_answer_before_a_kill_is_in_the_log(short_run: Path, tmp_path: Path) -> None:
    model, received = str(short_run / "models/model.keras"), []
    with start_server(tmp_path, model, *LOG) as server, ThreadPoolExecutor(8) as clients:

        def request(row: dict[str, Any]) -> None:
            with suppress(OSError, http.client.HTTPException):
                status, answer = server.send("/predict", [row])
                assert status == 200
                received.append((row, answer["rows"][0]))
            if len(received) >= 100:
                server.process.kill()

        rows = [ROW | {"DiabetesPedigreeFunction": n / 400} for n in range(400)]
        list(clients.map(request, rows))
    assert 100 <= len(received) < 400
    logged = read_log(tmp_path / "answers")
    assert [line for line in received if line not in logged] == []


def test_logged_rows_get_the_logged_predictions_again(binary_project: Path, tmp_path: Path) -> None:
    shutil.copy(binary_project / "models/model.keras", tmp_path / "m.keras")
    frame = pd.read_csv(binary_project / "data/raw/t.csv", dtype={"zip/code": str})[:200]
    rows = json.loads(frame.drop(columns="y").to_json(orient="records", double_precision=15))
    with start_server(tmp_path, "m.keras", "--log", "answers") as server:
        for part in (rows[:150], rows[150:]):
            assert server.send("/predict", part)[0] == 200
    inputs, logged = zip(*read_log(tmp_path / "answers"), strict=True)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, inputs)))
    call_command(tmp_path, "predict", "m.keras", "rows.jsonl", "-o", "again.csv")
    expected = pd.read_csv(tmp_path / "again.csv")
    answers = pd.DataFrame(logged).astype(expected.dtypes.to_dict())
    pd.testing.assert_frame_equal(answers, expected, check_exact=True)
