"""Upgrade a project to a later version of the library, and print what has changed.

Run this command with a clone of the later version: `python3 CLONE/keras_tabular upgrade
FOLDER`. It replaces the wheel in vendor and the packages in the lock files. It merges
the changes of the library into dvc.yaml, custom.py, Makefile, the scripts and the
workflows. It deletes files that the library does not have any more, unless you have
edited them. It installs the packages into .venv. In network.py and other scripts, it
corrects imports of modules that have another name now. README.md, params.yaml,
pyproject.toml and data stay as they are.
"""

from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.new_project.upgrade import upgrade


def main(parser: ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=".",
        help="the folder of the project; default: the current folder",
    )
    upgrade(parser.parse_args().folder)
