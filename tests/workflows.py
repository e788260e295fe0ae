"""Run the steps of workflows as GitHub does, with stand-ins for its services."""

import hashlib
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.commands import ENVIRONMENT, run_command
from tests.documentation import MAKE_VARIABLES

# `make` installs no packages, and `make test` runs nothing, because other tests do
# that.
VARIABLES = MAKE_VARIABLES | {"TEST": "true"}
# Programs that need the network. `gh` verifies a file whose hash is in the file
# `attested`. An environment of `python3 -m venv` has the packages that run the tests.
PROGRAMS = {
    "gh": (
        """
case "$1 $2" in
  "attestation verify") grep -q "$(sha256sum < "$3")" "$SERVICES/attested" ;;
  "run list") cat "$SERVICES/running"; echo 0 > "$SERVICES/running" ;;
  "api --silent") printf '%s\\n' "$*" >> "$SERVICES/requests" ;;
esac"""
    ),
    "docker": 'echo "docker $*"',
    "python3": (
        """
[ "$1 $2 $3" = "-I -m venv" ] || exec python "$@"
mkdir -p "$4/bin"
printf '#!/bin/sh\n' > "$4/bin/pip"
for name in dvc python; do
    printf '#!/bin/sh\nexec %s "$@"\n' $name > "$4/bin/$name"
done
chmod +x "$4"/bin/*"""
    ),
    "sleep": 'echo sleeping; mv "$SERVICES/attested-later" "$SERVICES/attested"',
}


class JobRun(NamedTuple):
    """The run of a job.

    Attributes:
        failed_step: The commands of the step that failed; empty if all steps succeeded.
        output: What the steps printed.
        summary: What they wrote to the summary of the run.
    """

    failed_step: str
    output: str
    summary: str


def create_services(folder: Path) -> Path:
    """Create a folder with the programs that stand for services."""
    (folder / "bin").mkdir(parents=True)
    for name, script in PROGRAMS.items():
        (folder / "bin" / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "running").write_text("0\n")
    (folder / "attested").touch()
    return folder


def attest(services: Path, *files: Path) -> None:
    """Let `gh attestation verify` succeed for the content of files."""
    with (services / "attested").open("a") as attested:
        attested.writelines(
            f"{hashlib.sha256(f.read_bytes()).hexdigest()}  -\n" for f in files
        )


def run_job(
    folder: Path,
    services: Path,
    workflow: str,
    job: str,
    **values: str,
) -> JobRun:
    """Run the commands of a job in a folder, until one fails.

    Args:
        folder: A clone, in which `.venv` becomes the environment that runs the tests.
        services: The folder with the programs that stand for services.
        workflow: Name of the workflow's file in the folder.
        job: Name of the job.
        values: Environment variables that the workflow takes from expressions, such as
            an input.
    """
    content = yaml.safe_load(
        (folder / ".github/workflows" / f"{workflow}.yml").read_text(),
    )
    description = content["jobs"][job]
    files = {
        name: services / f"{folder.name}.{name}"
        for name in ("summary", "output", "env")
    }
    for file in files.values():
        file.write_text("")
    variables = VARIABLES | {
        "SERVICES": str(services),
        "GITHUB_REF": "refs/heads/main",
        "RUNNER_TEMP": str(services / "temp"),
        "PATH": f"{services}/bin:{ENVIRONMENT['PATH']}",
        "GITHUB_STEP_SUMMARY": str(files["summary"]),
        "GITHUB_OUTPUT": str(files["output"]),
        "GITHUB_ENV": str(files["env"]),
    }
    output = ""
    for step in (step for step in description["steps"] if "run" in step):
        declared: dict[str, Any] = description.get("env", {}) | step.get("env", {})
        texts = {
            name: re.sub(r"\$\{\{.*?\}\}", "", text) for name, text in declared.items()
        }
        written = dict(
            line.split("=", 1) for line in files["env"].read_text().splitlines()
        )
        environment = variables | texts | written | values
        if not (folder / ".venv").exists():
            (folder / ".venv").symlink_to(sys.prefix)
        completed = run_command(folder, "bash", "-ec", step["run"], **environment)
        output += completed.stdout + completed.stderr
        if completed.returncode:
            return JobRun(step["run"], output, files["summary"].read_text())
    return JobRun("", output, files["summary"].read_text())
