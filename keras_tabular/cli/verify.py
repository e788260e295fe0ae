"""Train the model of a commit again, and compare every output with its dvc.lock.

The command clones the commit into a temporary folder. It takes the tables from DVC's
cache or from the remote, and runs all stages with the packages of the commit's
requirements.txt. The results that are in git have to be the same, too.
"""

from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.core.errors import UserError
from keras_tabular.runs.run import LOCK, Run
from keras_tabular.runs.verify import modified_outputs, rerun


def main(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "revision",
        nargs="?",
        default="HEAD",
        help="a tag, a branch or a commit; default: HEAD",
    )
    add(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="a file to write the new model to, if no output differs",
    )
    add(
        "--files",
        action="store_true",
        help=f"run nothing; compare the outputs in this folder with {LOCK}",
    )
    args = parser.parse_args()
    if args.files:
        label = LOCK
        changed = modified_outputs()
        success = f"The outputs in this folder have the hashes that are in {LOCK}"
    else:
        run = Run(args.revision)
        label = run.label
        commit = run.sha
        print(f"Running all stages of {label} in a temporary folder", flush=True)
        changed = rerun(commit, args.output)
        success = (
            f"{label} is verified: every output has the hash that is in its dvc.lock"
        )
    for path in changed:
        print(f"{path} differs from {label}")
    if changed:
        raise UserError(f"{label} is not verified: the files above differ")
    print(success)
