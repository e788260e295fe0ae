"""A real server on loopback, asked by real clients: the answers of predict, within bounds."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest

from tests.helpers import PROJECT, begin, call, must, run, wait_until

BOUNDS = ("--max-body", "0.05", "--max-waiting", "4", "--allow-host", "*.example.org")
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{}\r\n\r\n".format
PORT = re.compile(r"http://127\.0\.0\.1:(\d+)$")


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks of the kernel of Linux")


class Server(NamedTuple):
    """One that runs."""

    port: int
    process: subprocess.Popen[str]

    def ask(
        self, path: str, body: Any = None, source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer, or its text."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=60, source_address=(source, 0)
        )
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | headers
        connection.request("GET" if body is None else "POST", path, content, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        is_json = answer.headers["content-type"] == "application/json"
        return answer.status, json.loads(text) if is_json else text

    def send(self, content: bytes) -> socket.socket:
        """A connection on which this has been sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(content)
        return connection


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Server]:
    """A server of the model in a folder, stopped at the end by its process id."""
    command = ("python", "-m", "commands.serve", *arguments, "--port", "0")
    process = begin(folder, *command, PYTHONPATH=str(PROJECT))
    try:
        assert process.stdout
        found = PORT.search(process.stdout.readline().strip())
        assert found, process.communicate()
        yield Server(int(found[1]), process)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def server(short: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of a model alone in a folder."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(short / "models/model.keras", folder / "m.keras")
    with serving(folder, "m.keras", *BOUNDS) as found:
        yield found


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """As JSON: numbers are numbers, a gap is null."""
    found: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return found


ROW = {
    **{"Pregnancies": 6, "Glucose": 148, "BloodPressure": 72, "SkinThickness": 35},
    **{"Insulin": None, "BMI": 33.6, "DiabetesPedigreeFunction": 0.627, "Age": 50},
}


@pytest.mark.parametrize(
    "name", ["words", *(pytest.param(name, marks=pytest.mark.slow) for name in ("values", "wine"))]
)
def test_answers_are_those_of_predict_to_the_last_bit(
    trained: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    """All rows in one request, one row in each, and many clients at once."""
    project, new, out = trained(name), tmp_path / "new.csv", tmp_path / "out.csv"
    raw = pd.read_csv(project / "data/raw/t.csv")[:100]
    frame = raw.drop(columns=raw.columns[-1])
    frame.to_csv(new, index=False)
    call(project, "commands.predict", str(new), "--explain", "2", "-o", str(out))
    expected = pd.read_csv(out)
    explained = [name for name in expected if name.startswith("reason_")]
    rows = rows_of(frame)
    with serving(project) as server:
        status, found = server.ask("/predict?explain=2", {"rows": rows})
        assert status == 200
        together = pd.DataFrame(found["rows"])
        assert list(together) == list(expected)
        kept = expected.dtypes.to_dict()  # identifiers are texts in JSON
        pd.testing.assert_frame_equal(together.astype(kept), expected, check_exact=True)
        plain = found["rows"]
        for row in plain:
            for name in explained:
                del row[name]
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda row: server.ask("/predict", [row]), rows[:40]))
        assert [answer["rows"][0] for _, answer in answers] == plain[:40]


def test_wrong_rows_are_told_by_row_and_column(server: Server) -> None:
    status, found = server.ask("/predict", [ROW, ROW | {"Age": 500}, ROW | {"Glucose": "high"}])
    assert status == 422
    assert found["errors"] == [
        "row 2, column Age: found '500'; expected 18 to 120",
        "row 3, column Glucose: found 'high'; expected a finite number",
    ]
    other = {"Agee": 3, **ROW}
    del other["Age"]
    status, found = server.ask("/predict", {"rows": [other, 3]})
    assert status == 422
    assert found["errors"] == [
        "row 1: missing: Age",
        "row 1: no column 'Agee' is declared. Did you mean 'Age'?",
        "row 2: found '3'; expected an object",
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"rows": []}', 400),
        (b'{"rows": [{"Age": NaN}]}', 400),
        (b"[" * 40_000, 400),
        (b'"\xff"', 400),
        (b'[{"Age": ' + b"9" * 5000 + b"}]", 400),
        (b" " * 60_000, 413),
    ],
)
def test_what_is_no_rows_is_refused_and_the_server_goes_on(
    server: Server, body: bytes, status: int
) -> None:
    found, answer = server.ask("/predict", body)
    assert (found, len(answer["errors"])) == (status, 1)
    assert server.ask("/predict", [ROW])[0] == 200


def test_the_document_says_what_is_asked_and_answered(server: Server) -> None:
    _, document = server.ask("/schema")
    models, post = document["components"]["schemas"], document["paths"]["/predict"]["post"]
    named, alone = post["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert named == {"$ref": "#/components/schemas/Rows"}
    assert models["Rows"]["required"] == ["rows"]
    assert alone["items"] == models["Rows"]["properties"]["rows"]["items"]
    assert alone["items"] == {"$ref": "#/components/schemas/Row"}
    row = models["Row"]
    assert row["required"] == list(ROW)
    assert row["properties"]["Insulin"]["anyOf"] == [{"type": "number"}, {"type": "null"}]
    age = {"title": "Age", "type": "integer", "minimum": 18, "maximum": 120}
    assert row["properties"]["Age"] == age
    (explain,) = post["parameters"]
    assert (explain["name"], explain["required"]) == ("explain", False)
    assert set(post["responses"]) == {"200", "400", "408", "413", "415", "422", "503"}
    errors = post["responses"]["422"]["content"]["application/json"]["schema"]
    assert errors == {"$ref": "#/components/schemas/Errors"}
    answers = post["responses"]["200"]["content"]["application/json"]["schema"]
    assert answers == {"$ref": "#/components/schemas/Answers"}
    kinds = {name: of["type"] for name, of in models["Answer"]["properties"].items()}
    assert kinds == {"predicted": "integer", "probability_1": "number"}


def test_the_root_names_every_path_of_the_server(server: Server) -> None:
    status, paths = server.ask("/")
    assert status == 200
    assert paths["POST /predict"] == "Predict Outcome of rows"
    assert {*paths} == {"GET /schema", "POST /predict", "GET /health", "GET /metrics"}
    for method, path in map(str.split, paths):
        assert server.ask(path, [ROW] if method == "POST" else None)[0] == 200


def test_health_and_metrics(server: Server) -> None:
    status, health = server.ask("/health")
    assert (status, health["status"], health["model"]["trained_on"]["rows"]) == (200, "ok", 514)
    head = Request(f"http://127.0.0.1:{server.port}/health", method="HEAD")
    with urlopen(head, timeout=60) as answer:
        assert (answer.status, answer.read()) == (200, b"")

    def counted(name: str) -> float:
        _, text = server.ask("/metrics")
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    before = counted("tabular_rows_total"), counted('tabular_failed_cells_total{check="range"')
    server.ask("/predict", [ROW, ROW])
    server.ask("/predict", [ROW | {"Age": 7}])
    after = counted("tabular_rows_total"), counted('tabular_failed_cells_total{check="range"')
    assert after == (before[0] + 2, before[1] + 1)
    assert counted('tabular_requests_total{path="/predict",status="422"}') >= 1
    assert server.ask("/predict?explain=x", [ROW])[0] == 400
    assert server.ask("/nothing") == (404, {"errors": ["Not Found"]})


@needs_linux
def test_slow_bodies_give_their_places_to_others(server: Server) -> None:
    """Four have places; another address gets one at once, their own in a moment."""
    head = POST("/predict", "Content-Length: 20").encode()
    with ExitStack() as stack:
        slow = [stack.enter_context(server.send(head)) for _ in range(4)]
        wait_until(lambda: server.ask("/metrics")[1], lambda said: "predict_waiting 4.0" in said)
        assert server.ask("/predict", [ROW], "127.0.0.2")[0] == 200
        assert slow[0].recv(12) == b"HTTP/1.1 408"
        stack.enter_context(server.send(head))
        wait_until(lambda: server.ask("/metrics")[1], lambda said: "predict_waiting 4.0" in said)
        wait_until(lambda: server.ask("/predict", [ROW])[0], lambda status: status == 200, 5)


@pytest.mark.parametrize(("path", "status"), [("/predict", 413), ("/nothing", 404)])
def test_a_body_without_end_is_answered_and_read_no_more(
    server: Server, path: str, status: int
) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with server.send(POST(path, "Transfer-Encoding: chunked").encode() + chunk) as connection:
        answer = connection.recv(2**16)
        assert answer.startswith(b"HTTP/1.1 %d" % status)
        assert b"connection: close" in answer
        with pytest.raises(ConnectionError):
            connection.sendall(chunk * 500)


def test_a_page_of_another_site_gets_no_answer(server: Server) -> None:
    """Neither by a name that leads here, nor by what a browser sends unasked."""
    for host, status in {
        "localhost": 200,
        f"127.0.0.1:{server.port}": 200,
        "model.example.org:80": 200,
        "evil.example": 400,
        "localhost.evil.example": 400,
    }.items():
        assert (host, server.ask("/predict", [ROW], Host=host)[0]) == (host, status)
    for kind, status in {
        "Application/JSON; charset=utf-8": 200,
        "text/plain": 415,
        "text/plain; application/json": 415,
        "": 415,
    }.items():
        assert (kind, server.ask("/predict", [ROW], **{"Content-Type": kind})[0]) == (kind, status)


def test_a_body_of_two_lengths_is_refused_with_what_is_behind_it(server: Server) -> None:
    lengths = POST("/predict", "Content-Length: 5\r\nTransfer-Encoding: chunked").encode()
    with server.send(lengths + b"0\r\n\r\n" + HEALTH) as connection:
        found = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert found.startswith(b"HTTP/1.1 400")
    assert found.count(b"HTTP/1.1") == 1


def test_connections_that_ask_nothing_end(server: Server) -> None:
    """Also where a head comes a byte at a time."""

    def ends(begun: bytes) -> bool:
        with server.send(begun) as connection, suppress(ConnectionError):
            connection.settimeout(0.2)
            for _ in range(100):
                with suppress(TimeoutError):
                    if not connection.recv(2**16):
                        return True
                if begun:
                    connection.sendall(b"a")
            return False
        return True

    begun = b"", HEALTH[:20], HEALTH + HEALTH[:20]
    with ThreadPoolExecutor(3) as clients:
        assert list(clients.map(ends, begun)) == [True] * 3


@needs_linux
@pytest.mark.slow
def test_a_client_that_does_not_read_its_answer_goes(server: Server) -> None:
    body = json.dumps([ROW] * 300).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(POST("/predict", f"Content-Length: {len(body)}").encode() + body)
        time.sleep(40)
        with connection.makefile("rb") as answer, pytest.raises(ConnectionError):
            answer.read()


def test_what_is_asked_before_a_stop_is_answered(words: Path) -> None:
    """Four wait; a fifth is told to come again."""
    row = {"id": "1", "cast": 0.5, "colour": "red", "zip/code": "00123", "flag": True, "count": 5}
    with serving(words, "--max-waiting", "4") as server, ThreadPoolExecutor(4) as clients:
        asked = [clients.submit(server.ask, "/predict?explain=5", [row] * 300) for _ in range(4)]
        wait_until(lambda: server.ask("/metrics")[1], lambda said: "predict_waiting 4.0" in said)
        assert server.ask("/predict", [row])[0] == 503
        os.kill(server.process.pid, signal.SIGTERM)
        assert [future.result()[0] for future in asked] == [200] * 4
        out, err = server.process.communicate(timeout=30)
        assert (server.process.returncode, out, err) == (0, "Stopped\n", "")


def test_a_port_in_use_and_a_missing_model_are_told(server: Server, tmp_path: Path) -> None:
    serve = ("python", "-m", "commands.serve")
    done = run(tmp_path, *serve, "m.keras", PYTHONPATH=str(PROJECT))
    assert (done.returncode, done.stderr[:22]) == (1, "error: m.keras: no mod")
    taken = run(PROJECT, *serve, "--port", str(server.port))
    assert taken.returncode == 1
    assert taken.stderr == f"error: 127.0.0.1:{server.port}: Address already in use\n"


LOADED = """
import numpy as np, pandas as pd, tensorflow as tf
rows = pd.read_csv("new.csv")
predict = tf.saved_model.load("served/1").signatures["predict_rows"]
columns = {n: tf.constant(rows[n], tf.float64) for n in rows}
np.save("outputs.npy", predict(**columns)["outputs"])
"""


@pytest.mark.slow
def test_tensorflow_alone_serves_the_export(workspace: Path) -> None:
    """It agrees with predict to 1e-6."""
    rows = pd.read_csv(workspace / "data/raw/diabetes.csv").drop(columns="Outcome")
    rows.to_csv(workspace / "new.csv", index=False)
    said = must(workspace, "python", "-m", "commands.export", "served/1")
    assert said == "served/1: signature predict_rows, an input for each column\n"
    again = run(workspace, "python", "-m", "commands.export", "served/1")
    assert "served/1: is there already" in again.stderr
    call(workspace, "commands.predict", "new.csv", "-o", "out.csv")
    expected = pd.read_csv(workspace / "out.csv")["probability_1"].to_numpy()
    must(workspace, "python", "-c", LOADED)
    assert np.abs(np.load(workspace / "outputs.npy")[:, 0] - expected).max() < 1e-6
