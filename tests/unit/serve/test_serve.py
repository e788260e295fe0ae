"""JSON rows are checked, predicted together and logged."""

import asyncio
import fcntl
import json
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from keras_tabular.config.sections import Validate
from keras_tabular.model.predict import PredictedColumns
from keras_tabular.serve import measures
from keras_tabular.serve.app import Batcher, PredictedRows
from keras_tabular.serve.measures import AnswerLog
from keras_tabular.serve.rows import check_cells, read_cells, request_schema
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.rows import Failure
from tests.helpers import build_schema

# JSON rows are converted to texts, and the JSON schema describes the checks of the
# columns.
SCHEMA = build_schema(
    "regression",
    price={"kind": "real", "format": "1.234,5"},
    n={"kind": "integer", "nullable": True},
    flag="boolean",
)
CHECKS = declared_checks(SCHEMA, Validate())


def test_numbers_are_converted_to_the_format_of_their_column() -> None:
    """The column may also contain texts, and numbers of any size."""
    cells: list[Any] = ["1.234,5", 1234.5, -7, 1e-7, 1e20]
    rows = [{"price": cell, "n": None, "flag": True} for cell in cells]
    texts, mistakes = read_cells(rows, SCHEMA)
    expected = ["1.234,5", "1234,5", "-7", "1e-07", "1e+20"]
    assert texts == [{"price": text, "n": "", "flag": "true"} for text in expected]
    values, failures = check_cells(texts, SCHEMA, CHECKS)
    assert values["price"].to_pylist() == [1234.5, 1234.5, -7, 1e-7, 1e20]
    assert (mistakes, failures) == ([], [])


@pytest.mark.parametrize("row", [{}, {f"key{n}": n for n in range(60_000)}])
def test_after_some_mistakes_no_other_row_is_read(row: dict[str, Any]) -> None:
    cells, mistakes = read_cells([row] * 60_000, SCHEMA)
    assert len(cells) <= 5
    assert 5 <= len(mistakes) <= 6


EPOCH = {"description": "as text epoch"}


@pytest.mark.parametrize(
    ("column", "types", "checks"),
    [
        (
            {"kind": "integer", "min": 0, "max": 9},
            "integer",
            {"minimum": 0, "maximum": 9},
        ),
        ({"kind": "real", "max": 1, "nullable": True}, "number null", {"maximum": 1}),
        ({"kind": "real", "missing_values": ["none"]}, "number string", {}),
        ({"kind": "category", "values": ["a"]}, "string", {"enum": ["a"]}),
        ({"kind": "datetime", "format": "epoch"}, "string number", EPOCH),
    ],
)
def test_the_schema_describes_the_checks_of_a_column(
    column: Any,
    types: str,
    checks: Any,
) -> None:
    rows, _ = request_schema(build_schema("regression", **{"a/b": column}))["anyOf"]
    assert rows["items"]["properties"]["a/b"] == {"type": types.split(), **checks}


def test_the_columns_of_ignore_are_optional() -> None:
    schema = build_schema("regression").model_copy(update={"ignore": ("id",)})
    row = request_schema(schema)["anyOf"][0]["items"]
    assert list(row["properties"]) == ["x", "id"]
    assert row["required"] == ["x"]


# Waiting requests are predicted together, and each gets the predictions of its own
# rows.
def predict_together(*requests: list[int]) -> tuple[list[Any], list[list[int]]]:
    """Send requests at the same time; return their results and the batches.

    A result is the predicted values and the failed rows. The prediction of a number is
    the number; 0 has no prediction, and a negative number is an error. The first
    request is cancelled while a 9 is predicted.
    """
    batches = []
    tasks: list[asyncio.Task[Any]] = []

    def predict(cells: Any) -> PredictedRows:
        values = [row["x"] for row in cells]
        batches.append(values)
        if min(values) < 0:
            raise ValueError("below 0")
        if 9 in values:
            tasks[0].get_loop().call_soon_threadsafe(tasks[0].cancel)
            time.sleep(0.1)
        zeros = [row for row, value in enumerate(values) if value == 0]
        failures = [Failure(row, "predicted", "finite", "", "") for row in zeros]
        columns = {"predicted": pa.array(values)}
        predictions = PredictedColumns(columns, failures)
        return PredictedRows(pa.table(columns), [], predictions)

    async def request(batcher: Batcher, values: list[int]) -> Any:
        cells: Any = [{"x": value} for value in values]
        try:
            columns, failures = (await batcher.predict(cells)).predictions
        except (ValueError, asyncio.CancelledError) as error:
            return str(error)
        return columns["predicted"].to_pylist(), [failure.row for failure in failures]

    async def request_all() -> list[Any]:
        batcher = Batcher(predict)
        for values in requests:
            tasks.append(asyncio.create_task(request(batcher, values)))
        return await asyncio.gather(*tasks)

    return asyncio.run(request_all()), batches


def test_waiting_requests_share_a_batch_of_limited_size_and_its_error() -> None:
    """A request that is cancelled stops no other one."""
    answers, batches = predict_together([9], [2], [3, 0, 4])
    assert answers == ["", ([2], []), ([3, 0, 4], [1])]
    assert batches == [[9, 2, 3, 0, 4]]
    answers, batches = predict_together([-1], [2] * 5000, [3])
    assert answers == ["below 0", "below 0", ([3], [])]
    assert [len(values) for values in batches] == [5001, 1]


def test_a_probe_waits_for_the_running_batch_and_not_for_the_queue() -> None:
    finished = threading.Semaphore(0)

    def predict(_: Any) -> PredictedRows:
        finished.acquire()
        return PredictedRows(pa.table({}), [], PredictedColumns({}, []))

    async def probe() -> None:
        batcher = Batcher(predict)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(batcher.predict([{}] * 5000))
            await asyncio.sleep(0.1)
            answer = tasks.create_task(batcher.probe())
            await asyncio.sleep(0)
            finished.release()
            done, _ = await asyncio.wait([answer], timeout=10)
            finished.release(3)
        assert done

    asyncio.run(probe())


# The log of answers has one complete line for each row, whoever writes to its files.
MODEL = {"version": None, "md5": "0"}


def read_lines(folder: Path) -> list[bytes]:
    (file,) = folder.glob("*-*-*.jsonl")
    return file.read_bytes().splitlines(keepends=True)


def read_column(folder: Path, name: str) -> list[Any]:
    return [json.loads(line)["inputs"][name] for line in read_lines(folder)]


def test_two_servers_write_to_one_file_without_breaking_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "log"

    async def write(log: AnswerLog, name: str) -> None:
        for number in range(20):
            rows = [{"x": f"{name} {number}", "padding": "ä" * 10_000}] * 2
            await log.write(rows, [{"predicted": 1.0}] * 2)

    async def write_together() -> None:
        first = AnswerLog(folder, MODEL)
        second = AnswerLog(folder, MODEL)
        await asyncio.gather(write(first, "a"), write(second, "b"))

    asyncio.run(write_together())
    assert folder.stat().st_mode & 0o777 == 0o700
    names = read_column(folder, "x")
    expected = []
    for name in "ab":
        expected += [f"{name} {number}" for number in range(20)]
    assert sorted(names) == sorted(expected * 2)


def test_a_row_keeps_its_digits_and_a_broken_line_stays_alone(tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "a": 0.1,
        "b": 1e-7,
        "c": 2**70,
        "d": "Ä\n\u2028",
        "e": None,
    }

    async def write() -> None:
        await AnswerLog(tmp_path, MODEL).write([row], [{"predicted": 1}])
        (file,) = tmp_path.iterdir()
        with file.open("ab") as broken:  # by a server that is killed while it writes
            broken.write(b'{"time": "2026')
        await AnswerLog(tmp_path, MODEL).write([row], [{"predicted": 2}])

    asyncio.run(write())
    first, broken, last = read_lines(tmp_path)
    assert broken == b'{"time": "2026\n'
    assert json.loads(first)["answer"]["predicted"] == 1
    answer = json.loads(last)
    assert list(answer) == ["time", "model", "inputs", "answer"]
    assert answer["inputs"] == row
    assert answer["answer"]["predicted"] == 2


def test_a_limited_number_of_rows_waits_for_the_disk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(measures, "MAX_SECONDS", 0.1)
    monkeypatch.setattr(measures, "MAX_WAITING_ROWS", 4)

    async def write() -> None:
        log = AnswerLog(tmp_path, MODEL)
        (file,) = tmp_path.iterdir()
        with file.open("rb") as locked:
            fcntl.flock(locked, fcntl.LOCK_EX)
            for number in range(4):
                await log.write([{"x": number}] * 2, [{"predicted": 1}] * 2)
            assert log.state["lost_lines"] == 2
        async with asyncio.timeout(60):
            while len(read_lines(tmp_path)) < 6:
                await asyncio.sleep(0.01)

    asyncio.run(write())
    assert read_column(tmp_path, "x") == [0, 0, 1, 1, 2, 2]
    first, last = capsys.readouterr().err.splitlines()
    assert "cannot be written: the disk does not respond" in first
    assert last.endswith("is written again; 2 lines were lost since the start")
