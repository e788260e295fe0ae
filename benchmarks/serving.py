"""Compare the server with one that logs, one without batches, and two small ones.

Run `dvc repro` first; the comparison takes about six minutes. All servers run on
uvicorn, on the loopback device, with the same model file. The second server is ours and
logs its answers, the third one is ours but predicts each request separately. The small
servers check nothing: "plain Keras" calls `model.predict`, which allows only one
request at a time, and "FastAPI" calls the model as a graph of TensorFlow. Clients keep
their connections. The exit code is 1 if a target is missed.
"""

import http.client
import json
import math
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

PROJECT = Path(__file__).parents[1]
TABLE = "data/raw/diabetes.csv"
MODEL = "models/model.keras"
TARGET = "Outcome"
# The number of clients and of rows per request, and the least ratios of our rows per
# second to those of plain Keras and of FastAPI, which is not exact.
TARGETS = {(1, 1): (1.0, 0.6), (8, 1): (4.0, 0.6), (8, 100): (1.0, 0.0)}
ROOM = 64  # clients for which the server predicts at the same time
CROWD = 200  # clients
CROWD_TARGET = 0.6  # least ratio of the rows per second of these to those of `ROOM`
# Rows that are refused: too many, and with wrong names.
ATTACKS: list[list[Any]] = [[{}] * 60_000, [{f"Agee{n}": n for n in range(100_000)}]]
MAX_MS_BESIDE_ATTACKS = 2000
LOG_TARGET = 0.9  # least ratio of the rows per second with the log to those without it
WITHOUT_BATCHES = """
from keras_tabular.cli import main
from keras_tabular.core.process import run
from keras_tabular.serve import app
app.MAX_ROWS_PER_BATCH = 0
run(main)
"""


def serve_small(name: str, port: int) -> None:
    """Serve the model in the fewest lines, as a graph or by `model.predict`."""
    import keras
    import tensorflow as tf
    import uvicorn
    from fastapi import FastAPI

    model = keras.models.load_model(MODEL, safe_mode=True)
    graph = tf.function(model, reduce_retracing=True)
    lock = threading.Lock()
    app = FastAPI()

    @app.post("/predict")
    def predict(body: dict[str, list[dict[str, float | None]]]) -> Any:
        rows = body["rows"]
        columns = {}
        for column in rows[0]:
            cells = [math.nan if row[column] is None else row[column] for row in rows]
            columns[column] = tf.constant(cells, tf.float64)
        if name == "FastAPI":
            return {"rows": graph(columns).numpy().tolist()}
        with lock:
            return {"rows": model.predict(columns, verbose=0).tolist()}

    print(f"Serving on http://127.0.0.1:{port}", flush=True)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def read_rows(count: int) -> list[dict[str, Any]]:
    """Return the first rows of the table as JSON objects."""
    frame = pd.read_csv(PROJECT / TABLE).drop(columns=TARGET)
    rows: list[dict[str, Any]] = json.loads(frame[:count].to_json(orient="records"))
    return rows


@contextmanager
def run_server(command: list[str]) -> Iterator[int]:
    """Run a server until the end of the block, and yield its port."""
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        for line in process.stdout:
            address = re.search(r"127\.0\.0\.1:(\d+)", line)
            if address:
                port = int(address[1])
                wait_for_server(port)
                yield port
                break
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.communicate()


def wait_for_server(port: int) -> None:
    """Wait until a server accepts a connection."""
    for _ in range(100):
        try:
            http.client.HTTPConnection("127.0.0.1", port, timeout=10).connect()
        except OSError:
            time.sleep(0.1)
        else:
            return


def measure_load(
    port: int,
    clients: int,
    rows: int,
    seconds: float,
) -> tuple[float, float, float]:
    """Return the rows per second, and the median and p99 of the milliseconds.

    A request that is refused does not count.
    """
    body = json.dumps({"rows": read_rows(rows)}).encode()
    times: list[float] = []
    end = time.monotonic() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            started = time.perf_counter()
            connection.request(
                "POST",
                "/predict",
                body,
                {"Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (200, 503)
            if answer.status == 200:
                times.append(time.perf_counter() - started)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    duration = time.perf_counter() - started
    ordered = sorted(times)
    p99 = ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]
    return len(times) * rows / duration, 1e3 * statistics.median(times), 1e3 * p99


def attack(port: int, rows: list[Any], stop: threading.Event) -> None:
    """Send rows that are refused, again and again."""
    body = json.dumps(rows).encode()
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(
            "POST",
            "/predict",
            body,
            {"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (413, 422)
        connection.close()


def measure_beside_attacks(port: int, seconds: float) -> bool:
    """Print how long a row takes beside twelve attackers; return if too long."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=attack, args=(port, rows, stop)) for rows in ATTACKS * 6
    ]
    _, alone, _ = measure_load(port, 1, 1, seconds)
    for thread in threads:
        thread.start()
    _, median, worst = measure_load(port, 1, 1, max(seconds, 40.0))
    stop.set()
    for thread in threads:
        thread.join()
    verdict = "FAIL" if worst > MAX_MS_BESIDE_ATTACKS else "pass"
    print(
        f"  {verdict}: a row beside attacks: {median:.0f} ms, p99 {worst:.0f}; alone"
        f" {alone:.0f}",
    )
    return worst > MAX_MS_BESIDE_ATTACKS


def report(name: str, ratio: float, target: float) -> bool:
    """Print a ratio; return whether it misses its target."""
    verdict = "FAIL" if ratio < target else "pass"
    print(f"  {verdict}: {name} {ratio:.2f} (target {target:g})")
    return ratio < target


def compare_servers(
    ports: dict[str, int],
    load: tuple[int, int],
    seconds: float,
    repeats: int,
) -> bool:
    """Print how fast the servers are; return whether a target is missed."""
    clients, rows = load
    measured: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ports}
    for _ in range(repeats):
        for name, port in ports.items():
            measured[name].append(measure_load(port, clients, rows, seconds))
    for name, turns in measured.items():
        speed, p50, p99 = map(statistics.median, zip(*turns, strict=True))
        figures = f"{speed:>8,.0f} {p50:>8.1f} {p99:>8.1f}"
        print(f"{clients:>7} {rows:>5}  {name:<11} {figures}")

    def compare(name: str, other: str, target: float) -> bool:
        turns = zip(measured[name], measured[other], strict=True)
        ratio = statistics.median(turn[0] / other_turn[0] for turn, other_turn in turns)
        return report(f"{name} / {other}", ratio, target)

    keras_target, fastapi_target = TARGETS[load]
    missed = [
        compare("ours", "plain Keras", keras_target),
        compare("ours", "FastAPI", fastapi_target),
        compare("ours", "unbatched", 0),
        compare("with log", "ours", LOG_TARGET),
    ]
    return any(missed)


def measure_crowd(port: int, seconds: float, repeats: int) -> bool:
    """Print what a crowd leaves of the speed; return whether it is too little."""
    ratios = []
    for _ in range(repeats):
        best, _, _ = measure_load(port, ROOM, 1, seconds)
        speed, _, _ = measure_load(port, CROWD, 1, seconds)
        ratios.append(speed / best)
    name = f"{CROWD} clients / {ROOM} clients"
    return report(name, statistics.median(ratios), CROWD_TARGET)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds",
        type=float,
        default=8.0,
        help="duration of each load",
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--serve",
        nargs=2,
        metavar=("NAME", "PORT"),
        help="only serve plain Keras or FastAPI",
    )
    args = parser.parse_args()
    if args.serve:
        name, port = args.serve
        serve_small(name, int(port))
        return
    serve = ["-m", "keras_tabular", "serve", "--port", "0"]
    with TemporaryDirectory() as log, ExitStack() as stack:
        commands = {
            "ours": serve,
            "with log": [*serve, "--log", log],
            "unbatched": ["-c", WITHOUT_BATCHES, *serve[2:]],
        }
        for name in ("plain Keras", "FastAPI"):
            with socket.create_server(("127.0.0.1", 0)) as unused:
                port = str(unused.getsockname()[1])
            commands[name] = ["-m", "benchmarks.serving", "--serve", name, port]
        ports = {
            name: stack.enter_context(run_server([sys.executable, *command]))
            for name, command in commands.items()
        }
        # A first load builds the graphs of all batch sizes.
        for port in ports.values():
            for clients, rows in TARGETS:
                measure_load(port, clients, rows, 1)
        print("clients  rows  server        rows/s   p50 ms   p99 ms")
        missed = False
        for load in TARGETS:
            missed |= compare_servers(ports, load, args.seconds, args.repeats)
        missed |= measure_crowd(ports["ours"], args.seconds, args.repeats)
        missed |= measure_beside_attacks(ports["ours"], args.seconds)
    sys.exit(missed)


if __name__ == "__main__":
    main()
