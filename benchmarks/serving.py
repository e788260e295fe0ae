"""Compare the server with one that logs, one without batches, and plain Keras.

Run `dvc repro` first; the comparison takes about five minutes. All servers run on
uvicorn, on the loopback device, with the same model file. The second server is ours and
logs its answers, the third one is ours but predicts each request separately. The last
one calls `model.predict`, which allows only one request at a time, and checks nothing.
Clients keep their connections. The exit code is 1 if a target is missed.
"""

import http.client
import json
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

import numpy as np
import pandas as pd

PROJECT = Path(__file__).parents[1]
TABLE = "data/raw/diabetes.csv"
MODEL = "models/model.keras"
TARGET = "Outcome"
# The number of clients and of rows per request, and the least ratio of our rows per
# second to those of plain Keras.
TARGETS = {(1, 1): 1.0, (8, 1): 4.0, (8, 100): 1.0}
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


def serve_plain_keras(port: int) -> None:
    """Serve `model.predict` as people write it by hand."""
    import keras
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    model = keras.models.load_model(MODEL, safe_mode=True)
    lock = threading.Lock()

    def predict_rows(rows: list[dict[str, Any]]) -> list[list[float]]:
        columns = {
            name: np.array([row[name] for row in rows], np.float64) for name in rows[0]
        }
        with lock:
            return model.predict(columns, verbose=0).tolist()

    async def predict(request: Request) -> JSONResponse:
        from starlette.concurrency import run_in_threadpool

        rows = (await request.json())["rows"]
        return JSONResponse({"rows": await run_in_threadpool(predict_rows, rows)})

    predict_rows(read_rows(1))
    app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
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
    """Return the rows per second, and the median and p99 of the milliseconds."""
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
            assert answer.status == 200
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
        "--plain",
        type=int,
        metavar="PORT",
        help="only serve plain Keras",
    )
    args = parser.parse_args()
    if args.plain:
        serve_plain_keras(args.plain)
        return
    options = ["--port", "0"]
    with socket.create_server(("127.0.0.1", 0)) as unused:
        unused_port = str(unused.getsockname()[1])
    missed = False
    with TemporaryDirectory() as log, ExitStack() as stack:
        commands = {
            "ours": ["-m", "keras_tabular", "serve", *options],
            "with log": ["-m", "keras_tabular", "serve", *options, "--log", log],
            "unbatched": ["-c", WITHOUT_BATCHES, "serve", *options],
            "plain Keras": ["-m", "benchmarks.serving", "--plain", unused_port],
        }
        ports = {
            name: stack.enter_context(run_server([sys.executable, *command]))
            for name, command in commands.items()
        }
        for (
            port
        ) in ports.values():  # a first load builds the graphs of both batch sizes
            for clients, rows in TARGETS:
                measure_load(port, clients, rows, 1)
        print("clients  rows  server        rows/s   p50 ms   p99 ms")
        for (clients, rows), target in TARGETS.items():
            measured: dict[str, list[tuple[float, float, float]]] = {
                name: [] for name in ports
            }
            for _ in range(args.repeats):
                for name, port in ports.items():
                    measured[name].append(
                        measure_load(port, clients, rows, args.seconds),
                    )
            speeds = {}
            for name, repeats in measured.items():
                speeds[name], p50, p99 = map(
                    statistics.median,
                    zip(*repeats, strict=True),
                )
                figures = f"{speeds[name]:>8,.0f} {p50:>8.1f} {p99:>8.1f}"
                print(f"{clients:>7} {rows:>5}  {name:<11} {figures}")
            ratio = speeds["ours"] / speeds["plain Keras"]
            gain = speeds["ours"] / speeds["unbatched"]
            turns = zip(measured["with log"], measured["ours"], strict=True)
            logged = statistics.median(
                with_log[0] / without[0] for with_log, without in turns
            )
            missed |= ratio < target or logged < LOG_TARGET
            print(
                f"  {'FAIL' if ratio < target else 'pass'}: rows per second are"
                f" {ratio:.1f} times those of plain Keras (target {target:g}),"
                f" {gain:.2f} times those without batches",
            )
            print(
                f"  {'FAIL' if logged < LOG_TARGET else 'pass'}: with the log, they are"
                f" {logged:.2f} times those without it (target {LOG_TARGET:g})",
            )
        missed |= measure_beside_attacks(ports["ours"], args.seconds)
    sys.exit(missed)


if __name__ == "__main__":
    main()
