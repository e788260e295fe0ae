"""What docs/serving.md says about a server holds for real processes."""

import hashlib
import http.client
import json
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import packages_distributions
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import pytest

from keras_tabular.new_project.lock import locked_packages
from tests.commands import call_command, run_command, wait_until
from tests.helpers import PROJECT
from tests.servers import JSON_HEADER, ROW, Server, run_after_mounts, start_server

MODEL = "models/model.keras"
PREFIX = "/models/diabetes"
PROXY = "from-the-proxy"
LOG = ("--log", "answers")
OPTIONS = (
    "m.keras --max-body 0.05 --max-concurrency 1 --max-rows 4 --request-timeout 5"
    f" --host 0.0.0.0 --allow-host *.example.org --root-path {PREFIX} --no-page"
    " --access-log --log answers --model-version v1.2.0"
)
CLOSED = b""
LOCKED_PACKAGES = locked_packages((PROJECT / "requirements/image.txt").read_text())
NOT_IN_IMAGE = [
    module
    for module, names in packages_distributions().items()
    if not any(name.lower().replace("_", "-") in LOCKED_PACKAGES for name in names)
]
# Predict rows, and then run the command that follows, without some packages.
RUN_WITHOUT_PACKAGES = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
command = sys.argv[4:]  # what follows `python -m`
arguments = "predict m.keras rows.jsonl --explain 1 -o predicted.csv"
sys.argv = ["keras-tabular", *arguments.split()]
from keras_tabular.__main__ import main
main()
sys.argv = command
main()
"""


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 60)


def is_reachable(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def server(
    short_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """Serve a model from a folder of its own, with the packages of the image.

    The process may have 300 descriptors.
    """
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(short_run / MODEL, folder / "m.keras")
    (folder / "rows.jsonl").write_text(json.dumps(ROW))
    limit = ("sh", "-c", 'ulimit -n 300; exec "$@"', "sh")
    wrapper = (*limit, "python", "-c", RUN_WITHOUT_PACKAGES, ",".join(NOT_IN_IMAGE))
    with start_server(folder, *OPTIONS.split(), wrapper=wrapper) as server:
        yield server


def test_the_image_has_every_package_that_is_imported(server: Server) -> None:
    """The server and `predict` need only requirements/image.txt."""
    assert {"dvc", "duckdb", "sklearn", "vl_convert"} < {*NOT_IN_IMAGE}
    answer = server.send("/predict?explain=1", [ROW])[1]["rows"][0]
    predicted = (server.folder / "predicted.csv").read_text().splitlines()[1]
    assert predicted == ",".join(map(str, answer.values()))


OTHER = {name: value for name, value in ROW.items() if name != "Age"} | {"Agee": 3}
MISTAKES = [ROW | {"Age": 500}, OTHER | {"Glucose": "high"}, 3, ROW | {"Age": 500}]
SURROGATE = json.dumps([ROW, ROW | {"Outcome": "\ud800"}]).encode()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ([ROW], {"Host": "model.example.org:80"}, 200),
        ([ROW], {"Host": "evil.example"}, 400),  # a name that leads to this address
        (b'[{"Age": 5, "Age": 6}]', {}, 400),
        ([ROW] * 5, {}, 413),
        # As a page of another site sends it:
        ([ROW], {"Content-Type": "text/plain"}, 415),
        (b'[{"Age": 5', {}, 400),
        (b'{"rows": []}', {}, 400),
        (b" " * 60_000, {}, 413),
    ],
)
def test_a_request_is_answered_or_refused(
    server: Server,
    body: Any,
    headers: dict[str, str],
    status: int,
) -> None:
    assert server.send("/predict", body, **headers)[0] == status
    assert server.send("/predict", [ROW])[0] == 200


@pytest.mark.parametrize(
    ("body", "places"),
    [
        (
            {"rows": MISTAKES},
            [
                "row 1, column Age",
                "row 2: missing: Age",
                "row 2: no column 'Agee' is declared. Did you mean 'Age'?",
                "row 2, column Glucose",
                "row 3",
                "There may be more.",
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
    _, document = server.send("/", Accept="text/html")
    _, schema = server.send("/schema")  # it also has the prefix
    assert document.items() <= schema.items()
    assert "x-model" not in document["paths"]["/predict"]["post"]
    assert server.send("/predict?trial=true", [ROW])[0] == 403
    assert {*document["paths"]} == {"/predict", "/health", "/ready", "/metrics"}
    request = document["paths"]["/predict"]["post"]["requestBody"]
    rows, _ = request["content"]["application/json"]["schema"]["anyOf"]
    assert rows["items"]["required"] == list(ROW)


def test_health_describes_the_model_and_metrics_count_rows(server: Server) -> None:
    status, health = server.send("/health")
    assert status == 200
    assert health["status"] == "ok"
    assert health["model"]["trained_on"]["rows"] == 514
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

    rows = "tabular_rows_total"
    failed = 'tabular_failed_cells_total{check="range"'
    rows_before = count(rows)
    failed_before = count(failed)
    server.send("/predict", [ROW, ROW])
    server.send("/predict", [ROW | {"Age": 7}])
    assert count(rows) == rows_before + 2
    assert count(failed) == failed_before + 1
    assert count('tabular_requests_total{path="/predict",status="422"}') >= 1
    assert server.send("/predict?explain=x", [ROW])[0] == 422
    assert server.send("/nothing") == (404, {"errors": ["Not Found"]})


def test_probes_are_answered_by_address_with_100_idle_connections(
    server: Server,
) -> None:
    """Idle connections that never had a request are closed after five seconds."""
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(server)) for _ in range(100)]
        for path in ("/health", "/metrics"):  # as Kubernetes and Prometheus ask
            assert server.send(path, Host="10.1.2.3:8000")[0] == 200
        for name in ("evil_!.example", "10.1.2.3.evil.example", ""):
            assert server.send("/health", Host=name)[0] == 400
        assert server.send("/health", Host="[2001:db8::1]:8000")[0] == 200
        assert [connection.recv(1) for connection in idle] == [CLOSED] * 100


def read_waiting(server: Server) -> float:
    return sum(server.read_metrics("tabular_predict_waiting").values())


@contextmanager
def slow_request(server: Server) -> Iterator[http.client.HTTPConnection]:
    """Send the headers of a request, and at the end of the block its body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = json.dumps([ROW]).encode()
    connection.putrequest("POST", "/predict")
    for name, value in (JSON_HEADER | {"Content-Length": str(len(body))}).items():
        connection.putheader(name, value)
    connection.endheaders()
    wait_until(lambda: read_waiting(server))
    yield connection
    connection.send(body)
    assert connection.getresponse().status == 200


HALF_HEADER = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
HALF_BODY = HALF_HEADER + b"Content-Type:application/json\r\nContent-Length:9\r\n\r\n["


@pytest.mark.parametrize("sent", [HALF_HEADER, HALF_BODY])
def test_half_sent_requests_shut_nobody_out(server: Server, sent: bytes) -> None:
    """The oldest connections are closed before the process has no descriptor left.

    A half-sent body is a line of the access log, and a pipe has space for some hundred.
    """
    with ExitStack() as stack:
        oldest = stack.enter_context(connect(server))
        for _ in range(200):
            connection = stack.enter_context(connect(server))
            connection.send(sent)
            time.sleep(0.005)  # or the server accepts them only after a second
        assert server.send("/health")[0] == 200
        assert oldest.recv(1) == CLOSED


def test_a_busy_server_refuses_predictions_but_is_healthy(server: Server) -> None:
    """A request waits for its turn. A refusal says when to try again."""
    with ThreadPoolExecutor() as clients:
        with slow_request(server):
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            connection.request("POST", "/predict", json.dumps([ROW]), JSON_HEADER)
            refused = connection.getresponse()
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            assert server.send("/health")[0] == 200
            waiting = clients.submit(server.send, "/predict", [ROW])
            wait_until(lambda: read_waiting(server) == 2)
        assert waiting.result()[0] == 200


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(HALF_HEADER, CLOSED), (HALF_BODY, b"HTTP/1.1 408 Request Timeout")],
)
def test_a_request_that_does_not_end_is_closed(
    server: Server,
    sent: bytes,
    answer: bytes,
) -> None:
    with connect(server) as connection:
        for byte in sent:
            connection.send(bytes([byte]))
        assert connection.recv(1000).partition(b"\r\n")[0] == answer


def test_a_server_behind_a_proxy_finishes_its_requests_on_sigterm(
    server: Server,
) -> None:
    """OpenAPI names the prefix, and the log has the proxy's identifiers.

    The proxy removes the prefix. This is the last test of the server.
    """
    identified = {"X-Request-ID": PROXY}
    answer = server.send("/predict", [ROW])
    assert server.send("/predict", [ROW], **identified) == answer
    assert server.send("/schema", **identified)[1]["servers"] == [{"url": PREFIX}]
    assert server.send("/nothing%0a", **identified)[0] == 404
    assert server.send("/health", **{"X-Request-ID": "a" * 60_000})[0] == 200
    before = len(server.read_log())
    with slow_request(server):
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_reachable(server.port))
        with pytest.raises(TimeoutExpired):  # the server waits for the body
            server.process.wait(timeout=0.5)
    output, messages = server.process.communicate()
    *lines, last = output.splitlines()
    assert len(messages.splitlines()) < 10
    assert server.process.returncode == 0
    assert last == "Stopped"
    assert len(server.read_log()) == before + 1
    requests = [json.loads(line) for line in lines]
    answers = [
        (line["path"], line["status"]) for line in requests if line["request"] == PROXY
    ]
    assert answers == [
        (f"{PREFIX}/predict", 200),
        (f"{PREFIX}/schema", 200),
        (f"{PREFIX}/nothing", 404),
    ]
    assert requests[-1]["path"] == f"{PREFIX}/predict"
    assert requests[-1]["status"] == 200
    # A long identifier is not repeated.
    assert max(len(line["request"]) for line in requests) < 40


def ask_first(port: int) -> tuple[float, float]:
    """Return when a client could connect, and when its request was answered."""
    wait_until(lambda: is_reachable(port))
    connected = time.monotonic()
    assert Server(port, Path()).send("/health")[0] == 200
    return connected, time.monotonic()


def test_a_server_answers_at_once_and_logs_every_answer_before_a_kill(
    short_run: Path,
    tmp_path: Path,
) -> None:
    """A client that can connect does not wait for the model."""
    model = str(short_run / MODEL)
    received = list[Any]()
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ThreadPoolExecutor(8) as clients:
        first = clients.submit(ask_first, port)
        with start_server(tmp_path, model, *LOG, "--port", str(port)) as server:
            connected, answered = first.result()
            assert answered - connected < (connected - start) / 4

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
    logged = server.read_log()
    assert [line for line in received if line not in logged] == []


def test_a_server_on_a_read_only_system_reports_a_full_disk_and_its_repair_once(
    short_run: Path,
    tmp_path: Path,
) -> None:
    """The root is read-only in a mount namespace, except for TMPDIR.

    The log is on a disk of 16 kB.
    """
    for name in ("answers", "scratch"):
        (tmp_path / name).mkdir()
    mounts = "mount -t tmpfs -o size=16k tmpfs answers && mount -t tmpfs tmpfs scratch"
    wrapper = run_after_mounts(tmp_path, f"{mounts} && mount -o remount,bind,ro /")
    assert "Read-only" in run_command(tmp_path, *wrapper, "touch", "new").stderr
    model = str(short_run / MODEL)
    environment = ("env", f"TMPDIR={tmp_path}/scratch")
    with start_server(
        tmp_path,
        model,
        *LOG,
        wrapper=(*wrapper, *environment),
    ) as server:
        server = server._replace(
            folder=Path(f"/proc/{server.process.pid}/root{tmp_path}"),
        )
        answers = [server.send("/predict", [ROW] * 3) for _ in range(30)]
        assert server.read_log_state()["error"] == "No space left on device"
        assert [status for status, _ in answers] == [200] * 30
        (log,) = (server.folder / "answers").iterdir()
        # During a failure, no answer waits until its lines are counted as lost and
        # removed.
        wait_until(
            lambda: (
                server.read_log_state()["lost_lines"] + len(server.read_log()) == 90
            ),
        )
        name = "tabular_log_lost_lines_total"
        lost = server.read_log_state()["lost_lines"]
        assert server.read_metrics(name) == {name: lost}
        assert log.read_bytes().endswith(b"\n")
        log.write_bytes(b"")
        server.send("/predict", [ROW])
        wait_until(lambda: server.read_log_state()["error"] is None)
        assert len(server.read_log()) == 1
        server.process.kill()
        _, messages = server.process.communicate()
    assert messages.count("No space left on device") == 1
    assert messages.count("--log answers: is writ") == 1


def test_a_folder_that_cannot_be_written_is_refused(short_run: Path) -> None:
    log = f"{MODEL}/answers"
    with pytest.raises(
        SystemExit,
        match=f"--log {log}: cannot be written: Not a directory",
    ):
        call_command(short_run, "serve", "--log", log, "--port", "0")
