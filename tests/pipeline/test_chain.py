"""What is verified is what was committed, and what is deployed is what was verified.

The table in docs/versions.md says which check sees which falsification.
"""

import re
import shutil
from pathlib import Path

import pytest

from tests.commands import check_output, run_command
from tests.documentation import MAKE_VARIABLES, PAGES, code_blocks
from tests.helpers import PROJECT
from tests.projects import change_settings, clone, commit_all, copy_project, read_output_hashes
from tests.workflows import attest, create_services, run_job

FILES = PROJECT / "keras_tabular/projects/files"
MODEL = "models/model.keras"


@pytest.fixture(scope="module")
def registered(short_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project, its remote, and the services that its workflows use.

    The version v1.0.0 of the model has passed the gate and is assigned to the stage `prod`.
    """
    folder = tmp_path_factory.mktemp("chain")
    project = copy_project(short_run, folder / "project")
    for name in ("Makefile", ".github/workflows/ci.yml", ".github/workflows/deploy.yml"):
        shutil.copy(FILES / name, project / name)
    check_output(project, "dvc", "remote", "add", "--default", "storage", "../storage")
    change_settings(project, gate={"beat_baselines": []})
    check_output(project, "dvc", "repro")
    register(project, "v1.0.0")
    attest(create_services(folder / "services"), project / MODEL, project / "dvc.lock")
    return folder


@pytest.fixture
def folder(registered: Path, tmp_path: Path) -> Path:
    """A copy of `registered` for a test that changes something."""
    return copy_project(registered, tmp_path / "chain")


def register(project: Path, version: str) -> None:
    """Commit and push the results, and deploy them as a version."""
    commit_all(project, version)
    check_output(project, "dvc", "push")
    check_output(project, "gto", "register", "model", "--version", version)
    check_output(project, "gto", "assign", "model", "--version", version, "--stage", "prod")


def run_ci(folder: Path) -> tuple[str, str]:
    """Run ci.yml in a new clone; return the step that failed, and the output."""
    result = run_job(new_clone(folder), folder / "services", "ci", "test")
    return result.failed_step, result.output


def run_deployment(folder: Path, reason: str = "") -> tuple[str, str]:
    """Run the checks of deploy.yml in a new clone; return the step that failed, and the output."""
    services = folder / "services"
    result = run_job(new_clone(folder), services, "deploy", "check", DESPITE_GATE=reason)
    return result.failed_step, result.output + result.summary


def new_clone(folder: Path) -> Path:
    """Clone the project of a folder, in which actions/checkout has replaced the annotated tags."""
    number = len([*folder.glob("clone*")])
    checkout = clone(folder / "project", folder / f"clone{number}")
    for tag in check_output(checkout, "git", "tag", "--points-at", "HEAD", "model#*").split():
        check_output(checkout, "git", "tag", "--force", tag, f"{tag}^{{commit}}")
    return checkout


@pytest.mark.slow
def test_a_verified_model_is_released_and_deployed(folder: Path) -> None:
    services, checkout = folder / "services", new_clone(folder)
    release = run_job(checkout, services, "release", "verify")
    assert release.failed_step == "", release.output
    assert release.summary.startswith("Gate: pass. ")
    assert (checkout / "model.keras").read_bytes() == (folder / "project" / MODEL).read_bytes()

    assert run_ci(folder)[0] == ""
    # The release still runs when the deployment starts.
    shutil.move(services / "attested", services / "attested-later")
    (services / "attested").touch()
    (services / "running").write_text("1\n")
    checkout = new_clone(folder)
    check = run_job(checkout, services, "deploy", "check")
    assert check.failed_step == "", check.output
    assert "sleeping" in check.output
    assert (services / f"{checkout.name}.output").read_text() == "version=v1.0.0\n"
    deployment = run_job(checkout, services, "deploy", "deploy", VERSION="v1.0.0")
    assert deployment.output == "docker build --tag model:v1.0.0 .\n"

    (services / "attested").write_text("")
    failed_step, output = run_deployment(folder)
    assert "gh attestation verify" in failed_step
    assert "::error::models/model.keras, dvc.lock: release.yml has not verified" in output


@pytest.mark.slow
def test_a_model_that_fails_the_gate_needs_a_reason(folder: Path) -> None:
    project, services = folder / "project", folder / "services"
    change_settings(project, gate={"lowest": {"test": {"accuracy": 0.99}}})
    check_output(project, "dvc", "repro")
    register(project, "v1.1.0")
    attest(services, project / MODEL, project / "dvc.lock")
    for workflow, job in (("release", "verify"), ("deploy", "check")):
        checkout = new_clone(folder)
        refused = run_job(checkout, services, workflow, job)
        assert refused.failed_step == ".ci/check-gate"
        assert "::error::metrics/gate.json: the model is refused" in refused.output
        assert refused.summary.startswith("Gate: fail. ")
        reason = "The old model is worse."
        allowed = run_job(checkout, services, workflow, job, steps=1, DESPITE_GATE=reason)
        assert allowed.failed_step == ""
        assert f"nevertheless:** {reason}\n" in allowed.summary
    assert run_deployment(folder, reason)[0] == ""


@pytest.mark.slow
def test_falsified_results_and_an_edited_lock_file_are_seen_by_every_check(folder: Path) -> None:
    project, lock = folder / "project", folder / "project/dvc.lock"
    tracked = check_output(project, "git", "ls-files", "metrics").splitlines()
    texts = {name: (project / name).read_text() for name in tracked}
    names = [
        name for name in tracked if name[-4:] in (".csv", "json") and re.search(r"\d", texts[name])
    ]
    assert len(names) > 12
    for name in names:
        other_digit = re.sub(r"\d(?=\D*$)", lambda digit: f"{9 - int(digit[0])}", texts[name])
        (project / name).write_text(other_digit)
    register(project, "v1.1.0")
    failed_step, output = run_deployment(folder)
    assert failed_step == "make check-files"
    outputs = {*names} & {*read_output_hashes(project)} | {"metrics/curves", "metrics/plots"}
    assert {*re.findall(r"^(\S+) differs from dvc\.lock$", output, re.MULTILINE)} == outputs

    lock.write_text(lock.read_text().replace(read_output_hashes(project)[MODEL], "f" * 32))
    commit_all(project, "Name another model")
    check_output(project, "gto", "register", "model", "--version", "v1.2.0")
    failed_step, output = run_deployment(folder)
    assert "dvc artifacts get" in failed_step
    assert MODEL in output
    check_that_a_rerun_names(folder, [*names, MODEL])
    failed_step, output = run_ci(folder)
    assert failed_step.startswith("changed=")
    changed = {*re.findall(r"[\w/.]+\w", output.rpartition("::error::")[2])}
    assert {*names, "dvc.lock"} <= changed


def check_that_a_rerun_names(folder: Path, names: list[str]) -> None:
    """Assert that `verify` and the comment on a pull request name files that differ."""
    verified = run_command(folder / "project", "make", "verify", **MAKE_VARIABLES)
    assert verified.returncode != 0
    differing = {*re.findall(r"^(\S+) differs from ", verified.stdout, re.MULTILINE)}
    assert differing == {*names}
    report = run_job(new_clone(folder), folder / "services", "report", "report", TARGET="HEAD~1")
    assert report.failed_step == "", report.output
    (sentence,) = re.findall(r".* \*\*not\*\* reproducible: .*", report.summary)
    assert {*re.findall(r"(?:metrics|models)/[\w/.]+\w", sentence.replace("\\", ""))} == {*names}


@pytest.mark.slow
def test_an_exchanged_model_is_seen_where_it_is_used(folder: Path) -> None:
    project = folder / "project"
    model = (project / MODEL).read_bytes()
    md5 = read_output_hashes(project)[MODEL]
    for place in (folder / "storage", project / ".dvc/cache"):
        exchange(place / "files/md5" / md5[:2] / md5[2:], model[:-1] + bytes([model[-1] ^ 1]))
    checkout, services = new_clone(folder), folder / "services"
    report = run_job(checkout, services, "report", "report", TARGET="HEAD~1")
    assert "are reproducible" in report.summary
    assert run_job(checkout, services, "report", "publish", REPO="o/r", PR="1").failed_step == ""
    comment = "api --silent --method POST repos/o/r/issues/1/comments -F body=@pr.md\n"
    assert (services / "requests").read_text() == comment
    message = f"{MODEL} differs from dvc.lock\n"
    results = (report.failed_step, report.output), run_ci(folder), run_deployment(folder)
    for failed_step, output in results:
        assert failed_step == "make check-files"
        assert message in output

    (project / MODEL).unlink()
    predict = ("python", "-m", "keras_tabular", "predict", "data/raw/diabetes.csv", "-o", "new.csv")
    completed = run_command(project, *predict)
    assert f"{md5[2:]}: this copy of {MODEL} in DVC's cache has changed" in completed.stderr
    shutil.rmtree(folder / "storage")
    check_output(project, "dvc", "checkout", "--force")
    completed = run_command(project, "make", "check-files", **MAKE_VARIABLES)
    assert message in completed.stdout


def exchange(file: Path, content: bytes) -> None:
    """Replace a read-only file, which may be a hard link, and keep its permissions."""
    mode = file.stat().st_mode
    file.unlink()
    file.write_bytes(content)
    file.chmod(mode)


@pytest.mark.slow
def test_two_retrained_branches_are_merged_as_the_page_says(folder: Path) -> None:
    project = folder / "project"
    epochs = {"networks": {"plain": {"epochs": 2}}}
    for branch, change in (("other-branch", {"folds": 3}), ("main", epochs)):
        check_output(project, "git", "switch", "-q", "-C", branch, "main")
        change_settings(project, train=change)
        check_output(project, "dvc", "repro")
        commit_all(project, "Retrained")
    blocks = code_blocks("docs/experiments.md", "console")
    (block,) = [block for block in blocks if "git merge" in block]
    merge, *resolve = block.replace("$ ", "").splitlines()

    # As in a project of an earlier version, without .gitattributes.
    attributes = project / ".git/info/attributes"
    attributes.write_text("dvc.lock !merge\nmetrics/** !merge\n")
    merged = run_command(project, *merge.split())
    assert "Merge conflict in dvc.lock" in merged.stdout
    repro = run_command(project, "make", "repro", **MAKE_VARIABLES)
    assert repro.returncode != 0
    advice = re.match(r"dvc.lock: two branches .* Run: (.*?) && make repro", repro.stdout)
    assert advice
    assert f"`{advice[1]}`" in PAGES["docs/experiments.md"]
    check_output(project, *advice[1].split())
    check_output(project, "bash", "-ec", "\n".join(resolve), **MAKE_VARIABLES)
    outputs = read_output_hashes(project)

    attributes.unlink()
    check_output(project, "git", "reset", "-q", "--hard", "HEAD~1")
    merged = run_command(project, *merge.split())
    assert "Merge conflict in dvc.lock" in merged.stdout
    assert "Merge conflict in params.yaml" not in merged.stdout
    check_output(project, "bash", "-ec", "\n".join(resolve), **MAKE_VARIABLES)
    assert read_output_hashes(project) == outputs
    assert len(check_output(project, "git", "log", "-1", "--format=%P").split()) == 2
    assert check_output(project, "git", "status", "--porcelain") == ""
    assert "up to date" in check_output(project, "dvc", "status")
    lock = (project / "dvc.lock").read_text()
    assert "folds: 3" in lock
    assert "epochs: 2" in lock
