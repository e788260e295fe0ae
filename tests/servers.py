"""Start a server, and send requests to it."""

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
import uvicorn

from tests.commands import call_command, run_command, start_command
from tests.helpers import PROJECT

PORT = re.compile(r"(?m)^Serving .* on http://[\d.]+:(\d+)$")
JSON_HEADER = {"Content-Type": "application/json"}
ROW = {
    **{"Pregnancies": 6, "Glucose": 148, "BloodPressure": 72, "SkinThickness": 35},
    **{"Insulin": None, "BMI": 33.6, "DiabetesPedigreeFunction": 0.627, "Age": 50},
}


def run_after_mounts(folder: Path, mounts: str) -> tuple[str, ...]:
    """Return a prefix for commands with other file systems, or skip the test.

    Args:
        folder: The folder of the command.
        mounts: Commands of a shell that mount them, in a namespace of their own.
    """
    start = (
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        f'{mounts} && exec "$@"',
        "sh",
    )
    if run_command(folder, *start, "true").returncode:
        pytest.skip("no mount namespaces")
    return start


class Server(NamedTuple):
    """A running server. Its log is in the folder `answers`."""

    port: int
    folder: Path
    process: Any = None  # if it is one

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def send(
        self,
        path: str,
        body: Any = None,
        method: str | None = None,
        **headers: str,
    ) -> tuple[int, Any]:
        """Send a request; return the status, and the JSON or the text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        method = method or ("GET" if body is None else "POST")
        connection.request(method, path, content, JSON_HEADER | headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        is_json = text and response.headers["content-type"] == "application/json"
        return response.status, json.loads(text) if is_json else text

    def read_metrics(self, prefix: str) -> dict[str, float]:
        """Return the metrics whose name and labels begin with a prefix."""
        _, text = self.send("/metrics")
        metrics = {}
        for line in text.splitlines():
            if line.startswith(prefix):
                name, _, value = line.rpartition(" ")
                metrics[name] = float(value)
        return metrics

    def read_log_state(self) -> dict[str, Any]:
        """Return what `/health` says about the log."""
        return self.send("/health")[1]["log"]

    def read_log(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return the inputs and the answer of each complete line."""
        answers = []
        for file in sorted((self.folder / "answers").iterdir()):
            for line in file.open("rb"):
                if line.endswith(b"\n"):
                    answer = json.loads(line)
                    answers.append((answer["inputs"], answer["answer"]))
        return answers


@contextmanager
def serve_in_thread(folder: Path, *arguments: str) -> Iterator[Server]:
    """Serve the model in a folder in a thread of this process."""
    run = uvicorn.Server.run
    running = list[tuple[uvicorn.Server, Thread]]()

    def start(server: uvicorn.Server, sockets: Any) -> None:
        thread = Thread(target=run, args=(server, sockets))
        running.append((server, thread))
        thread.start()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.Server, "run", start)
        # It would close the handlers of all loggers, and with them the stderr that
        # pytest reads.
        patch.setattr(uvicorn.Config, "configure_logging", lambda _: None)
        output = call_command(folder, "serve", *arguments, "--port", "0")
    ((server, thread),) = running
    (port,) = PORT.findall(output)
    try:
        yield Server(int(port), folder)
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def start_server(
    folder: Path,
    *arguments: str,
    wrapper: tuple[str, ...] = (),
) -> Iterator[Server]:
    """Serve a model from a folder in a process until the end of the block."""
    command = ("python", "-m", "keras_tabular", "serve", "--port", "0", *arguments)
    process = start_command(folder, *wrapper, *command, PYTHONPATH=str(PROJECT))
    try:
        assert process.stdout
        address = next(filter(None, map(PORT.search, process.stdout)), None)
        assert address, process.communicate()
        yield Server(int(address[1]), folder, process)
    finally:
        process.kill()
        process.communicate()
