"""The package creates projects, without a clone and with no prepared environment."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.commands import ENVIRONMENT, check_output, run_command
from tests.helpers import PROJECT
from tests.projects import clone, create_old_project
from tests.workflows import create_services, run_job

# Where pip and uv find packages on this machine. uv does not read pip's settings.
SETTINGS = [
    f"{name}={value}"
    for name, value in os.environ.items()
    if name.startswith(("PIP_", "UV_", "SSL_"))
]
PATH = ENVIRONMENT["PATH"].partition(os.pathsep)[2]
SHELL = ("env", "-i", f"HOME={Path.home()}", *SETTINGS, "UV_SYSTEM_CERTS=1")


@pytest.fixture(scope="module")
def dist(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution that publish.yml builds."""
    folder = tmp_path_factory.mktemp("package")
    library = clone(origin, folder / "library")
    services = create_services(folder / "services")
    make = {"MAKEFLAGS": "-o .venv/installed-build"}
    build = run_job(library, services, "publish", "build", **make)
    assert not build.failed_step, build.output
    return library / "dist"


def test_pip_installs_a_package_that_creates_and_upgrades_projects(
    dist: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "empty"
    shutil.copytree(dist, folder / "dist")
    shell = (*SHELL, f"PATH={PATH}", "bash", "-ec")
    workflow = yaml.safe_load((PROJECT / ".github/workflows/publish.yml").read_text())
    for step in workflow["jobs"]["check"]["steps"]:
        if "run" in step:
            check_output(folder, *shell, step["run"])

    # The packages of a project are the locked ones.
    new = "wine/.venv/bin/keras-tabular new linked --example iris"
    links = f"The packages in .venv are hard links to those in {folder}/wine/.venv"
    assert links in check_output(folder, *shell, new)

    create_old_project(folder / "old")
    upgrade = "package/bin/keras-tabular upgrade old"
    assert "<<<<<<<" not in check_output(folder, *shell, upgrade)
    (wheel,) = folder.glob("dist/*.whl")
    (new_wheel,) = folder.glob("old/vendor/*")
    assert new_wheel.read_bytes() == wheel.read_bytes()

    check_output(
        folder,
        *shell,
        "package/bin/pip uninstall -qy tensorflow-cpu tensorflow",
    )
    predict = "cd wine && ../package/bin/keras-tabular predict data/raw/wine.csv"
    message = run_command(folder, *shell, predict).stderr
    assert message.startswith("error: tensorflow is not installed in")
    assert message.endswith("`pip install 'keras-tabular[cpu]'`.\n")
    assert len(message.splitlines()) == 1


def test_uv_runs_the_package_in_an_environment_without_pip(
    dist: Path,
    tmp_path: Path,
) -> None:
    (wheel,) = dist.glob("*.whl")
    (tmp_path / "bin").mkdir()
    for name in ("uv", "uvx"):
        (tmp_path / "bin" / name).symlink_to(Path(sys.executable).with_name(name))
    shell = (*SHELL, f"PATH={tmp_path}/bin:{PATH}", "bash", "-ec")
    run = f"uvx --from '{wheel}[cpu]' keras-tabular"
    check_output(tmp_path, *shell, f"{run} new wine --example wine")
    (project_wheel,) = tmp_path.glob("wine/vendor/*")
    assert project_wheel.read_bytes() == wheel.read_bytes()
    check_output(tmp_path, *shell, "cd wine && make gate")
    output = check_output(tmp_path, *shell, f"cd wine && {run} quick")
    assert output.startswith("Log loss: ")
    assert "Table and schema\n" in check_output(tmp_path, *shell, f"{run} docs")
