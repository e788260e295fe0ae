"""Start a server as a process, and send requests to it."""

import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.commands import run_command, start_command
from tests.helpers import PROJECT

PORT = re.compile(r"http://[\d.]+:(\d+)$")
ROW = {
    **{"Pregnancies": 6, "Glucose": 148, "BloodPressure": 72, "SkinThickness": 35},
    **{"Insulin": None, "BMI": 33.6, "DiabetesPedigreeFunction": 0.627, "Age": 50},
}


def run_after_mounts(folder: Path, mounts: str) -> tuple[str, ...]:
    """Return the start of a command that sees other file systems; skip the test without them.

    Args:
        folder: The folder of the command.
        mounts: Commands of a shell that mount them, in a namespace of their own.
    """
    start = ("unshare", "--map-root-user", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")
    if run_command(folder, *start, "true").returncode:
        pytest.skip("no mount namespaces")
    return start


class Server(NamedTuple):
    """A running server. Its log is in the folder `answers`."""

    port: int
    process: subprocess.Popen[str]
    folder: Path

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

    def read_metrics(self, prefix: str) -> dict[str, float]:
        """Return the metrics whose name and labels begin with a prefix."""
        lines = [line.rpartition(" ") for line in self.send("/metrics")[1].splitlines()]
        return {name: float(value) for name, _, value in lines if name.startswith(prefix)}

    def read_log_state(self) -> dict[str, Any]:
        """Return what `/health` says about the log."""
        state: dict[str, Any] = self.send("/health")[1]["log"]
        return state


@contextmanager
def start_server(folder: Path, *arguments: str, wrapper: tuple[str, ...] = ()) -> Iterator[Server]:
    """Serve the model in a folder until the end of the block."""
    command = ("python", "-m", "keras_tabular", "serve", *arguments, "--port", "0")
    process = start_command(folder, *wrapper, *command, PYTHONPATH=str(PROJECT))
    try:
        assert process.stdout
        address = PORT.search(process.stdout.readline().strip())
        assert address, process.communicate()
        yield Server(int(address[1]), process, folder)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
