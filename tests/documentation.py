"""The pages of the documentation, and how tests run their commands."""

import re
import socket
import sys
from pathlib import Path

from tests.commands import check_output, wait_for_queue
from tests.helpers import PROJECT

# The README first, then docs/.
PAGES = {
    str(path.relative_to(PROJECT)): path.read_text()
    for path in (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
}
SHELL_BLOCKS = {
    page: re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for page, text in PAGES.items()
}
# `make` does not install an environment: it uses the one that runs the tests.
MAKE_VARIABLES = {"MAKEFLAGS": "-o .venv/installed -o .venv/installed-serve"}


def run_page_blocks(folder: Path, page: str, blocks: list[str]) -> list[str]:
    """Run shell blocks of a page, check what the page says about them, and return their output."""
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(sys.prefix)
    text, outputs = PAGES[page], []
    for block in blocks:
        if "serve &" in block:  # on a port that is free, and stopped if the block fails
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            block = block.replace("serve &", f"serve --port {port} &").replace("8000", str(port))
            block = f"trap 'kill $(jobs -p)' ERR\n{block}"
        # A project that a block creates uses the library of the clone.
        output = check_output(
            folder, "bash", "-ec", block, PYTHONPATH=str(folder), **MAKE_VARIABLES
        )
        outputs.append(output)
        if "kernel_initializer=random_uniform" in block:
            (accuracy,) = re.findall(r"Accuracy: ([\d.]+)", output)
            assert 0.7 <= float(accuracy) <= 0.76
        if (page, block) == ("README.md", "make gate\n"):
            assert [line for line in output.splitlines() if line.startswith("Gate: ")][-1] in text
        if "--example wine" in block:
            (line,) = [line for line in output.splitlines() if line.startswith("Accuracy")]
            assert line in text
        if "queue start" in block:
            wait_for_queue(folder)
        if "exp-show" in block:
            changed = re.findall(r"^units-\d .*plain\.units=\[(\d+)\]$", output, re.MULTILINE)
            assert sorted(changed) == ["32", "8"]
        if "metrics diff" in block:
            table = re.findall(r"^metrics/metrics\.json .*", text, re.MULTILINE)
            assert table
            assert [row for row in table if row not in output] == [], output
        if "cat predictions.csv" in block:
            assert output in text
        if "keras_tabular drift" in block:
            assert "Drift: pass" in output
        if "curl" in block or "dvc push" in block:
            assert output.splitlines()[-1] in text
    return outputs
