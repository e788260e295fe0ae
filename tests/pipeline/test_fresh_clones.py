"""A commit is run again in a fresh clone: for a pull request, or to verify a version."""

import hashlib
import re
import shutil
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from tests.commands import check_output, run_command
from tests.documentation import MAKE_VARIABLES
from tests.helpers import PROJECT
from tests.projects import commit_all

MODEL = "models/model.keras"


@pytest.mark.slow
def test_a_commit_is_verified_from_its_inputs_alone(workspace: Path, tmp_path: Path) -> None:
    table, cache = workspace / "data/raw/diabetes.csv", workspace / ".dvc/cache"
    check_output(workspace, "git", "rm", "-q", "--cached", str(table))
    check_output(workspace, "dvc", "add", "--quiet", str(table))
    commit_all(workspace, "Track the table with DVC")
    check_output(workspace, "git", "tag", "model@v1.0.0")
    model = workspace / MODEL
    expected = model.read_bytes()
    model.unlink()
    objects = sorted(cache.rglob("*"))

    options = {"REV": "model@v1.0.0", "OUT": str(tmp_path / "new.keras")}
    output = check_output(workspace, "make", "verify", **MAKE_VARIABLES, **options)
    assert "model@v1.0.0 is verified" in output
    assert (tmp_path / "new.keras").read_bytes() == expected
    assert not model.exists()
    assert sorted(cache.rglob("*")) == objects
    assert check_output(workspace, "git", "status", "--porcelain") == ""

    shutil.rmtree(cache)
    completed = run_command(workspace, "make", "verify", "REV=HEAD", **MAKE_VARIABLES)
    assert completed.returncode != 0
    output = completed.stdout + completed.stderr
    assert "diabetes.csv" in output
    assert "Running stage" not in output


@pytest.mark.parametrize(
    ("uv", "hash_differs"), [("", True), ("false", False), ("uv", True), ("uv", False)]
)
def test_make_installs_locked_packages_with_uv_or_else_with_pip(
    uv: str, hash_differs: bool, tmp_path: Path
) -> None:
    if uv and not shutil.which(uv):
        pytest.skip("no uv")
    project = tmp_path / "my project"
    wheel = create_wheel(project / "vendor")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(PROJECT / "keras_tabular/projects/files" / name, project)
    check_output(project, "dvc", "init", "--quiet", "--no-scm")
    digest = "0" * 64 if hash_differs else hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = f"--no-index\n--find-links vendor\ntiny==1.0 --hash=sha256:{digest}\n"
    (project / "requirements.txt").write_text(lock)
    make = ("make", ".venv/installed", f"UV={uv}", f"PYTHON={sys.executable}")
    completed = run_command(project, *make)
    assert (completed.returncode != 0) is hash_differs, completed.stderr
    uv_fails = uv == "false" or (uv == "uv" and hash_differs)
    assert ("uv failed. pip installs" in completed.stderr) is uv_fails
    compiled = [*project.glob(".venv/lib/*/site-packages/__pycache__/tiny.*.pyc")]
    assert bool(compiled) is not hash_differs


def create_wheel(folder: Path) -> Path:
    """Create a folder with a wheel of one module, and return the path of the wheel."""
    folder.mkdir(parents=True)
    metadata = {
        "METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files = {"tiny.py": ""} | {f"tiny-1.0.dist-info/{name}": metadata[name] for name in metadata}
    files["tiny-1.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files)
    with ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return folder / "tiny-1.0-py3-none-any.whl"


def test_no_job_with_write_permission_or_credentials_runs_code_of_a_pull_request() -> None:
    """`make check` runs zizmor, which finds other dangers in workflows.

    The credentials are comments, which the owner of a remote uncomments.
    """
    folders, names = (PROJECT, PROJECT / "keras_tabular/projects/files"), list[str]()
    for file in (file for folder in folders for file in folder.glob(".github/workflows/*.yml")):
        text = re.sub(r"^( +)# (env:|  \w+: \$)", r"\1\2", file.read_text(), flags=re.MULTILINE)
        for job in yaml.safe_load(text)["jobs"].values():
            if "write" in job.get("permissions", {}).values():
                assert not any("checkout" in step.get("uses", "") for step in job["steps"])
            assert "secrets." not in str(job.get("env"))
            for step in (step for step in job["steps"] if "secrets." in str(step)):
                names.append(file.name)
                if "\n  pull_request:" in text:
                    commands = re.findall(r"^(?:\[.*?\] \|\| )?(\S+)", step["run"], re.MULTILINE)
                    assert commands == [".", "dvc"]
    assert sorted(names) == ["ci.yml", "deploy.yml", "release.yml", "report.yml"]
