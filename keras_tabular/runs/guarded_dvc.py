"""Run DVC, which here writes no file where a path leads out of its folder.

DVC trusts the list of the files in a folder, which comes from a remote: it writes each
file where the list says, and into its cache where a hash says. It also writes what a
.dvc file has outside of its folder, such as a module that takes another one's place.

The file imports nothing else of the library: `run_module` runs it by its path with
`python -P`, so that no file of a project takes the place of DVC.
"""

import os
import sys
from pathlib import Path
from typing import Any

from dvc import output
from dvc.cli import main
from dvc_data.hashfile.db.local import LocalHashFileDB
from dvc_data.hashfile.tree import Tree

path_in_cache = LocalHashFileDB.oid_to_path
parse_list = Tree.from_list
parse_outputs = output.loadd_from


def parse_safe_list(files: list[Any], hash_name: Any = None) -> Tree:
    """Return DVC's object for the list of the files in a folder."""
    for file in files:
        refuse_to_lead_out(file["relpath"])
    return parse_list(files, hash_name)


def parse_safe_outputs(stage: Any, files: list[Any]) -> list[output.Output]:
    """Return DVC's objects for the outputs of a .dvc file."""
    outputs = parse_outputs(stage, files)
    for file in outputs:
        path = Path(file.fs_path)
        folder = Path(stage.path).parent.resolve()
        refuse_to_lead_out(os.path.relpath(path.parent.resolve() / path.name, folder))
    return outputs


def safe_path_in_cache(cache: LocalHashFileDB, md5: str) -> str:
    """Return the path of the file with a hash."""
    refuse_to_lead_out(md5)
    return path_in_cache(cache, md5)


def refuse_to_lead_out(path: str) -> None:
    """End the program if a path is absolute or leads up."""
    if {"", ".."} & set(path.split("/")):
        sys.exit(f"error: {path!r} leads out of its folder")


if __name__ == "__main__":
    LocalHashFileDB.oid_to_path = safe_path_in_cache
    Tree.from_list = parse_safe_list
    output.loadd_from = parse_safe_outputs
    sys.exit(main())
