"""A command starts without what it does not need, and ends with one message of a mistake."""

import os
import subprocess
import sys

import pytest

from tabular.core.cluster import WORKERS
from tabular.core.process import NO_MEMORY, run

# As native code answers Ctrl-C.
INTERRUPTED = SystemError("bad argument to internal function")
INTERRUPTED.__context__ = KeyboardInterrupt()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left", "m.json"), "error: [Errno 28] No space left: 'm.json'"),
        (MemoryError(), NO_MEMORY),
        (INTERRUPTED, "interrupted"),
    ],
)
def test_what_is_no_mistake_of_the_code_ends_with_one_message(error: Exception, said: str) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == said


def test_tensorflow_starts_without_large_packages_that_can_still_be_imported() -> None:
    code = """if True:
        import sys
        from tabular.model.backend import keras
        assert not {"pandas", "scipy", "sklearn"} & sys.modules.keys()
        import pandas, sklearn.metrics
        import pyarrow as pa
        assert pa.table({"x": [1]}).to_pandas().x[0] == 1
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_another_process_does_ends_with_the_command_and_says_nothing() -> None:
    code = """if True:
        import time
        from tabular.core.engine import begin
        from tabular.core.errors import UserError
        from tabular.core.process import run
        def main():
            begin(time.sleep, 60)
            time.sleep(0.2)
            raise UserError("wrong")
        run(main)
    """
    environment = os.environ | {WORKERS: "2"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30
    )
    assert (ended.returncode, ended.stderr) == (1, "error: wrong\n")
