"""A mistake of a person ends a command with one message."""

import pytest

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
