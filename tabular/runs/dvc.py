"""What DVC knows, by its command line: the plots of revisions and the content of outputs.

Beside the commands, two parts of its layout are used, which DVC documents: the folder
files/md5 of the cache, here, and the refs of experiments, in `tabular.runs.git`. `dvc.api.read`
takes 0.4 s longer, and asks the remote for what is not here; `dvc exp list` takes 0.6 s.
"""

import hashlib
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import yaml

from tabular.core.errors import UserError
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
