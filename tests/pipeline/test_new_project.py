"""A project is created for a table, and is upgraded to a later version of the library."""

import hashlib
import os
import re
import shutil
import sys
import tomllib
import venv
from pathlib import Path

import numpy as np
import pytest
import yaml

from keras_tabular.core.version import VERSION
from keras_tabular.projects.lock import locked_packages
from keras_tabular.projects.new import HEADER
from tests.commands import CompletedCommand, check_output, run_command
from tests.documentation import MAKE_VARIABLES
from tests.helpers import PROJECT
from tests.projects import change_settings, clone, commit_all, copy_project, read_output_hashes
from tests.tables import load_table


@pytest.fixture(scope="module")
def environment(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the library and the packages that run the tests."""
    folder = tmp_path_factory.mktemp("environments") / "an environment"
    venv.create(folder)
    (site_packages,) = folder.glob("lib/*/site-packages")
    (site_packages / "tests.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
    build = ("-m", "hatchling", "build", "--target", "wheel", "--directory")
    check_output(origin, sys.executable, *build, str(folder))
    (wheel,) = folder.glob("*.whl")
    install = ("-m", "pip", "install", "--quiet", "--no-deps", str(wheel))
    check_output(folder, "bin/python", *install)
    return folder


@pytest.fixture(scope="module")
def project(origin: Path, environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the pipeline has run, with a commit of the results."""
    parent = tmp_path_factory.mktemp("projects")
    project, table = parent / "of words", parent / "words.csv"
    load_table("mixed_binary").to_csv(table, index=False, sep=";")
    library = clone(origin, parent / "library")
    (library / "keras_tabular/not_committed.py").write_text("is not part of the library\n")
    arguments = ("--table", str(table), "--target", "y")
    completed = create_new(library, project, environment, *arguments)
    assert completed.returncode == 0, completed.stderr
    command = f"make repro VENV='{environment}'"
    assert completed.stdout.endswith(f"then:\n\n  cd 'of words'\n  {command}\n")
    change_settings(project, train={"folds": 2, "members": [{"network": "plain"}]})
    check_output(project, "bash", "-ec", command)
    commit_all(project, "First run")
    return project


def create_new(library: Path, folder: Path, environment: Path, *arguments: str) -> CompletedCommand:
    """Create a project as the README does: with Python and a clone of the library."""
    command = (sys.executable, str(library / "keras_tabular"), "new", folder.name)
    return run_command(folder.parent, *command, *arguments, "--venv", str(environment))


@pytest.fixture(scope="module")
def sub_folder(origin: Path, environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a folder of a repository with other files, with the commit that `new` prints."""
    repository = tmp_path_factory.mktemp("repository")
    for name in ("committed.txt", "staged.txt", "untracked.txt"):
        (repository / name).write_text(name)
    check_output(repository, "git", "init", "--quiet")
    check_output(repository, "git", "add", "committed.txt")
    check_output(repository, "git", "commit", "--quiet", "-m", "First")
    check_output(repository, "git", "add", "staged.txt")
    before = check_output(repository, "git", "status", "--porcelain")

    folder = repository / "models/my wine"
    folder.parent.mkdir()
    completed = create_new(origin, folder, environment, "--example", "wine")
    assert completed.returncode == 0, completed.stderr
    assert not (folder / ".git").exists()
    status = check_output(repository, "git", "status", "--porcelain")
    assert status == before.replace("?? untracked", "?? models/\n?? untracked")
    commands = completed.stdout.partition("then:\n\n")[2].rpartition("\n  make")[0]
    check_output(folder.parent, "bash", "-ec", commands)
    assert check_output(repository, "git", "status", "--porcelain") == before
    assert check_output(repository, "git", "log", "--format=%s") == "The table wine.csv\nFirst\n"
    return folder


def test_a_project_in_a_repository_adds_nothing_else_to_a_commit(sub_folder: Path) -> None:
    names = check_output(sub_folder, "git", "show", "--name-only", "--format=", "HEAD").splitlines()
    assert all(name.startswith("models/my wine/") for name in names)
    assert "models/my wine/data/raw/wine.csv" in names


@pytest.mark.slow
def test_a_project_in_a_repository_runs_and_is_verified(
    sub_folder: Path, environment: Path, tmp_path: Path
) -> None:
    project = copy_project(sub_folder.parents[1], tmp_path / "copy") / "models/my wine"
    change_settings(project, train={"folds": 2, "members": [{"network": "plain"}]})
    make = ("make", f"VENV={environment}")
    check_output(project, *make, "repro")
    commit_all(project, "A run")
    outputs = check_output(project, *make, "gate"), check_output(project, *make, "report")
    assert "Gate: " in outputs[0]
    assert "report.html: workspace\n" in outputs[1]
    assert "is verified: every output has the hash" in check_output(project, *make, "verify")


def test_a_project_has_few_files_of_its_own(project: Path) -> None:
    before_the_run = ("git", "ls-tree", "-r", "--name-only", "HEAD~1")
    names = check_output(project, *before_the_run).splitlines()
    assert len(names) <= 42
    assert {"README.md", "data/README.md", "data/schema.yaml", "data/raw/words.csv"} < {*names}
    assert "predicts\n`y` from the other columns" in (project / "README.md").read_text()
    for stage in yaml.safe_load((project / "dvc.yaml").read_text())["stages"].values():
        assert stage["deps"].count("requirements.txt") == 1
        assert not [path for path in stage["deps"] if path.startswith("keras_tabular")]


def test_the_image_gets_the_library_by_the_hash_of_the_wheel(project: Path) -> None:
    (wheel,) = (project / "vendor").iterdir()
    command = re.search(
        r"^RUN (grep .+) > library\.txt", (project / "Dockerfile").read_text(), re.M
    )
    assert command
    library = check_output(project, "bash", "-ec", command[1])
    assert [*locked_packages(library)] == ["keras-tabular"]
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in library
    assert "keras-tabular" not in (project / "requirements/image.txt").read_text()


def test_workflow_of_project_passes_and_leaves_git_clean(
    project: Path, environment: Path, tmp_path: Path
) -> None:
    project = copy_project(project, tmp_path / "project")
    (project / ".venv").symlink_to(environment)
    (environment / "installed").touch()
    workflow = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())
    for step in workflow["jobs"]["test"]["steps"]:
        if "run" in step:
            check_output(project, "bash", "-ec", step["run"])
    assert check_output(project, "git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_later_version_of_the_library_keeps_the_outputs_and_files_of_a_project(
    project: Path, origin: Path, environment: Path, tmp_path: Path
) -> None:
    library = clone(origin, tmp_path / "library")
    project = copy_project(project, tmp_path / "project")
    installed = shutil.copytree(environment, project / ".venv", symlinks=True)
    (installed / "installed").touch()
    before = read_output_hashes(project)
    for name, before_edit, after_edit in (
        ("CHANGELOG.md", "\n- ", "\n- Later: a new entry.\n- "),
        ("keras_tabular/projects/files/Makefile", "# The commands", "# Later: the commands"),
        ("keras_tabular/__init__.py", '"""', '"""Later: '),
        ("stages/validate.py", '"rejected", type', '"--rejected", type'),
        ("dvc.yaml", "data/validated data/rejected", "--rejected data/rejected data/validated"),
    ):
        text = (library / name).read_text()
        assert before_edit in text
        (library / name).write_text(text.replace(before_edit, after_edit, 1))
    commit_all(library, "A later version")
    upgrade = (sys.executable, str(library / "keras_tabular"), "upgrade", str(project))
    output = check_output(tmp_path, *upgrade)
    assert output.endswith("New entries of the change log:\n\n- Later: a new entry.\n\n")
    (module,) = installed.glob("lib/*/site-packages/keras_tabular/__init__.py")
    assert module.read_text().startswith('"""Later: ')
    assert "up to date" in check_output(project, "make", "--dry-run", ".venv/installed")
    check_output(project, "make", "repro")
    assert read_output_hashes(project) == before
    changed = check_output(project, "git", "diff", "--name-only", "HEAD").splitlines()
    (wheel,) = project.glob("vendor/*")
    outputs = ["Makefile", "dvc.lock", "dvc.yaml", "requirements.txt", "stages/validate.py"]
    assert changed == [*outputs, f"vendor/{wheel.name}"]
    os.utime(installed / "installed", (0, 0))  # as if pip had failed
    assert "New entries of the change log:\n\n(none)\n" in check_output(tmp_path, *upgrade)
    assert "up to date" in check_output(project, "make", "--dry-run", ".venv/installed")


def test_a_project_has_links_to_the_packages_of_the_clone_and_its_own_library(
    origin: Path, environment: Path, tmp_path: Path
) -> None:
    library, project = clone(origin, tmp_path / "library"), tmp_path / "my wine"
    shutil.copytree(environment, library / ".venv", symlinks=True)
    (module,) = library.glob(".venv/lib/*/site-packages/keras_tabular/__init__.py")
    module.write_text("raise RuntimeError('another version of the library')\n")
    python = f"{library}/.venv/bin/python"
    for name, header in ("short", f"#!{python}\n"), ("long", HEADER.format(python=f'"{python}"')):
        (library / ".venv/bin" / name).write_text(f"{header}import sys\nprint(sys.prefix)\n")
    new = (sys.executable, str(library / "keras_tabular"), "new", "my wine", "--example", "wine")
    output = check_output(tmp_path, *new)
    assert f"The packages in .venv are hard links to those in {library}/.venv, so they" in output
    packages, linked = (next(path.glob(".venv/lib/*/site-packages")) for path in (library, project))
    assert (packages / "tests.pth").samefile(linked / "tests.pth")
    assert "up to date" in check_output(project, "make", "--dry-run", ".venv/installed")
    assert check_output(project, "git", "status", "--porcelain") == ""

    shutil.rmtree(library)
    for program in ("short", "long"):
        assert check_output(project, f".venv/bin/{program}") == f"{project}/.venv\n"
    assert "schema" in check_output(project, ".venv/bin/keras-tabular", "docs")


def test_a_project_has_no_links_to_packages_that_differ_from_the_lock_file(
    origin: Path, environment: Path, tmp_path: Path
) -> None:
    library = clone(origin, tmp_path / "library")
    (library / ".venv").symlink_to(environment)
    lock = (library / "requirements.txt").read_text()
    (library / "requirements.txt").write_text(lock.replace("\nnumpy==", "\nnumpy==0."))
    commit_all(library, "Another lock file")
    new = (sys.executable, str(library / "keras_tabular"), "new", "new", "--example", "wine")
    variables = {"MAKEFLAGS": "-o .venv/installed", "PYTHONPATH": str(library)}
    completed = run_command(tmp_path, *new, **variables)
    assert completed.returncode == 0, completed.stderr
    assert "differs from requirements.txt: numpy: expected 0." in completed.stderr
    assert "hard links" not in completed.stdout
    assert not (tmp_path / "new/.venv").exists()


@pytest.mark.slow
def test_a_project_of_version_0_4_is_upgraded_and_runs(
    origin: Path, environment: Path, tmp_path: Path
) -> None:
    search = ("git", "log", "-1", "--format=%H^", '-SVERSION = "0.4.0"', "--")
    commit = check_output(PROJECT, *search, "keras_tabular/model_file/version.py").strip()
    old_library, project = clone(PROJECT, tmp_path / "old"), tmp_path / "project"
    if run_command(old_library, "git", "checkout", "-q", commit).returncode:
        pytest.skip("the history of this clone begins after version 0.4")
    new = (sys.executable, str(old_library / "keras_tabular"), "new", str(project))
    check_output(tmp_path, *new, "--example=wine", PYTHONPATH=str(old_library), **MAKE_VARIABLES)
    change_settings(project, train={"folds": 2, "members": [{"network": "plain"}]})
    change_settings(project, gate={"beat_baselines": []})

    output = check_output(tmp_path, sys.executable, f"{origin}/keras_tabular", "upgrade", "project")
    assert re.search(r"vendor/keras_tabular-.* replaces keras_tabular-0\.4\.0-", output)
    assert "<<<<<<<" not in output
    assert os.access(project / ".ci/check-gate", os.X_OK)
    assert "Gate: pass" in check_output(project, "make", "gate", f"VENV={environment}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--table none.csv --target y", "--table: none.csv: no such file"),
        ("--table t.csv --target Yes", "--target: expected one of 'x \"1\"', 'y', got 'Yes'"),
        ("--table t.csv", "--target: name the column to predict; --table needs it"),
        ("--example wine --target z", "target: expected one of alcohol"),
    ],
)
def test_a_wrong_argument_has_a_message_and_leaves_no_folder(
    arguments: str, message: str, origin: Path, environment: Path, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbf"x ""1""";y\r\n1;2\r\n')  # as Excel writes it
    completed = create_new(origin, tmp_path / "new", environment, *arguments.split())
    assert completed.returncode != 0
    assert message in completed.stderr
    assert not (tmp_path / "new").exists()


def test_dvc_tracks_a_table_that_is_too_large_for_git(
    origin: Path, environment: Path, tmp_path: Path
) -> None:
    table = tmp_path / "a: b.csv"
    table.write_text("x,y\n" + "0.123456789,1\n0.987654321,0\n" * 400_000)
    arguments = ("--table", str(table), "--target", "y")
    completed = create_new(origin, tmp_path / "project", environment, *arguments)
    assert completed.returncode == 0, completed.stderr
    assert "data/raw/a: b.csv is too large for git, so DVC tracks it." in completed.stdout
    names = check_output(tmp_path / "project", "git", "ls-files", "data").splitlines()
    tracked = ["data/raw/.gitignore", "data/raw/a: b.csv.dvc", "data/schema.yaml"]
    assert names == ["data/README.md", *tracked, "data/tests/.gitkeep"]
    assert not (tmp_path / "project/data/schema.old.yaml").exists()


def test_two_wheels_have_same_bytes(origin: Path, environment: Path, tmp_path: Path) -> None:
    other = clone(origin, tmp_path / "another clone")
    for path in other.rglob("*.py"):
        os.utime(path, (10**9, 10**9))
    for _ in range(2):  # the second one replaces the first one
        output = check_output(other, "make", "--silent", "wheel")
    (wheel,), (other_wheel,) = environment.glob("*.whl"), other.glob("dist/*.whl")
    assert output == f"{other_wheel}\n"
    assert check_output(other, "git", "status", "--porcelain") == ""
    assert other_wheel.read_bytes() == wheel.read_bytes()


def test_pip_installs_the_library_from_a_git_address(origin: Path, tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation")
    check_output(tmp_path, *pip, "--target=installed", f"git+file://{origin}")
    python = (sys.executable, "-m", "keras_tabular", "--version")
    assert check_output(tmp_path / "installed", *python) == f"{VERSION}\n"


def test_an_installed_library_names_the_clone_that_is_needed(
    environment: Path, tmp_path: Path
) -> None:
    command = f"{environment}/bin/keras-tabular"
    page = check_output(tmp_path, command, "docs", "schema")
    assert page == (PROJECT / "docs/schema.md").read_text()
    completed = run_command(tmp_path, command, "new", "new", "--example", "wine")
    assert "`python3 CLONE/keras_tabular new ...`" in completed.stderr
    assert not (tmp_path / "new").exists()


def test_a_project_has_the_constraints_and_groups_of_this_repository() -> None:
    repository = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    project = tomllib.loads((PROJECT / "keras_tabular/projects/files/pyproject.toml").read_text())
    assert project["tool"]["uv"] == repository["tool"]["uv"]
    assert project["project"]["requires-python"] == repository["project"]["requires-python"]
    for name, packages in project["dependency-groups"].items():
        assert packages == repository["dependency-groups"][name]
