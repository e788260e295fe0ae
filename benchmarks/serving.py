"""Our server beside plain Keras's `model.predict` in the same kind of server, under bounded load.

`python -m benchmarks.serving` takes about two minutes, after `dvc repro`. Both servers run on
uvicorn, ours with FastAPI and the plain one with Starlette, on loopback, with the same model file;
the plain one checks nothing and answers a request at a time, which is what `model.predict` allows.
Clients keep their connection.
Exits with 1 when a target is missed.
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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PROJECT = Path(__file__).parents[1]
TABLE, MODEL, TARGET = "data/raw/diabetes.csv", "models/model.keras", "Outcome"
# Clients at a time, rows of a request; and by how much we are to be faster in rows a second.
LOADS = {(1, 1): 1.0, (8, 1): 4.0, (8, 100): 1.0}


def plain(port: int) -> None:
    """Serve `model.predict` as one would write it by hand."""
    import keras
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    model = keras.models.load_model(MODEL, safe_mode=True)
    one = threading.Lock()

    def answer(rows: list[dict[str, Any]]) -> list[list[float]]:
        columns = {name: np.array([row[name] for row in rows], np.float64) for name in rows[0]}
        with one:
            return model.predict(columns, verbose=0).tolist()

    async def predict(request: Request) -> JSONResponse:
        from starlette.concurrency import run_in_threadpool

        rows = (await request.json())["rows"]
        return JSONResponse({"rows": await run_in_threadpool(answer, rows)})

    answer(rows_of(1))
    app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
    print(f"Serving on http://127.0.0.1:{port}", flush=True)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def rows_of(count: int) -> list[dict[str, Any]]:
    """Rows of the table as JSON has them, without a gap, which plain Keras would not take."""
    frame = pd.read_csv(PROJECT / TABLE).drop(columns=TARGET)
    found: list[dict[str, Any]] = json.loads(frame[:count].to_json(orient="records"))
    return found


@contextmanager
def server(command: list[str]) -> Iterator[int]:
    """The port of a server that runs until the end."""
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        for line in process.stdout:
            if found := re.search(r"127\.0\.0\.1:(\d+)", line):
                wait_for(int(found[1]))
                yield int(found[1])
                break
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.communicate()


def wait_for(port: int) -> None:
    """Until it accepts a connection."""
    for _ in range(100):
        try:
            http.client.HTTPConnection("127.0.0.1", port, timeout=10).connect()
        except OSError:
            time.sleep(0.1)
        else:
            return


def load(port: int, clients: int, rows: int, seconds: float) -> tuple[float, float, float]:
    """Rows a second, and the median and the 99th percentile of a request's milliseconds."""
    body = json.dumps({"rows": rows_of(rows)}).encode()
    took: list[float] = []
    end = time.monotonic() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            started = time.perf_counter()
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            took.append(time.perf_counter() - started)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed = time.perf_counter() - started
    ordered = sorted(took)
    p99 = ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]
    return len(took) * rows / passed, 1e3 * statistics.median(took), 1e3 * p99


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plain", type=int, metavar="PORT", help="only serve plain Keras")
    args = parser.parse_args()
    if args.plain:
        plain(args.plain)
        return
    ours = [sys.executable, "-m", "commands.serve", "--port", "0"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        free_port = str(free.getsockname()[1])
    theirs = [sys.executable, "-m", "benchmarks.serving", "--plain", free_port]
    missed = False
    with server(ours) as our_port, server(theirs) as their_port:
        for port in (our_port, their_port):  # graphs of both sizes
            for clients, rows in LOADS:
                load(port, clients, rows, 1)
        print(
            f"{'clients':>7} {'rows':>5}  {'server':<12} {'rows/s':>8} {'p50 ms':>8} {'p99 ms':>8}"
        )
        for (clients, rows), target in LOADS.items():
            found: dict[str, list[tuple[float, float, float]]] = {"ours": [], "plain Keras": []}
            for _ in range(args.repeats):
                for name, port in (("ours", our_port), ("plain Keras", their_port)):
                    found[name].append(load(port, clients, rows, args.seconds))
            medians = {
                name: [statistics.median(of) for of in zip(*each, strict=True)]
                for name, each in found.items()
            }
            for name, (speed, p50, p99) in medians.items():
                print(f"{clients:>7} {rows:>5}  {name:<12} {speed:>8,.0f} {p50:>8.1f} {p99:>8.1f}")
            ratio = medians["ours"][0] / medians["plain Keras"][0]
            verdict = "pass" if ratio >= target else "FAIL"
            missed |= verdict == "FAIL"
            print(f"  {verdict}: {ratio:.1f} times the rows a second; target {target:g}")
    sys.exit(missed)


if __name__ == "__main__":
    main()
