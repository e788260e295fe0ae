"""What docs/serving.md says about the operation of a server holds for real processes."""

import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import packages_distributions
from pathlib import Path
from threading import Thread

from keras_tabular.projects.lock import locked_packages
from tests.commands import check_output, run_command, start_command, wait_until
from tests.helpers import PROJECT
from tests.servers import ROW, Server, run_after_mounts, start_server

MODEL = "models/model.keras"
PREFIX = "/models/diabetes"
BY_ADDRESS = {"Host": "10.1.2.3:8000"}  # as the probes of Kubernetes and Prometheus send it
CLOSED = b""
RUN_WITHOUT_PACKAGES = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
sys.argv = sys.argv[4:]  # what follows `python -m`
from keras_tabular.__main__ import main
main()
"""


def test_probes_are_answered_by_address_with_100_idle_connections(short_run: Path) -> None:
    """Idle connections that never had a request are closed after five seconds."""
    with start_server(short_run, MODEL, "--host", "0.0.0.0") as server, ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            for _ in range(100)
        ]
        for path in ("/health", "/metrics", "/predict"):
            body = [ROW] if path == "/predict" else None
            assert server.send(path, body, **BY_ADDRESS)[0] == 200
        for name in ("evil.example", "evil_!.example", "10.1.2.3.evil.example", "1.2.3.4@evil", ""):
            assert server.send("/health", Host=name)[0] == 400
        assert server.send("/health", Host="[2001:db8::1]:8000")[0] == 200
        assert [connection.recv(1) for connection in idle] == [CLOSED] * 100


def test_a_busy_server_refuses_predictions_but_is_healthy(short_run: Path) -> None:
    with start_server(short_run, MODEL, "--max-concurrency", "1") as server:
        slow = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        slow.putrequest("POST", "/predict")
        body = json.dumps([ROW]).encode()
        for header in (("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
            slow.putheader(*header)
        slow.endheaders()
        wait_until(lambda: server.send("/predict", [ROW])[0] == 503)
        assert server.send("/health")[0] == 200
        slow.send(body)
        assert slow.getresponse().status == 200
        wait_until(lambda: server.send("/predict", [ROW])[0] == 200)


@contextmanager
def start_proxy(server: Server) -> Iterator[Server]:
    """Forward requests without their prefix, and with an identifier."""

    class Proxy(BaseHTTPRequestHandler):
        def forward(self) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {**self.headers, "X-Request-ID": "from-the-proxy"}
            connection.request(self.command, self.path.removeprefix(PREFIX), body, headers)
            response = connection.getresponse()
            self.send_response(response.status)
            self.send_header("Content-Type", response.headers["Content-Type"])
            self.end_headers()
            self.wfile.write(response.read())

        do_GET = do_POST = forward  # noqa: N815 - the names that http.server looks up

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    Thread(target=proxy.serve_forever, daemon=True).start()
    yield server._replace(port=proxy.server_port)
    proxy.shutdown()
    proxy.server_close()


def test_a_server_behind_a_proxy_with_a_prefix(short_run: Path) -> None:
    """The OpenAPI document names the prefix, and the access log has the proxy's identifiers."""
    arguments = (MODEL, "--root-path", PREFIX, "--access-log")
    with start_server(short_run, *arguments) as server, start_proxy(server) as proxy:
        assert proxy.send(f"{PREFIX}/predict", [ROW]) == server.send("/predict", [ROW])
        assert proxy.send(f"{PREFIX}/schema")[1]["servers"] == [{"url": PREFIX}]
        assert proxy.send(f"{PREFIX}/nothing%0a")[0] == 404
        server.process.send_signal(signal.SIGTERM)
        *lines, last = server.process.communicate()[0].splitlines()
        assert (server.process.returncode, last) == (0, "Stopped")
    requests = [json.loads(line) for line in lines]
    assert [r["status"] for r in requests] == [200, 200, 200, 404]
    assert [r["request"] == "from-the-proxy" for r in requests] == [True, False, True, True]
    assert requests[0].items() >= {"method": "POST", "path": f"{PREFIX}/predict"}.items()


def test_a_server_can_be_reached_when_it_is_ready(short_run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = ("python", "-m", "keras_tabular", "serve", MODEL, "--port", str(port))
    process = start_command(short_run, *serve, PYTHONPATH=str(PROJECT))
    try:

        def connects() -> bool:
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", port)) == 0

        wait_until(connects)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_read_only_file_system_needs_a_temporary_folder(short_run: Path, tmp_path: Path) -> None:
    """The root is read-only in a mount namespace, except for a folder that TMPDIR names."""
    mounts = "mount -t tmpfs tmpfs scratch && mount -o remount,bind,ro /"
    (tmp_path / "scratch").mkdir()
    wrapper = run_after_mounts(tmp_path, mounts)
    model, environment = str(short_run / MODEL), ("env", f"TMPDIR={tmp_path}/scratch")
    assert "Read-only" in run_command(tmp_path, *wrapper, "touch", "new").stderr
    with start_server(tmp_path, model, wrapper=(*wrapper, *environment)) as server:
        assert server.send("/predict", [ROW])[0] == 200
    serve = ("python", "-m", "keras_tabular", "serve", model)
    failed = run_command(tmp_path, *wrapper, *serve, PYTHONPATH=str(PROJECT))
    assert "No usable temporary directory found" in failed.stderr


def test_the_image_has_every_package_that_is_imported(short_run: Path, tmp_path: Path) -> None:
    """A server and `predict` run with the packages of requirements/image.txt alone."""
    locked = locked_packages((PROJECT / "requirements/image.txt").read_text())
    left_out = [
        module
        for module, names in packages_distributions().items()
        if not any(name.lower().replace("_", "-") in locked for name in names)
    ]
    assert {"dvc", "duckdb", "sklearn", "botocore", "sqlalchemy", "vl_convert"} < {*left_out}
    wrapper = ("python", "-c", RUN_WITHOUT_PACKAGES, ",".join(left_out))
    model, rows = str(short_run / MODEL), tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(ROW))
    with start_server(tmp_path, model, "--log", "answers", wrapper=wrapper) as server:
        answer = server.send("/predict?explain=1", [ROW])[1]["rows"][0]
    predict = ("python", "-m", "keras_tabular", "predict", model, str(rows), "--explain", "1")
    output = check_output(tmp_path, *wrapper, *predict, PYTHONPATH=str(PROJECT))
    assert output.splitlines()[1] == ",".join(map(str, answer.values()))
