"""What DVC knows, by its command line: the plots of revisions and the content of outputs.

Beside the commands, two parts of its layout are used, which DVC documents: the folder
files/md5 of the cache, here, and the refs of experiments, in `tabular.runs.git`.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from tabular.errors import UserError
from tabular.runs.git import WORKSPACE, Revision
from tabular.runs.lock import LOCK, outputs

ATTEMPTS = 3


def dvc(*arguments: str, folder: Path | None = None) -> str:
    """What a DVC command prints. Its stages find the Python that runs this.

    Raises:
        UserError: the command failed; the message holds what it printed.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"dvc {' '.join(arguments)}: failed\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def cache_dir() -> Path:
    """The folder of DVC's cache."""
    return Path(dvc("cache", "dir").strip())


def output_at(revision: Revision, path: Path, md5: str | None) -> bytes | None:
    """The content of an output with this hash, from the workspace or the cache.

    None where it is in neither; a remote is not asked.
    """
    if md5 is None:
        return None
    if not revision.commit and (content := _verified(path, md5)) is not None:
        return content
    return _verified(cache_dir() / "files" / "md5" / md5[:2] / md5[2:], md5)


def last_output(path: Path) -> bytes | None:
    """The content of an output; while its stage makes it anew, what dvc.lock names, of the cache.

    DVC removes the outputs of a stage before it runs. None where there is neither.
    """
    for _ in range(ATTEMPTS):  # dvc.lock may be half written, the stage may have ended
        with suppress(OSError):
            return path.read_bytes()
        with suppress(OSError, yaml.YAMLError, AttributeError):
            out = outputs(yaml.safe_load(Path(LOCK).read_text(encoding="utf-8")))
            named = out.get(Path(os.path.relpath(path)).as_posix(), {}).get("md5")
            content = output_at(WORKSPACE, path, named)
            if content is not None:
                print(f"{path} is not there now; using what {LOCK} names", file=sys.stderr)
                return content
        time.sleep(0.1)
    return None


def _verified(path: Path, md5: str) -> bytes | None:
    content = path.read_bytes() if path.is_file() else b""
    return content if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5 else None


def plot_specs(revisions: list[Revision]) -> dict[str, dict[str, Any]]:
    """The Vega-Lite specification of each plot that has rows, by its title in dvc.yaml.

    They overlay the revisions, whose labels are the legend, in this order.

    Raises:
        UserError: dvc.yaml is broken, or a plot of it does not fit its data.
    """
    labels = {revision.commit or WORKSPACE.label: revision.label for revision in revisions}
    names = [*labels, *labels][:2]  # to one name, DVC would add the workspace
    plots = json.loads(dvc("plots", "diff", "--json", *names))
    for error in plots.get("errors", []):
        if "name" not in error and error["rev"] == names[0]:
            raise UserError(f"the plots of {labels[names[0]]} cannot be read: {error['msg']}")
    return {
        title: _relabeled(plot[0]["content"], labels)
        for title, plot in plots.get("data", {}).items()
        if plot
    }


def _relabeled(spec: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """The specification with the labels as revisions, rows and colours in their order."""
    order = list(labels)
    rows = sorted(spec["data"]["values"], key=lambda row: order.index(row["rev"]))
    spec["data"]["values"] = [row | {"rev": labels[row["rev"]]} for row in rows]
    colors = spec.get("encoding", {}).get("color", {}).get("scale", {})
    if "domain" in colors:
        colors["domain"] = [labels[name] for name in order if name in colors["domain"]]
    return spec
