"""Run DVC, which here writes no file where a list of files leads out of its folder.

DVC trusts the list of the files in a folder, which comes from a remote: it writes each
file where the list says, and into its cache where the hash in the list says.

The file imports nothing else of the library: `run_module` runs it by its path with
`python -P`, so that no file of a project takes the place of DVC.
"""

import sys
from typing import Any

from dvc.cli import main
from dvc_data.hashfile.tree import Tree

parse_list = Tree.from_list


def parse_safe_list(files: list[Any], hash_name: Any = None) -> Tree:
    """Return DVC's object for the list of the files in a folder."""
    for file in files:
        refuse_to_lead_out(file["relpath"])
        refuse_to_lead_out(str(file.get("md5")))
    return parse_list(files, hash_name)


def refuse_to_lead_out(path: str) -> None:
    """End the program if a path is absolute or leads up."""
    if {"", ".."} & set(path.split("/")):
        sys.exit(f"error: {path!r} leads out of the folder of its list")


if __name__ == "__main__":
    Tree.from_list = parse_safe_list
    sys.exit(main())
