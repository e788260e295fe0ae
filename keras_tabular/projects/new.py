"""Create a project for your own table: git, DVC, a schema and the pipeline.

Run it in a clone of the library: `python3 CLONE/keras_tabular new FOLDER ...`. It needs Python, git
and make. What else the project needs is installed into it.
"""

import codecs
import csv
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from urllib.request import urlopen

from keras_tabular.core.errors import UserError, format_list
from keras_tabular.projects.lock import LOCKED_PACKAGE, lock_text, locked_packages
from keras_tabular.projects.wheel import ROOT, get_wheel, pin, read_project_files, run_command

MAX_BYTES_IN_GIT = 10 * 2**20  # a larger table is tracked by DVC
MAX_HEADER = 2**20  # bytes of a table that are read to find its column names
EXAMPLES = ("breast_cancer", "diabetes", "iris", "wine")  # of scikit-learn, each with a `target`
WITH_PLACEHOLDERS = ("README.md", "data/README.md", "pyproject.toml")


def main() -> None:
    args = parse_arguments()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        create_project(folder, args)
    except BaseException:
        shutil.rmtree(folder)
        raise
    make = f"make repro VENV={shlex.quote(str(args.venv))}" if args.venv else "make repro"
    print(f"\n{args.folder} is a project now. Check the comments in its data/schema.yaml, then:\n")
    print(f"  cd {shlex.quote(str(args.folder))}\n  {make}")


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder of the new project")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--table", help="a CSV, JSON lines or Parquet file, a folder; a URL")
    source.add_argument("--example", choices=EXAMPLES, help="a table of scikit-learn")
    parser.add_argument("--target", help="the column to predict")
    parser.add_argument("--remote", help="where DVC stores outputs: s3://bucket/path, or a folder")
    parser.add_argument(
        "--venv", type=Path, help="an environment to use; otherwise make one, .venv"
    )
    args = parser.parse_args()
    args.venv = args.venv and args.venv.expanduser().resolve()
    if args.remote and "://" not in args.remote:  # DVC would look for it from the project
        args.remote = Path(args.remote).expanduser().resolve()
    if args.venv and not (args.venv / "bin/python").exists():
        parser.error(f"--venv: {args.venv} is not an environment: it has no bin/python")
    if args.example:
        args.table, args.target = f"{args.example}.csv", args.target or "target"
    elif not args.target:
        parser.error("--target: needed with --table; the column to predict")
    elif "://" not in args.table and not Path(args.table).exists():
        parser.error(f"--table: {args.table}: no such file")
    else:  # a mistake is found before anything is installed
        try:
            headers = possible_headers(args.table)
        except (OSError, zlib.error, csv.Error) as error:
            parser.error(f"--table: {args.table}: {error}")
        if headers and not any(args.target in names for names in headers):
            names = nearest_first(max(headers, key=len), args.target)
            parser.error(
                f"--target: {args.table} has no column {args.target!r}. Its columns, the most "
                f"similar name first: {format_list(map(repr, names))}"
            )
    if args.folder.exists() and any(args.folder.iterdir()):
        parser.error(f"{args.folder}: not empty; expected the name of a new folder")
    return args


def nearest_first(names: list[str], target: str) -> list[str]:
    """Return the names by their similarity to the target, in which case does not count."""
    ratios = {
        name: SequenceMatcher(None, name.casefold(), target.casefold()).ratio() for name in names
    }
    return sorted(names, key=ratios.__getitem__, reverse=True)


def possible_headers(table: str) -> list[list[str]]:
    """Return the names in the header of a CSV file for each delimiter that it may have.

    There are none for a file in another format.

    Args:
        table: A file, a folder whose first file is read, or a URL.
    """
    if table.startswith(("http://", "https://")):
        with urlopen(table, timeout=30) as response:
            start = response.read(MAX_HEADER)
    else:
        files = [Path(table)]
        if files[0].is_dir():
            files = sorted(
                f for f in files[0].iterdir() if f.suffix != ".dvc" and not f.name.startswith(".")
            )
        if not files or not files[0].is_file():  # also a URL that only DVC can read
            return []
        with files[0].open("rb") as file:
            start = file.read(MAX_HEADER)
    if start.startswith((b"{", b"\x28\xb5\x2f\xfd")):  # JSON lines, Zstandard
        return []
    if start.startswith(b"\x1f\x8b"):  # gzip
        start = zlib.decompressobj(wbits=31).decompress(start, MAX_HEADER)
    encoding = "utf-8-sig"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in start:  # a Parquet file, for example
        return []
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(start)  # its end may be cut off
    except UnicodeDecodeError:
        text = start.decode("latin-1")
    headers = []
    for delimiter in ",;\t|":
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        headers.append(next(filter(None, rows), []))
    return headers


def create_project(folder: Path, args: Namespace) -> None:
    """Fill an empty folder with a project, and commit it."""
    name = args.table.rstrip("/").rpartition("/")[2].partition("?")[0]
    table = Path("data/raw", name)
    run_in_project = partial(run_command, cwd=folder, venv=args.venv or folder / ".venv")
    run_in_project("git", "init", "--quiet", "--initial-branch=main")
    write_files(folder, str(table), args.target)
    if args.venv:
        try:
            run_in_project("python", "-m", "keras_tabular.projects.lock")
        except UserError:  # requirements.txt of the project will not exist
            pip, clone = shlex.quote(f"{args.venv}/bin/pip"), shlex.quote(str(ROOT))
            raise UserError(
                f"--venv: run `{pip} install --require-hashes -r {clone}/requirements.txt` and "
                f"`{pip} install --no-deps {clone}`, or leave out --venv"
            ) from None
        run_in_project("make", "--silent", "check-environment", f"VENV={args.venv}")
    else:
        run_in_project("make", "--silent", ".venv/installed", f"PYTHON={sys.executable}", "VENV=")
    if args.remote:
        run_in_project("dvc", "remote", "add", "--quiet", "--default", "storage", args.remote)
    put_table(run_in_project, folder, args, table)
    run_in_project(
        "python", "-m", "keras_tabular", "infer-schema", table, f"--target={args.target}"
    )
    run_in_project("git", "add", "--all")
    identity = []
    get_email = ("git", "-C", folder, "config", "user.email")
    if subprocess.run(get_email, capture_output=True, check=False).returncode:
        user = os.environ.get("USER", "user")
        identity = ["-c", f"user.name={user}", "-c", f"user.email={user}@localhost"]
    run_in_project("git", *identity, "commit", "--quiet", "-m", f"The table {name}")


def write_files(folder: Path, table: str, target: str) -> None:
    """Write the files that every project has, and a wheel of the library with its hash."""
    words = {  # for placeholders, which are {{ name }} and so on
        "name": folder.name,
        "package": re.sub("[^a-z0-9]+", "-", folder.name.lower()).strip("-") or "table",
        "table": table,
        "table_in_shell": shlex.quote(table),
        "target": target,
        "target_in_python": repr(target),
        "target_in_table": target.replace("|", r"\|"),
    }
    (folder / "vendor").mkdir()
    wheel = get_wheel(folder / "vendor")
    for name, (content, mode) in read_project_files(wheel).items():
        if name in WITH_PLACEHOLDERS:
            text = content.decode()
            content = re.sub(r"\{\{ ?(\w+) ?\}\}", lambda match: words[match[1]], text).encode()
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    edit_file(folder / "dvc.yaml", depend_on_lock)
    edit_file(folder / "requirements.txt", lambda lock: lock_library(lock, wheel))


def edit_file(path: Path, edit: Callable[[str], str]) -> None:
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")


def depend_on_lock(pipeline: str) -> str:
    """Let each stage of dvc.yaml depend on requirements.txt in place of the library's folders."""
    folders = r"(?:^ +- keras_tabular/.*\n)+"
    return re.sub(folders, "      - requirements.txt\n", pipeline, flags=re.MULTILINE)


def lock_library(lock: str, wheel: Path) -> str:
    """Add the library to the lock file of the packages that it needs."""
    packages = locked_packages(lock) | pin(wheel)
    return lock_text(f"{LOCKED_PACKAGE.sub('', lock)}--find-links vendor\n\n", packages)


def put_table(
    run_in_project: Callable[..., None], folder: Path, args: Namespace, table: Path
) -> None:
    """Put the table into the project. DVC tracks a large table, and a table from a URL."""
    (folder / table).parent.mkdir(parents=True, exist_ok=True)
    if args.example:
        load = f"from sklearn.datasets import load_{args.example} as load"
        write = f"{load}; load(as_frame=True).frame.to_csv('{table}', index=False)"
        run_in_project("python", "-c", write)
    elif "://" in args.table:
        run_in_project("dvc", "import-url", args.table, table)
    else:
        source, copied = Path(args.table), folder / table
        shutil.copytree(source, copied) if source.is_dir() else shutil.copy(source, copied)
        if sum(file.stat().st_size for file in [copied, *copied.rglob("*")]) > MAX_BYTES_IN_GIT:
            run_in_project("dvc", "add", "--quiet", table)
            print(f"{table} is too large for git, so DVC tracks it. To share it, run `dvc push`")
