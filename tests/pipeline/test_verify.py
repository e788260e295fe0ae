"""A version is verified: its model is trained again, and its packages are listed."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from keras_tabular.projects.lock import locked_packages
from tests.commands import check_output, run_command
from tests.documentation import MAKE_VARIABLES
from tests.helpers import PROJECT
from tests.projects import commit_all, read_output_hashes

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

    def verify(revision: str, **environment: str) -> tuple[int, str]:
        command = ("make", "verify", f"REV={revision}")
        completed = run_command(workspace, *command, **MAKE_VARIABLES | environment)
        return completed.returncode, completed.stdout + completed.stderr

    code, output = verify("model@v1.0.0", OUT=str(tmp_path / "new.keras"))
    assert code == 0, output
    assert "model@v1.0.0 is verified" in output
    assert (tmp_path / "new.keras").read_bytes() == expected
    assert not model.exists()
    assert sorted(cache.rglob("*")) == objects
    assert check_output(workspace, "git", "status", "--porcelain") == ""

    lock = workspace / "dvc.lock"
    lock.write_text(lock.read_text().replace(read_output_hashes(workspace)[MODEL], "f" * 32))
    commit_all(workspace, "Name another model")
    code, output = verify("HEAD")
    assert code != 0
    assert f"\n{MODEL} differs from " in output
    assert "data/oof differs" not in output

    shutil.rmtree(cache)
    code, output = verify("HEAD")
    assert code != 0
    assert "diabetes.csv" in output
    assert "Running stage" not in output


@pytest.mark.slow
def test_the_list_of_packages_is_that_of_the_lock_file(tmp_path: Path) -> None:
    """This installs the locked packages of the group `release`."""
    check_output(tmp_path, sys.executable, "-m", "venv", ".venv")
    install = (".venv/bin/python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r")
    check_output(tmp_path, *install, str(PROJECT / "requirements/release.txt"))
    shutil.copy(PROJECT / "requirements.txt", tmp_path)
    shutil.copy(PROJECT / "keras_tabular/projects/files/Makefile", tmp_path)
    check_output(tmp_path, "make", "sbom", MAKEFLAGS="-o .venv/installed-release")

    components = json.loads((tmp_path / "sbom.json").read_text())["components"]
    hashes = {
        part["purl"]: [entry["content"] for entry in part["externalReferences"][0]["hashes"]]
        for part in components
    }
    packages = locked_packages((tmp_path / "requirements.txt").read_text())
    assert hashes == {
        f"pkg:pypi/{lines.split()[0].replace('==', '@')}": re.findall("sha256:([0-9a-f]+)", lines)
        for lines in packages.values()
    }
