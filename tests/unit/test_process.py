"""A mistake of a person ends a command with one message."""

import pytest

from tabular.errors import UserError
from tabular.process import run


def test_a_user_error_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise UserError("t.csv: line 3: found 2 cells; expected 3")

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == "error: t.csv: line 3: found 2 cells; expected 3"


def test_an_error_that_native_code_makes_of_ctrl_c_is_an_interrupt() -> None:
    def main() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemError("bad argument to internal function")  # noqa: B904 - as C code does

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == "interrupted"


def test_a_full_disk_is_one_line_too() -> None:
    def main() -> None:
        raise OSError(28, "No space left on device", "m.json")

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == "error: [Errno 28] No space left on device: 'm.json'"
