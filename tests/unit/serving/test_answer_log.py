"""The log of answers has one complete line for each row, whoever writes to its files."""

import asyncio
import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from keras_tabular.serving import answer_log
from keras_tabular.serving.answer_log import AnswerLog

MODEL = {"version": None, "md5": "0"}


def read_lines(folder: Path) -> list[bytes]:
    (file,) = folder.glob("*-*-*.jsonl")
    return file.read_bytes().splitlines(keepends=True)


def test_two_servers_write_to_one_file_without_breaking_a_line(tmp_path: Path) -> None:
    async def write(log: AnswerLog, name: str) -> None:
        for number in range(20):
            rows = [{"x": f"{name} {number}", "padding": "ä" * 10_000}] * 2
            await log.write(rows, [{"predicted": 1.0}] * 2)

    async def write_together() -> None:
        logs = [AnswerLog(tmp_path / "log", MODEL) for _ in range(2)]
        await asyncio.gather(*(write(log, f"{number}") for number, log in enumerate(logs * 2)))

    asyncio.run(write_together())
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700
    names = [json.loads(line)["inputs"]["x"] for line in read_lines(tmp_path / "log")]
    assert sorted(names) == sorted([f"{n} {row}" for n in range(4) for row in range(20)] * 2)


def test_a_row_keeps_its_digits_and_a_broken_line_stays_alone(tmp_path: Path) -> None:
    row: dict[str, Any] = {"a": 0.1, "b": 1e-7, "c": 2**70, "d": "Ä\n\u2028", "e": None}

    async def write() -> None:
        await AnswerLog(tmp_path, MODEL).write([row], [{"predicted": 1}])
        (file,) = tmp_path.iterdir()
        with file.open("ab") as broken:  # what a server leaves that is killed while it writes
            broken.write(b'{"time": "2026')
        await AnswerLog(tmp_path, MODEL).write([row], [{"predicted": 2}])

    asyncio.run(write())
    first, broken, last = read_lines(tmp_path)
    assert broken == b'{"time": "2026\n'
    assert [json.loads(line)["answer"]["predicted"] for line in (first, last)] == [1, 2]
    assert list(json.loads(last)) == ["time", "model", "inputs", "answer"]
    assert json.loads(last)["inputs"] == row


def test_a_limited_number_of_rows_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answer_log, "MAX_SECONDS", 0.1)
    monkeypatch.setattr(answer_log, "MAX_WAITING_ROWS", 4)

    async def write() -> None:
        log = AnswerLog(tmp_path, MODEL)
        (file,) = tmp_path.iterdir()
        with file.open("rb") as locked:
            fcntl.flock(locked, fcntl.LOCK_EX)
            for number in range(4):
                await log.write([{"x": number}] * 2, [{"predicted": 1}] * 2)
            assert log.state["lost_lines"] == 2
        while log.state["error"]:
            await asyncio.sleep(0.01)

    asyncio.run(write())
    assert [json.loads(line)["inputs"]["x"] for line in read_lines(tmp_path)] == [0, 0, 1, 1, 2, 2]
    first, last = capsys.readouterr().err.splitlines()
    assert "cannot be written: the disk does not respond" in first
    assert last.endswith("is written again; 2 lines were lost since the start")
