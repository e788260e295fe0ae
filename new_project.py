"""Make a project of a table of one's own, with git, DVC, a schema and what this repository runs.

It takes Python, git and make; what else is needed is installed into the project.
"""

import argparse
import getpass
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
IN_GIT = 10 * 2**20  # bytes of a table up to which it is in git itself
EXAMPLES = {"breast_cancer": "target", "diabetes": "target", "iris": "target", "wine": "target"}
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the project to make")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--table", help="a CSV with a header line or a Parquet file; or its URL")
    source.add_argument("--example", choices=EXAMPLES, help="a table of scikit-learn")
    parser.add_argument("--target", help="the column to predict")
    parser.add_argument("--remote", help="where DVC stores outputs: s3://bucket/path, or a folder")
    args = parser.parse_args()
    if args.example:
        args.target = args.target or EXAMPLES[args.example]
    elif not args.target:
        parser.error("--target: needed with --table; the column to predict")
    elif "://" not in args.table and not Path(args.table).is_file():
        parser.error(f"--table: {args.table}: no such file")
    if args.folder.exists() and any(args.folder.iterdir()):
        parser.error(f"{args.folder}: not empty; expected the name of a new folder")
    return args


def run(folder: Path, *command: str | Path) -> None:
    """Run a command in the project; end where it fails, which it has said."""
    path = f"{folder / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    done = subprocess.run(command, cwd=folder, env=environment | {"PATH": path}, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed in {folder}; see above")


def copy_template(folder: Path, table: str, target: str) -> None:
    """Put what a project needs into the folder, by Copier, which this installs for a moment."""
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        python = Path(place, "bin/python")
        run(folder, python, *PIP, HERE / "requirements-copier.txt")
        answers = {"name": folder.name, "table": table, "target": target}
        data = [part for key, value in answers.items() for part in ("--data", f"{key}={value}")]
        run(folder, python, "-m", "copier", "copy", "--quiet", "--vcs-ref=HEAD", *data, HERE, ".")
    url = subprocess.run(
        ["git", "-C", HERE, "remote", "get-url", "origin"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    if "://" in url or "@" in url:  # where later versions come from
        file = folder / ".copier-answers.yml"
        lines = file.read_text().splitlines()
        file.write_text("\n".join(f"_src_path: {url}" if line.startswith("_src_path:") else line
                                  for line in lines) + "\n")  # fmt: skip


def put_table(folder: Path, args: argparse.Namespace, table: Path) -> None:
    """The table at its place in the project; a large one, or one of a URL, as DVC's."""
    (folder / table).parent.mkdir(parents=True, exist_ok=True)
    if args.example:
        load = f"from sklearn.datasets import load_{args.example} as load"
        run(
            folder,
            "python",
            "-c",
            f"{load}; load(as_frame=True).frame.to_csv('{table}', index=False)",
        )
    elif "://" in args.table:
        run(folder, "dvc", "import-url", "--quiet", args.table, table)
    else:
        shutil.copy(args.table, folder / table)
        if (folder / table).stat().st_size > IN_GIT:
            run(folder, "dvc", "add", "--quiet", table)
            print(f"{table} is too large for git: DVC has it. To share it: dvc push, to a remote")


def main() -> None:
    args = parse_arguments()
    name = f"{args.example}.csv" if args.example else args.table.rstrip("/").rpartition("/")[2]
    table, folder = Path("data/raw", name.partition("?")[0]), args.folder.resolve()
    args.table = (
        str(Path(args.table).resolve()) if args.table and "://" not in args.table else args.table
    )
    folder.mkdir(parents=True, exist_ok=True)
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    copy_template(folder, str(table), args.target)
    run(folder, "make", "--silent", ".venv/installed", f"PYTHON={sys.executable}")
    if args.remote:
        run(folder, "dvc", "remote", "add", "--default", "storage", args.remote)
    put_table(folder, args, table)
    run(folder, "python", "-m", "commands.infer_schema", table, "--target", args.target)
    run(folder, "git", "add", "--all")
    known = subprocess.run(
        ["git", "config", "user.email"], cwd=folder, capture_output=True, check=False
    )
    who = [
        "-c",
        f"user.name={getpass.getuser()}",
        "-c",
        f"user.email={getpass.getuser()}@localhost",
    ]
    run(
        folder,
        "git",
        *([] if known.stdout else who),
        "commit",
        "--quiet",
        "-m",
        f"The table {name}",
    )
    print(f"\n{folder} is a project now. Check the comments in its data/schema.yaml, then:\n")
    print(f"  cd {args.folder}\n  make repro")


if __name__ == "__main__":
    main()
