"""What a container leaves to a process is known, and said before a library takes more."""

from pathlib import Path

import pytest

from tabular.core import process
from tabular.core.errors import UserError
from tabular.core.process import GB, allowed_memory, require_memory


@pytest.mark.parametrize(
    ("own", "limit"),
    [
        ("0::/job/step\n", "job/memory.max"),  # of the parent, which is less
        ("4:memory:/host/1\n0::/\n", "memory/memory.limit_in_bytes"),  # seen from a container
    ],
)
def test_the_limit_of_a_control_group_is_that_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, limit: str
) -> None:
    monkeypatch.setattr(process, "CGROUPS", tmp_path)
    monkeypatch.setattr(process, "OWN_GROUPS", tmp_path / "own")
    for file, text in {"own": own, limit: "500000000\n", "job/step/memory.max": "max\n"}.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    assert allowed_memory().resident == GB / 2
    with pytest.raises(UserError, match=r"TensorFlow would take .* container has 0\.50"):
        require_memory("TensorFlow")
