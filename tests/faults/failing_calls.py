"""Each call of a stage or command that writes, renames, syncs or allocates fails once.

After each failure every output is as before or as after, there is one message, and the next run
gives the bytes of an undisturbed one. By hand, in a project whose pipeline has run:

    python -m tests.faults.failing_calls FOLDER --every 1
"""

import argparse
import ctypes
import faulthandler
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tabular.core import process
from tests.helpers import COMMANDS, OUTS, PROJECT

SOURCE = Path(__file__).with_suffix(".c")
SECONDS = 120  # until a run counts as one that hangs
KINDS = {"files": 1, "memory": 2}
FINE = ("message", "unharmed", "died")  # what may come of a failure
# What stages and commands write.
WRITTEN = OUTS | {
    "infer_schema": ["inferred.yaml"],
    "predict": ["answers.csv"],
    "score": ["scores.json"],
    "drift": ["drift.json", "drift.html"],
    "report": ["report.html"],
}
# Commands, as a person gives them; the stages are those of dvc.yaml.
GIVEN = COMMANDS | {
    name: f"python -m commands.{name} {arguments}".split()
    for name, arguments in {
        "infer_schema": "data/raw/diabetes.csv --target Outcome -o inferred.yaml",
        "predict": "models/model.keras data/raw/diabetes.csv -o answers.csv",
        "score": "data/raw/diabetes.csv -o scores.json",
        "drift": "data/split/train/part-00000.parquet -o drift.html --json drift.json",
        "report": "",
    }.items()
}


class Ended(NamedTuple):
    """A run: its exit code, None where it was stopped, what it said, and how many calls it made."""

    code: int | None
    said: str
    calls: int


class Contents(dict[str, dict[str, bytes]]):
    """The files of each output, by its path."""

    @classmethod
    def of(cls, outs: list[str]) -> "Contents":
        return cls(
            (
                out,
                {str(f): f.read_bytes() for f in [Path(out), *Path(out).rglob("*")] if f.is_file()},
            )
            for out in outs
        )

    def write(self) -> None:
        for out, files in self.items():
            shutil.rmtree(out) if Path(out).is_dir() else Path(out).unlink(missing_ok=True)
            for name, content in files.items():
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                Path(name).write_bytes(content)

    def old(self) -> "Contents":
        """Other bytes in each file, as an earlier run might have left."""
        return Contents(
            (out, {name: b"# old\n" + content for name, content in files.items()})
            for out, files in self.items()
        )


def attempt(command: list[str], kind: str, number: int, *, lasting: bool = False) -> Ended:
    """Run a command in a child of this process, whose call of this number fails; 0: none."""
    _, _, module, *arguments = command
    shim = ctypes.CDLL(None)
    with tempfile.TemporaryFile("w+b") as said, tempfile.TemporaryFile("w+b") as counted:
        child = os.fork()
        if not child:
            for stream in (1, 2):
                os.dup2(said.fileno(), stream)
            sys.argv, code = [module, *arguments], 0
            faulthandler.enable(2)
            shim.fail_at(ctypes.c_long(number), KINDS[kind], int(lasting))
            try:
                process.run(importlib.import_module(module).main)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else bool(end.code)
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)
            except BaseException as error:  # a mistake of the code, which Python would show
                code = 1
                sys.excepthook(type(error), error, error.__traceback__)
            finally:
                shim.calls_seen.restype = ctypes.c_long
                calls = shim.calls_seen()
                shim.fail_at(ctypes.c_long(0), 0, 0)
                os.pwrite(counted.fileno(), str(calls).encode(), 0)
                os._exit(code)
        status = _wait(child)
        said.seek(0)
        counted.seek(0)
        return Ended(status, said.read().decode(errors="replace"), int(counted.read() or 0))


def _wait(child: int) -> int | None:
    """The exit code, below 0 for a signal; None of a child that had to be killed."""

    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except TimeoutError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None
    finally:
        signal.alarm(0)


def problems(name: str, kind: str, ended: Ended, old: Contents, new: Contents) -> Iterator[str]:
    """What is wrong after a run of which a call failed."""
    found = Contents.of([*new])
    if ended.code not in (0, 1) and not (kind == "memory" and (ended.code or 0) < 0):
        yield f"exit code {ended.code}"
    if "Traceback" in ended.said:
        yield "a traceback"
    if ended.code == 1 and len(re.findall(r"^error: ", ended.said, re.MULTILINE)) != 1:
        yield "not one message"
    for out, files in found.items():
        before = [old[out], {}] if name in COMMANDS else [old[out]]  # DVC has removed it
        if files != new[out] and (ended.code == 0 or files not in before):
            yield f"{out} is half there"
    yield from (f"left {path}" for path in Path().rglob(".*.partial"))


def sweep(name: str, kind: str, every: int, first: int = 1) -> Iterator[tuple[int, str]]:
    """The number of each call that failed, and what came of it: one of `FINE`, or what is wrong."""
    command, outs = GIVEN[name], WRITTEN[name]
    undisturbed = attempt(command, kind, 0)
    assert undisturbed.code == 0, undisturbed.said
    new = Contents.of(outs)
    old = new.old()
    for number in range(first, undisturbed.calls + 1, every):
        old.write()
        ended = attempt(command, kind, number, lasting=bool(number // every % 2))
        wrong = list(problems(name, kind, ended, old, new))
        again = attempt(command, kind, 0)
        if again.code or Contents.of(outs) != new:
            wrong.append(f"the next run differs: {again.said}")
        if wrong:
            yield number, f"{'; '.join(wrong)}\n{ended.said[:2000]}"
        else:
            # Native code that does not look whether it got memory dies, as of the system's killer.
            yield number, {0: "unharmed", 1: "message"}.get(ended.code or 0, "died")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path, help="a folder whose pipeline has run")
    parser.add_argument("names", nargs="*", default=[*GIVEN], help="stages and commands")
    parser.add_argument("--kinds", nargs="*", default=[*KINDS], choices=KINDS)
    parser.add_argument("--every", type=int, default=1, help="of so many calls one fails")
    args = parser.parse_args()
    if "LD_PRELOAD" not in os.environ:
        with tempfile.TemporaryDirectory() as folder:
            shim = Path(folder, "shim.so")
            subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", shim, SOURCE], check=True)
            return subprocess.call(
                [sys.executable, "-m", "tests.faults.failing_calls", *sys.argv[1:]],
                env=os.environ | {"LD_PRELOAD": str(shim)},
            )
    os.chdir(args.project)
    sys.path.insert(0, str(PROJECT))
    failed = 0
    for name in args.names:
        importlib.import_module(GIVEN[name][2])
        for kind in args.kinds:
            counts: Counter[str] = Counter()
            for number, came_of_it in sweep(name, kind, args.every):
                counts[came_of_it if came_of_it in FINE else "wrong"] += 1
                if came_of_it not in FINE:
                    print(f"{name}: {kind} call {number}: {came_of_it}", flush=True)
            print(f"{name}: {kind}: {dict(counts)}", flush=True)
            failed += counts["wrong"]
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
