"""Create a project for your own table: a git repository with a pipeline and a schema.

Besides the library, or a clone of it (`python3 CLONE/keras_tabular new FOLDER ...`),
you need Python, git and make. The packages are installed into the new project.
"""

import csv
import shlex
from argparse import ArgumentParser, Namespace
from itertools import islice
from pathlib import Path

from keras_tabular.core.errors import format_list, suggestion
from keras_tabular.core.files import remove
from keras_tabular.new_project.new import create_project

MAX_TITLES = 20  # lines of a table among which the header is
# Tables of scikit-learn, each with a column `target`.
EXAMPLES = ("breast_cancer", "diabetes", "iris", "wine")


def main(parser: ArgumentParser) -> None:
    args = parse_arguments(parser)
    folder = args.folder.resolve()
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        commit = create_project(folder, args)
    except BaseException:
        for path in [folder] if is_new else folder.iterdir():
            remove(path)
        raise
    print(
        f"\nThe project {args.folder} is ready. Check the comments in data/schema.yaml,"
        " then:\n",
    )
    for command in (f"cd {shlex.quote(str(args.folder))}", *commit, "make repro"):
        print(f"  {command}")


def parse_arguments(parser: ArgumentParser) -> Namespace:
    """Return the arguments, with the name of the table and the target of an example."""
    add = parser.add_argument
    add("folder", type=Path, help="the new folder for the project")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--table",
        metavar="TABLE",
        help="your table: a CSV, Excel, JSON lines or Parquet file, a folder of such"
        " files, or a URL",
    )
    source.add_argument(
        "--example",
        choices=EXAMPLES,
        help="use a table of scikit-learn",
    )
    add("--target", metavar="COLUMN", help="the column to predict")
    add(
        "--venv",
        metavar="FOLDER",
        type=Path,
        help="let .venv be a link to this virtual environment, which has the locked"
        " packages and the library; default: a new one, with hard links to the packages"
        " of the clone's .venv or of the environment of the library, if they are the"
        " locked ones",
    )
    args = parser.parse_args()
    if args.venv:
        args.venv = args.venv.expanduser().resolve()
    if args.example:
        args.table = f"{args.example}.csv"
        args.target = args.target or "target"
    elif not args.target:
        parser.error("--target: name the column to predict; --table needs it")
    elif "://" not in args.table:  # a mistake is found before anything is installed
        if not Path(args.table).exists():
            parser.error(f"--table: {args.table}: no such file")
        problem = find_unknown_target(Path(args.table), args.target)
        if problem:
            parser.error(problem)
    if args.folder.exists() and any(args.folder.iterdir()):
        parser.error(f"{args.folder}: this folder is not empty. Name a new one")
    return args


def find_unknown_target(table: Path, target: str) -> str:
    """Describe the mistake if no possible header of a CSV file has the target.

    The header may be below titles, and have any delimiter. `infer-schema` reads tables
    in other formats and encodings.
    """
    if table.suffix.lower() != ".csv" or not table.is_file():
        return ""
    headers = list[list[str]]()
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines = list(islice(file, MAX_TITLES))
        for delimiter in ",;\t|":
            headers += csv.reader(lines, delimiter=delimiter)
    except (UnicodeDecodeError, csv.Error):
        return ""
    if not headers or any(target in names for names in headers):
        return ""
    header = max(
        headers,
        key=lambda names: sum(not name[:1].isdigit() for name in names),
    )
    return (
        f"--target: expected one of {format_list(map(repr, header))}, got {target!r}."
        f"{suggestion(target, header)}"
    )
