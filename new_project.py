"""Make a project of a table of one's own, with git, DVC, a schema and what this repository runs.

It takes Python, git and make; what else is needed is installed into the project.
"""

import argparse
import codecs
import csv
import getpass
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zlib
from difflib import SequenceMatcher
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).resolve().parent
IN_GIT = 10 * 2**20  # bytes of a table up to which it is in git itself
MAX_HEADER = 2**20  # bytes of a table that are read to find its column names
MAX_NAMES = 20  # column names in a message
EXAMPLES = ("breast_cancer", "diabetes", "iris", "wine")  # of scikit-learn, each with a `target`
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the project to make")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--table", help="a CSV, JSON lines or Parquet file, a folder; a URL")
    source.add_argument("--example", choices=EXAMPLES, help="a table of scikit-learn")
    parser.add_argument("--target", help="the column to predict")
    parser.add_argument("--remote", help="where DVC stores outputs: s3://bucket/path, or a folder")
    args = parser.parse_args()
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
            more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
            parser.error(
                f"--target: {args.table} has no column {args.target!r}. Its columns, the most "
                f"similar name first: {', '.join(repr(n[:80]) for n in names[:MAX_NAMES])}{more}"
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


def run(folder: Path, *command: str | Path) -> None:
    """Run a command in the project; end where it fails, which it has said."""
    path = f"{folder / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, cwd=folder, env=os.environ | {"PATH": path}, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed in {folder}; see above")


def read(*command: str | Path) -> str:
    """What a command prints; nothing where it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def copy_template(folder: Path, table: Path, target: str) -> None:
    """Put what a project needs into it, by Copier, which is installed for a moment where needed."""
    answers = {"name": folder.name, "table": str(table), "target": target}
    data = [part for key, value in answers.items() for part in ("--data", f"{key}={value}")]
    with tempfile.TemporaryDirectory() as place:
        # What is committed: later versions are merged with a commit that they can find.
        committed, python = Path(place, "template"), Path(sys.executable)
        run(folder, "git", "clone", "--quiet", HERE, committed)
        if not find_spec("copier"):
            venv.create(place, with_pip=True)
            python = Path(place, "bin/python")
            run(folder, python, *PIP, HERE / "requirements-copier.txt")
        copy = ("-m", "copier", "copy", "--quiet", "--vcs-ref=HEAD")
        run(folder, python, *copy, *data, committed, ".")
    url = read("git", "-C", HERE, "remote", "get-url", "origin")
    source = url if "://" in url or "@" in url else HERE  # where later versions come from
    file = folder / ".copier-answers.yml"
    file.write_text(re.sub("^_src_path: .*", f"_src_path: {source}", file.read_text(), flags=re.M))


def put_table(folder: Path, args: argparse.Namespace, table: Path) -> None:
    """The table at its place in the project; a large one, or one of a URL, as DVC's."""
    (folder / table).parent.mkdir(parents=True, exist_ok=True)
    if args.example:
        load = f"from sklearn.datasets import load_{args.example} as load"
        write = f"{load}; load(as_frame=True).frame.to_csv('{table}', index=False)"
        run(folder, "python", "-c", write)
    elif "://" in args.table:
        run(folder, "dvc", "import-url", args.table, table)
    else:
        given, copied = Path(args.table), folder / table
        shutil.copytree(given, copied) if given.is_dir() else shutil.copy(given, copied)
        if sum(file.stat().st_size for file in [copied, *copied.rglob("*")]) > IN_GIT:
            run(folder, "dvc", "add", "--quiet", table)
            print(f"{table} is too large for git: DVC has it. To share it: dvc push, to a remote")


def make_project(folder: Path, args: argparse.Namespace) -> None:
    """Make it in an empty folder."""
    name = args.table.rstrip("/").rpartition("/")[2].partition("?")[0]
    table = Path("data/raw", name)
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    copy_template(folder, table, args.target)
    run(folder, "make", "--silent", ".venv/installed", f"PYTHON={sys.executable}")
    if args.remote:
        run(folder, "dvc", "remote", "add", "--quiet", "--default", "storage", args.remote)
    put_table(folder, args, table)
    run(folder, "python", "-m", "keras_tabular", "infer-schema", table, "--target", args.target)
    run(folder, "git", "add", "--all")
    who = getpass.getuser()
    identity = ["-c", f"user.name={who}", "-c", f"user.email={who}@localhost"]
    known = read("git", "config", "user.email")
    run(folder, "git", *([] if known else identity), "commit", "--quiet", "-m", f"The table {name}")


def main() -> None:
    args = parse_arguments()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        make_project(folder, args)
    except BaseException:
        shutil.rmtree(folder)
        raise
    print(f"\n{args.folder} is a project now. Check the comments in its data/schema.yaml, then:\n")
    print(f"  cd {args.folder}\n  make repro")


if __name__ == "__main__":
    main()
