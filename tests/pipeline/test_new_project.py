"""A project is created for a table, and is upgraded to a later version."""

import hashlib
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from keras_tabular.cli import upgrade
from keras_tabular.core import VERSION
from keras_tabular.new_project import new
from keras_tabular.new_project.lock import locked_packages
from tests.commands import (
    ENVIRONMENT,
    call_command,
    call_main,
    check_output,
    run_command,
)
from tests.helpers import PROJECT
from tests.projects import (
    change_settings,
    clone,
    commit_all,
    copy_project,
    read_output_hashes,
)
from tests.tables import load_table

FILES = PROJECT / "keras_tabular/new_project/files"


@pytest.fixture(scope="module")
def project(
    origin: Path,
    environment: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A new project, before its first run."""
    parent = tmp_path_factory.mktemp("projects")
    library = clone(origin, parent / "library")
    (library / "keras_tabular/not_committed.py").write_text(
        "is not part of the library\n",
    )
    load_table("mixed_binary").to_csv(parent / "words.csv", index=False, sep=";")
    command = (sys.executable, "library/keras_tabular", "new", "of words")
    table = ("--table", "words.csv", "--target", "y")
    output = check_output(parent, *command, *table, "--venv", str(environment))
    assert output.endswith("then:\n\n  cd 'of words'\n  make repro\n")
    return parent / "of words"


@pytest.fixture(scope="module")
def trained(
    project: Path,
    environment: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A copy of the project whose own tests have run the pipeline, and a commit."""
    folder = copy_project(project, tmp_path_factory.mktemp("trained") / "project")
    (environment / "installed").touch()
    change_settings(folder, train={"folds": 2, "members": [{"network": "plain"}]})
    check_output(folder, "make test")
    commit_all(folder, "First run")
    return folder


@pytest.fixture
def create(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that creates a project with the wheel of `environment`."""
    (wheel,) = environment.glob("*.whl")
    monkeypatch.setattr(
        new,
        "get_wheel",
        lambda folder: Path(shutil.copy(wheel, folder)),
    )
    monkeypatch.setenv("PATH", ENVIRONMENT["PATH"])

    def call(folder: Path, *arguments: str) -> None:
        venv_option = ("--venv", str(environment))
        call_main(
            folder.parent,
            "keras_tabular.cli",
            "new",
            folder.name,
            *arguments,
            *venv_option,
        )

    return call


@pytest.fixture
def sub_folder(
    create: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Path:
    """A project in a folder of a repository, with the commit that `new` prints."""
    repository = tmp_path / "repository"
    (repository / "models").mkdir(parents=True)
    for name in ("committed.txt", "staged.txt", "untracked.txt"):
        (repository / name).write_text(name)
    check_output(repository, "git init --quiet")
    check_output(repository, "git add committed.txt")
    check_output(repository, "git commit --quiet -m First")
    check_output(repository, "git add staged.txt")
    before = check_output(repository, "git status --porcelain")

    folder = repository / "models/my wine"
    create(folder, "--example", "wine")
    assert not (folder / ".git").exists()
    status = check_output(repository, "git status --porcelain")
    assert status == before.replace("?? untracked", "?? models/\n?? untracked")
    _, _, advice = capsys.readouterr().out.partition("then:\n\n")
    commands, _, _ = advice.rpartition("\n  make")
    check_output(folder.parent, "bash", "-ec", commands)
    assert check_output(repository, "git status --porcelain") == before
    log = check_output(repository, "git log --format=%s")
    assert log == "The table wine.csv\nFirst\n"
    return folder


def test_a_project_in_a_repository_adds_nothing_else_to_a_commit(
    sub_folder: Path,
) -> None:
    show = "git show --name-only --format= HEAD"
    names = check_output(sub_folder, show).splitlines()
    assert all(name.startswith("models/my wine/") for name in names)
    assert "models/my wine/data/raw/wine.csv" in names


@pytest.mark.slow
def test_a_project_in_a_repository_runs_and_is_verified(sub_folder: Path) -> None:
    change_settings(sub_folder, train={"folds": 2, "members": [{"network": "plain"}]})
    check_output(sub_folder, "make repro")
    commit_all(sub_folder, "A run")
    assert "Gate: " in check_output(sub_folder, "make gate")
    report = check_output(sub_folder, "make report")
    assert "report.html: workspace\n" in report
    verified = check_output(sub_folder, "make verify")
    assert "is verified: every output has the hash" in verified


def test_a_project_has_few_files_of_its_own(project: Path) -> None:
    names = check_output(project, "git ls-files").splitlines()
    assert len(names) <= 45
    assert {"README.md", "data/README.md", "data/schema.yaml", "data/raw/words.csv"} < {
        *names,
    }
    assert "predicts\n`y` from the other columns" in (project / "README.md").read_text()
    for stage in yaml.safe_load((project / "dvc.yaml").read_text())["stages"].values():
        assert stage["deps"].count("requirements.txt") == 1
        assert not [path for path in stage["deps"] if path.startswith("keras_tabular")]


def test_the_wheel_has_every_committed_file_and_the_same_bytes_in_any_clone(
    project: Path,
    origin: Path,
    environment: Path,
    tmp_path: Path,
) -> None:
    (wheel,) = environment.glob("*.whl")
    (built_by_new,) = project.glob("vendor/*.whl")
    assert built_by_new.read_bytes() == wheel.read_bytes()
    committed = check_output(origin, "git ls-files keras_tabular").splitlines()
    assert {*committed} < {*ZipFile(wheel).namelist()}

    other = clone(origin, tmp_path / "another clone")
    for path in other.rglob("*.py"):
        os.utime(path, (10**9, 10**9))
    (other / "dist").mkdir()
    (other / "dist/keras_tabular-0.whl").touch()
    output = check_output(other, "make --silent wheel")
    (other_wheel,) = other.glob("dist/*.whl")
    assert output == f"{other_wheel}\n"
    assert check_output(other, "git status --porcelain") == ""
    assert other_wheel.read_bytes() == wheel.read_bytes()


def test_the_image_gets_the_library_by_the_hash_of_the_wheel(project: Path) -> None:
    (wheel,) = (project / "vendor").iterdir()
    dockerfile = (project / "Dockerfile").read_text()
    (command,) = re.findall(r"(?m)^RUN (grep .+) > library\.txt", dockerfile)
    library = check_output(project, "bash", "-ec", command)
    assert [*locked_packages(library)] == ["keras-tabular"]
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in library
    assert "keras-tabular" not in (project / "requirements/image.txt").read_text()


@pytest.mark.slow
def test_workflow_of_project_passes_and_leaves_git_clean(trained: Path) -> None:
    """The first step removes .venv. The fixture has run `make test`."""
    workflow = yaml.safe_load((trained / ".github/workflows/ci.yml").read_text())
    _, *commands = [
        step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step
    ]
    commands.remove("make test")
    for command in commands:
        check_output(trained, "bash", "-ec", command)
    assert check_output(trained, "git status --porcelain") == ""


@pytest.mark.slow
def test_a_later_version_of_the_library_keeps_the_outputs_and_files_of_a_project(
    trained: Path,
    origin: Path,
    environment: Path,
    tmp_path: Path,
) -> None:
    library = clone(origin, tmp_path / "library")
    project = copy_project(trained, tmp_path / "project")
    (project / ".venv").unlink()
    installed = shutil.copytree(environment, project / ".venv", symlinks=True)
    (installed / "installed").touch()
    before = read_output_hashes(project)
    validated = '        validated="folder for the checked files",\n'
    rejected = '        rejected="folder for the rows set aside",\n'
    for name, before_edit, after_edit in (
        ("CHANGELOG.md", "\n- ", "\n- Later: a new entry.\n- "),
        (
            "keras_tabular/new_project/files/Makefile",
            "# The commands",
            "# Later: the commands",
        ),
        ("keras_tabular/__init__.py", '"""', '"""Later: '),
        ("stages/validate.py", validated + rejected, rejected + validated),
        (
            "dvc.yaml",
            "data/validated data/rejected",
            "data/rejected data/validated",
        ),
    ):
        text = (library / name).read_text()
        assert before_edit in text
        (library / name).write_text(text.replace(before_edit, after_edit, 1))
    commit_all(library, "A later version")
    upgrade = (sys.executable, str(library / "keras_tabular"), "upgrade", str(project))
    output = check_output(tmp_path, *upgrade)
    assert output.endswith(
        "New entries of the change log:\n\n- Later: a new entry.\n\n",
    )
    (module,) = installed.glob("lib/*/site-packages/keras_tabular/__init__.py")
    assert module.read_text().startswith('"""Later: ')
    assert "up to date" in check_output(project, "make --dry-run .venv/installed")
    check_output(project, "make repro")
    assert read_output_hashes(project) == before
    changed = check_output(project, "git diff --name-only HEAD").splitlines()
    (wheel,) = project.glob("vendor/*")
    outputs = [
        "Makefile",
        "dvc.lock",
        "dvc.yaml",
        "requirements.txt",
        "stages/validate.py",
    ]
    assert changed == [*outputs, f"vendor/{wheel.name}"]
    os.utime(installed / "installed", (0, 0))  # as if pip had failed
    assert "New entries of the change log:\n\n(none)\n" in check_output(
        tmp_path,
        *upgrade,
    )
    assert "up to date" in check_output(project, "make --dry-run .venv/installed")


def test_a_check_says_what_an_upgrade_would_do_and_changes_nothing(
    project: Path,
    environment: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (wheel,) = environment.glob("*.whl")
    monkeypatch.setattr(upgrade, "get_wheel", lambda folder: wheel)
    behind = copy_project(project, tmp_path / "behind")
    (old_wheel,) = behind.glob("vendor/*")
    with ZipFile(wheel) as new_files, ZipFile(old_wheel, "w") as old_files:
        for name in new_files.namelist():
            content = new_files.read(name).replace(b"# The commands", b"# Commands")
            old_files.writestr(name, content)
    makefile = behind / "Makefile"
    makefile.write_text(makefile.read_text().replace("# The commands", "# Mine"))
    change_settings(behind, train={"patience": 3})
    commit_all(behind, "My commands")
    check = ("upgrade", "--check", project, behind)
    first, second = call_command(
        tmp_path,
        *check,
        "--json",
        exit_code=2,
    ).splitlines()
    state = {"version": VERSION, "conflicts": [], "errors": []}
    assert json.loads(first) == state | {"folder": str(project), "state": "current"}
    mistake = f"{behind}/params.yaml: train.patience: unknown key."
    state |= {"conflicts": [str(makefile)], "errors": [mistake]}
    assert json.loads(second) == state | {"folder": str(behind), "state": "behind"}
    assert check_output(behind, "git status --porcelain") == ""
    lines = call_command(tmp_path, *check, tmp_path, exit_code=1).splitlines()
    assert lines[1] == f"{behind}: {VERSION} behind; {mistake}; {makefile}: conflict"
    assert f"{tmp_path}/vendor: expected one wheel of the library" in lines[2]


def test_a_file_with_a_conflict_fails_check_environment(
    project: Path,
    tmp_path: Path,
) -> None:
    folder = copy_project(project, tmp_path / "project")
    (folder / "custom.py").write_text("<<<<<<< your version\n")
    completed = run_command(folder, "make check-environment")
    assert completed.returncode
    assert completed.stdout.startswith("custom.py\nThe files above have conflicts")


def test_a_project_has_links_to_the_packages_of_the_clone_and_its_own_library(
    origin: Path,
    environment: Path,
    tmp_path: Path,
) -> None:
    library = clone(origin, tmp_path / "library")
    project = tmp_path / "my wine"
    shutil.copytree(environment, library / ".venv", symlinks=True)
    (module,) = library.glob(".venv/lib/*/site-packages/keras_tabular/__init__.py")
    module.write_text("raise RuntimeError('another version of the library')\n")
    python = f"{library}/.venv/bin/python"
    headers = {
        "short": f"#!{python}\n",
        "long": new.HEADER.format(python=f'"{python}"'),
    }
    for name, header in headers.items():
        (library / ".venv/bin" / name).write_text(
            f"{header}import sys\nprint(sys.prefix)\n",
        )
    package = f"{library}/keras_tabular"
    arguments = ("new", "my wine", "--example", "wine")
    output = check_output(tmp_path, sys.executable, package, *arguments)
    links = f"The packages in .venv are hard links to those in {library}/.venv, so they"
    assert links in output
    (file,) = library.glob(".venv/lib/*/site-packages/tests.pth")
    (linked,) = project.glob(".venv/lib/*/site-packages/tests.pth")
    assert file.samefile(linked)
    assert "up to date" in check_output(project, "make --dry-run .venv/installed")
    assert check_output(project, "git status --porcelain") == ""

    shutil.rmtree(library)
    for name in headers:
        assert check_output(project, f".venv/bin/{name}") == f"{project}/.venv\n"
    assert "schema" in check_output(project, ".venv/bin/keras-tabular docs")


def test_a_project_has_no_links_to_packages_that_differ_from_the_lock_file(
    project: Path,
    environment: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / ".venv").symlink_to(environment)
    monkeypatch.setattr(new, "ROOT", library)
    lock = (project / "requirements.txt").read_text()
    (tmp_path / "requirements.txt").write_text(lock.replace("\nnumpy==", "\nnumpy==0."))
    shutil.copytree(project / "vendor", tmp_path / "vendor")
    assert not new.link_environment(tmp_path)
    assert "differs from requirements.txt: numpy: expected 0." in capfd.readouterr().err
    assert not (tmp_path / ".venv/installed").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--table none.csv --target y", "--table: none.csv: no such file"),
        (
            "--table t.csv --target Y",
            "one of 'x \"1\"', 'y', got 'Y'. Did you mean 'y'?\n",
        ),
        ("--table t.csv", "--target: name the column to predict; --table needs it"),
        ("--example wine --target z", "target: expected one of alcohol"),
    ],
)
def test_a_wrong_argument_has_a_message_and_leaves_no_folder(
    arguments: str,
    message: str,
    create: Callable[..., None],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # As Excel writes it:
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbf"x ""1""";y\r\n1;2\r\n')
    with pytest.raises(SystemExit):
        create(tmp_path / "new", *arguments.split())
    assert message in capfd.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_that_existed_stays_if_the_project_cannot_be_created(
    create: Callable[..., None],
    tmp_path: Path,
) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(SystemExit):
        create(tmp_path / "mine", "--example", "wine", "--target", "z")
    assert list((tmp_path / "mine").iterdir()) == []


def test_dvc_tracks_a_table_that_is_too_large_for_git(
    create: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = tmp_path / "project"
    table = tmp_path / "a: b.csv"
    table.write_text("x,y\n" + "0.123456789,1\n0.987654321,0\n" * 400_000)
    create(project, "--table", str(table), "--target", "y")
    message = "data/raw/a: b.csv is too large for git, so DVC tracks it."
    assert message in capsys.readouterr().out
    names = check_output(project, "git ls-files data").splitlines()
    tracked = ["data/raw/.gitignore", "data/raw/a: b.csv.dvc", "data/schema.yaml"]
    assert names == ["data/README.md", *tracked, "data/tests/.gitkeep"]
    assert not (project / "data/schema.old.yaml").exists()


@pytest.mark.parametrize(
    ("uv", "hash_differs"),
    [("", True), ("false", False), ("uv", True), ("uv", False)],
)
def test_make_installs_locked_packages_with_uv_or_else_with_pip(
    uv: str,
    hash_differs: bool,
    tmp_path: Path,
) -> None:
    if uv and not shutil.which(uv):
        pytest.skip("no uv")
    project = tmp_path / "my project"
    wheel = create_wheel(project / "vendor")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(FILES / name, project)
    check_output(project, "dvc init --quiet --no-scm")
    content = b"another" if hash_differs else wheel.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
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
    metadata = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
    wheel_text = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {
        "tiny.py": "",
        "tiny-1.0.dist-info/METADATA": metadata,
        "tiny-1.0.dist-info/WHEEL": wheel_text,
    }
    files["tiny-1.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files)
    with ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return folder / "tiny-1.0-py3-none-any.whl"


def test_an_installed_library_prints_its_pages(
    environment: Path,
    tmp_path: Path,
) -> None:
    command = f"{environment}/bin/keras-tabular"
    assert check_output(tmp_path, command, "--version") == f"{VERSION}\n"
    page = check_output(tmp_path, command, "docs", "schema")
    assert page == (PROJECT / "docs/schema.md").read_text()


def test_a_project_has_the_constraints_and_groups_of_this_repository() -> None:
    repository = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    project = tomllib.loads((FILES / "pyproject.toml").read_text())
    assert project["tool"]["uv"] == repository["tool"]["uv"]
    versions = repository["project"]["requires-python"]
    assert project["project"]["requires-python"] == versions
    for name, packages in project["dependency-groups"].items():
        assert packages == repository["dependency-groups"][name]
