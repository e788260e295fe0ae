"""The pages of the documentation, and how tests run their commands."""

import re
import socket
import sys
from pathlib import Path

from tests.commands import check_output
from tests.helpers import PROJECT

PAGES = {
    str(path.relative_to(PROJECT)): path.read_text()
    for path in (*PROJECT.glob("*.md"), *sorted((PROJECT / "docs").glob("*.md")))
}
# `make` does not install an environment: it uses the one that runs the tests.
INSTALLED = ("", "-serve")
MAKE_VARIABLES = {
    "MAKEFLAGS": " ".join(f"-o .venv/installed{group}" for group in INSTALLED),
}
# Parts of commands, and the part of their output that the page has to show (the last
# match).
SHOWN_OUTPUT = {
    "cat predictions.csv": r"^predicted,(?:.*\n)*",
    "curl ": r'^.+?(?="md5"|$)',  # the hash of the model changes with the version
    "docs/experiments.md: dvc remote add --default": r"^\d+ files pushed",
    "random_uniform": r"(?<=^Accuracy: )\S+",
    "evaluate.threshold={cost": r"^Cost per row.*",
}

SERVE = r"( serve\b[^&\n]*) &"  # a server in the background


def code_blocks(page: str, language: str) -> list[str]:
    """Return the blocks of code in a language, such as `sh`, on a page."""
    return re.findall(
        rf"^```{language}\n(.*?)^```",
        PAGES[page],
        re.MULTILINE | re.DOTALL,
    )


def run_page_blocks(
    folder: Path,
    page: str,
    blocks: list[str],
    **environment: str,
) -> list[str]:
    """Run shell blocks of a page in a project, and return the output of each.

    Output that the page shows has to be the same.
    """
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(sys.prefix)
    outputs = []
    for block in blocks:
        # A project that a block creates uses the library of the clone.
        variables = MAKE_VARIABLES | environment | {"PYTHONPATH": str(folder)}
        output = check_output(folder, "bash", "-ec", use_free_port(block), **variables)
        for part, pattern in SHOWN_OUTPUT.items():
            if part in f"{page}: {block}":
                assert re.findall(pattern, output, re.MULTILINE)[-1] in PAGES[page]
        outputs.append(output)
    return outputs


def use_free_port(block: str) -> str:
    """Let the servers in a block use free ports, and stop them if the block fails."""
    block = re.sub(SERVE, r"\1 --port 8000 &", block)
    for port in re.findall(r"--port (\d+)", block):
        block = block.replace(port, str(find_free_port()))
    return f"trap 'kill $(jobs -p)' ERR\n{block}" if "--port" in block else block


def find_free_port() -> int:
    """Return a port on which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
