"""A table becomes a project of its own, into which later versions come beside its owner's edits."""

import gzip
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from new_project import possible_headers
from tests.helpers import MADE, PROJECT, clone, commit, must, run, table_of

TEMPLATE = PROJECT / "template"


def new_project(template: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = str(template / "new_project.py")
    return run(folder.parent, sys.executable, script, folder.name, *arguments, **MADE)


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


@pytest.fixture
def project(origin: Path, tmp_path: Path) -> Path:
    """One that trains for a second."""
    template, folder = clone(origin, tmp_path / "template"), tmp_path / "of words"
    (template / "not committed").write_text("is not part of it\n")
    table_of("words").to_csv(tmp_path / "words.csv", index=False)
    table = ("--table", str(tmp_path / "words.csv"), "--target", "y")
    done = new_project(template, folder, *table)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("then:\n\n  cd of words\n  make repro\n")
    edit(folder / "params.yaml", "folds: auto", "folds: 2")
    edit(folder / "params.yaml", "members: auto", "members: [{network: plain}]")
    commit(folder, "A short training")
    return folder


def test_a_project_holds_what_it_runs_and_takes_a_later_version(
    project: Path, tmp_path: Path
) -> None:
    listed = must(project, "git", "ls-files").splitlines()
    assert len(listed) <= 165
    assert {"README.md", "data/README.md", "data/schema.yaml", "data/raw/words.csv"} < {*listed}
    assert not [name for name in listed if name.startswith(("docs/", "benchmarks/", "metrics/m"))]
    assert "Predicts `y`" in (project / "README.md").read_text()
    for step in yaml.safe_load((project / ".github/workflows/ci.yml").read_text())["jobs"]["test"][
        "steps"
    ]:
        if "run" in step:
            must(project, "bash", "-ec", step["run"], **MADE)
    commit(project, "First run")
    must(project, "dvc", "repro", "--force")
    assert must(project, "git", "status", "--porcelain") == ""

    # A later version is merged with the edits of its owner.
    network, stage = project / "keras_tabular/model/network.py", project / "stages/gate.py"
    edit(network, '"""', '"""Mine. ')
    edit(
        stage,
        "    args = parser.parse_args()\n",
        "    args = parser.parse_args()\n    print('own')\n",
    )
    edit(project / ".github/workflows/ci.yml", "timeout-minutes: 60", "timeout-minutes: 90")
    commit(project, "My edits")
    template = tmp_path / "template"
    edit(
        template / "keras_tabular/model/network.py",
        "\nimport ",
        "\n# of the later version\nimport ",
    )
    edit(template / "params.yaml", "# Every number", "# Later: every number")
    edit(
        template / "template/.github/workflows/ci.yml", "timeout-minutes: 60", "timeout-minutes: 70"
    )
    (template / "not committed").unlink()
    commit(template, "A later version")
    must(project, "make", "update", **MADE)
    for file, texts in {
        network: ["Mine. ", "# of the later version"],
        stage: ["print('own')"],
        project / "params.yaml": ["# Later: every number", "folds: 2"],
        project / ".github/workflows/ci.yml": [
            "<<<<<<< before updating", "minutes: 90", "minutes: 70", ">>>>>>> after updating"
        ],
    }.items():  # fmt: skip
        assert [text for text in texts if text not in file.read_text()] == [], file
    assert "\nown\n" in must(project, "dvc", "repro")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "none.csv", "--target", "y"], "--table: none.csv: no such file"),
        (
            ["--table", "t.csv", "--target", "Yes"],
            "t.csv has no column 'Yes'. Its columns, the most similar name first: 'y', 'x'",
        ),
        (["--table", "http://127.0.0.1:9/t.csv", "--target", "y"], "9/t.csv: <urlopen error "),
        (["--table", "t.csv"], "--target: needed with --table; the column to predict"),
        (["--example", "wine", "--target", "z"], "--target: found 'z'; the columns are alcohol"),
    ],
)
def test_what_cannot_become_a_project_leaves_no_folder(
    arguments: list[str], message: str, origin: Path, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    done = new_project(origin, tmp_path / "new", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert not (tmp_path / "new").exists()


LONG = "a,b\n" + "x" * 2**20 + ",1\n"


@pytest.mark.parametrize(
    ("file", "content", "names"),
    [
        ("t.csv", b'\xef\xbb\xbfage,"the, target"\n1,2\n', ["age", "the, target"]),
        ("t.csv", b'"a ""b""";"two\nlines"\r\n1;2\r\n', ['a "b"', "two\nlines"]),
        ("t.csv.gz", gzip.compress(LONG.encode() * 3), ["a", "b"]),
        ("t.csv", "größe;y\n1;2\n".encode("utf-16"), ["größe", "y"]),
        ("t.csv", "größe;y\n1;2\n".encode("latin-1"), ["größe", "y"]),
        ("t.parquet", b"PAR1\0\0", []),
        ("t.jsonl", b'{"a": 1, "b": 2}\n', []),
        ("t.csv.zst", b"\x28\xb5\x2f\xfd$a,b\n", []),
        ("folder/1.csv", b"a,b\n", ["a", "b"]),
    ],
)
def test_the_names_in_a_header_are_read_without_other_packages(
    file: str, content: bytes, names: list[str], tmp_path: Path
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    table = path.parent if "/" in file else path
    headers = possible_headers(str(table))
    assert max(headers, key=len, default=[]) == names


def test_its_packages_are_those_of_this_repository() -> None:
    here = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    text = (TEMPLATE / "pyproject.toml.jinja").read_text()
    there = tomllib.loads(re.sub(r"\{\{.*\}\}", "x", text))
    assert there["project"]["dependencies"] == here["project"]["dependencies"]
    assert there["tool"]["uv"] == here["tool"]["uv"]
    groups = here["dependency-groups"]
    assert there["dependency-groups"] == {name: groups[name] for name in ("copier", "ray", "serve")}
