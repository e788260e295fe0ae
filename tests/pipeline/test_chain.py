"""What is verified is what was committed, and what is deployed is what was verified.

The table in docs/gate.md says which check sees which falsification.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests import projects
from tests.commands import call_main, check_output, run_command
from tests.documentation import MAKE_VARIABLES, PAGES, code_blocks
from tests.helpers import PROJECT
from tests.projects import change_settings, commit_all, read_scores, reproduce
from tests.workflows import JobRun, attest, create_services, run_job

FILES = PROJECT / "keras_tabular/new_project/files"
MODEL = "models/model.keras"
TABLE = "data/raw/diabetes.csv"
SCORES = ("metrics/scores.json", "metrics/metrics.json")
REMOTE = "storage/files/md5"
CACHE = "project/.dvc/cache/files/md5"
# What runs code of the repository.
CODE = r"\bmake\b|\.ci/|activate|keras_tabular|python3? (?!-I)|'\./"
MACHINE = "trained on a machine whose bytes cannot be compared (macOS, a GPU, "


@pytest.fixture(scope="module")
def registered(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project, its remote, and the services that its workflows use.

    The version v1.0.0 of the model has passed the gate and is assigned to the stage
    `prod`.
    """
    folder = tmp_path_factory.mktemp("chain")
    project = projects.copy_project(experiment, folder / "project")
    for name in (
        "Makefile",
        ".github/workflows/ci.yml",
        ".github/workflows/deploy.yml",
    ):
        shutil.copy(FILES / name, project / name)
    check_output(project, "dvc remote add --default storage ../storage")
    change_settings(
        project,
        gate={"beat_baselines": [], "worse_than_base": {"test.loss": 0.5}},
    )
    reproduce(project, "gate")
    register(project, "v1.0.0")
    attest(create_services(folder / "services"), project / MODEL, project / "dvc.lock")
    return folder


@pytest.fixture
def folder(registered: Path, tmp_path: Path) -> Path:
    """A copy of `registered` for a test that changes something."""
    return projects.copy_project(registered, tmp_path / "chain")


def register(project: Path, version: str) -> None:
    """Commit and push the results, and deploy them as a version."""
    commit_all(project, version)
    check_output(project, "dvc push")
    check_output(project, f"gto register model --version {version}")
    assign(project, version)


def assign(project: Path, version: str, *options: str) -> None:
    """Assign a version of the model to the stage `prod`."""
    stage = ("--version", version, "--stage", "prod")
    check_output(project, "gto", "assign", "model", *stage, *options)


def run_deployment(folder: Path) -> JobRun:
    """Run the checks of deploy.yml in a new clone."""
    return run_job(new_clone(folder), folder / "services", "deploy", "check")


def new_clone(folder: Path, revision: str = "main") -> Path:
    """Clone a project as actions/checkout does, which replaces annotated tags."""
    number = len([*folder.glob("clone*")])
    checkout = projects.clone(folder / "project", folder / f"clone{number}")
    check_output(checkout, f"git checkout -q {revision}")
    tags = check_output(checkout, "git tag --points-at HEAD model#*")
    for tag in tags.split():
        check_output(checkout, f"git tag --force {tag} {tag}^{{commit}}")
    return checkout


def test_a_colleague_and_a_server_get_what_was_pushed(folder: Path) -> None:
    """A server gets the latest version, a tag, or a stage after a rollback."""
    project = folder / "project"
    services = folder / "services"
    colleague = projects.clone(project, folder / "colleague")
    check_output(colleague, "dvc pull")
    up_to_date = "Data and pipelines are up to date.\n"
    assert check_output(colleague, "dvc repro").endswith(up_to_date)
    assert check_output(colleague, "git status --porcelain") == ""

    model = project / MODEL
    first = model.read_bytes()
    second = b"another model"
    model.unlink()
    model.write_bytes(second)
    check_output(project, "dvc commit --force calibrate")
    register(project, "v1.1.0")

    def get(*version: str) -> bytes:
        get_model = ("dvc", "artifacts", "get", "project", "model", "--force")
        check_output(folder, *get_model, *version)
        return (folder / "model.keras").read_bytes()

    assert get() == second
    assign(project, "v1.0.0", "--force")
    assert get("--stage", "prod") == first
    checkout = new_clone(folder, "model#prod#3")
    assert run_job(checkout, services, "deploy", "check").failed_step == ""
    assert (services / f"{checkout.name}.output").read_text() == "version=v1.0.0\n"
    assert (checkout / MODEL).read_bytes() == first


@pytest.mark.slow
def test_a_commit_is_verified_from_its_inputs_alone(
    workspace: Path,
    tmp_path: Path,
) -> None:
    table = workspace / TABLE
    cache = workspace / ".dvc/cache"
    check_output(workspace, f"git rm -q --cached {TABLE}")
    check_output(workspace, f"dvc add --quiet {TABLE}")
    commit_all(workspace, "Track the table with DVC")
    check_output(workspace, "git tag model@v1.0.0")
    model = workspace / MODEL
    expected = model.read_bytes()
    model.unlink()
    objects = sorted(cache.rglob("*"))

    options = {"REV": "model@v1.0.0", "OUT": str(tmp_path / "new.keras")}
    output = check_output(workspace, "make verify", **MAKE_VARIABLES, **options)
    assert "model@v1.0.0 is verified" in output
    assert (tmp_path / "new.keras").read_bytes() == expected
    assert not model.exists()
    assert sorted(cache.rglob("*")) == objects
    assert check_output(workspace, "git status --porcelain") == ""

    stored = path_in(cache / "files/md5", table.read_bytes())
    stored.unlink()
    stored.write_bytes(table.read_bytes().replace(b"148", b"149"))
    stored.chmod(0o444)  # DVC trusts a read-only file
    completed = run_command(workspace, "make verify REV=HEAD", **MAKE_VARIABLES)
    assert completed.returncode != 0
    assert "data/raw/diabetes.csv differs from " in completed.stdout
    assert "Running stage" not in completed.stdout + completed.stderr


@pytest.mark.slow
def test_a_verified_model_is_reported_released_and_deployed(folder: Path) -> None:
    services = folder / "services"
    checkout = new_clone(folder)
    result = run_job(checkout, services, "report", "report", TARGET="HEAD~1")
    assert result.failed_step == "", result.output
    # The report compares the experiment with the run before it. The version changes the
    # workflows and the parameters.
    report = (checkout / "pr.md").read_text()
    assert report.startswith("<!-- pr-report -->\n\nReview these files, since whoever")
    assert "**Begin with .github/workflows/ci.yml" in report
    assert "\n## Gate: " in report
    assert len(report.splitlines()) < 45  # it fits on a screen
    assert re.search(
        r"\| Accuracy \| [\d.]+ \| [\d.]+ \| .*(better|worse|significant) \(",
        report,
    )
    assert re.search(r"(?m)^Log loss [\d.]+ on 254 test rows", report)
    assert "`train.networks.plain.epochs` 3 → 2" in report
    assert "The committed results are reproducible: a rerun of" in report
    result = run_job(checkout, services, "report", "publish", REPO="o/r", PR="1")
    assert result.failed_step == ""
    comment = "api --silent --method POST repos/o/r/issues/1/comments -F body=@pr.md\n"
    assert (services / "requests").read_text() == comment
    release = run_job(checkout, services, "release", "verify")
    assert release.failed_step == "", release.output
    assert release.summary.startswith("Gate: pass. ")
    model = folder / "project" / MODEL
    assert (checkout / "model.keras").read_bytes() == model.read_bytes()

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
    check = run_deployment(folder)
    assert "gh attestation verify" in check.failed_step
    error = "::error::models/model.keras, dvc.lock: release.yml has not verified"
    assert error in check.output


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        ("pass", "", ""),
        ("undecided", "", ""),
        ("fail", "", "::error::metrics/gate.json: the model is refused"),
        ("fail", "The old model is worse.", ""),
        ("", "", "::error::metrics/gate.json: the commit has no verdict"),
    ],
)
def test_a_model_that_fails_the_gate_needs_a_reason(
    status: str,
    reason: str,
    message: str,
    tmp_path: Path,
) -> None:
    """The script is the first step of a release and of a deployment."""
    gate = tmp_path / "metrics/gate.json"
    summary = tmp_path / "summary"
    for folder in (".ci", "metrics"):
        (tmp_path / folder).mkdir()
    shutil.copy(PROJECT / ".ci/check-gate", tmp_path / ".ci")
    if status:
        gate.write_text(
            json.dumps({"status": status, "headline": "Loss 1", "reason": "Because"}),
        )
    variables = {
        "DESPITE_GATE": reason,
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    completed = run_command(tmp_path, ".ci/check-gate", **variables)
    assert completed.stdout.startswith(message)
    assert completed.returncode == bool(message)
    if status:
        assert summary.read_text().startswith(f"Gate: {status}. Loss 1. Because.\n")
    if reason:
        assert f"nevertheless:** {reason}\n" in summary.read_text()


def test_falsified_files_are_named_and_no_command_reads_a_falsified_model(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    falsify_scores(folder)
    falsified = exchange(CACHE, MODEL, folder)
    project = folder / "project"
    (project / MODEL).unlink()
    with pytest.raises(
        SystemExit,
        match=f"this copy of {MODEL} in DVC's cache has changed",
    ):
        call_main(project, "keras_tabular.cli", "predict", "data/raw/diabetes.csv")

    (project / MODEL).write_bytes(falsified)
    for _ in range(2):  # with DVC's cache, and without it as in a clone
        with pytest.raises(
            SystemExit,
            match=r"dvc\.lock is not verified: the files above differ",
        ):
            call_main(project, "keras_tabular.cli", "verify", "--files")
        output = capsys.readouterr().out
        pattern = r"(?m)^(\S+) \(modified\) differs from dvc\.lock$"
        names = re.findall(pattern, output)
        assert sorted(names) == sorted({*SCORES, MODEL})
        shutil.rmtree(project / ".dvc/cache", ignore_errors=True)


def falsify_scores(folder: Path) -> None:
    for name in SCORES:
        file = folder / "project" / name
        better = re.sub(
            r'("value": |"accuracy": )0\.\d+',
            r"\g<1>0.95",
            file.read_text(),
        )
        file.write_text(better)


def falsify_scores_and_their_hashes(folder: Path) -> None:
    falsify_scores(folder)
    check_output(folder / "project", "dvc commit --force")


def falsify_scores_as_on_a_mac(folder: Path) -> None:
    scores = folder / "project" / SCORES[0]
    scores.write_text(scores.read_text().replace('"any_cpu"', '"same_cpu"'))
    falsify_scores_and_their_hashes(folder)


def exchange_table(folder: Path) -> None:
    """DVC trusts the file that a remote has for a hash."""
    track_table(folder / "project")
    exchange(REMOTE, TABLE, folder)


def path_in(storage: Path, content: bytes) -> Path:
    """Return where a remote or a cache stores a content."""
    md5 = hashlib.md5(content).hexdigest()
    return storage / md5[:2] / md5[2:]


def track_table(project: Path) -> None:
    track = f"git rm -q --cached {TABLE} && dvc add -q {TABLE} && dvc push -q"
    check_output(project, "bash", "-c", track)


def exchange(cache: str, name: str, folder: Path) -> bytes:
    """Change a byte in the copy of a file in a remote or in a cache.

    The copy is read-only, and may be a hard link. It keeps its permissions.
    """
    content = (folder / "project" / name).read_bytes()
    falsified = content[:-2] + bytes([content[-2] ^ 1, content[-1]])
    file = path_in(folder / cache, content)
    mode = file.stat().st_mode
    file.unlink()
    file.write_bytes(falsified)
    file.chmod(mode)
    return falsified


# What is falsified in each row of the page's table, and the names of the false files.
FALSIFICATIONS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "a value in a file of `metrics/`": (falsify_scores, SCORES),
    "the same, and its hash in `dvc.lock`": (falsify_scores_and_their_hashes, SCORES),
    "the same, and `repeats: same_cpu`, as on a Mac": (
        falsify_scores_as_on_a_mac,
        SCORES,
    ),
    "the table in the remote": (exchange_table, (TABLE,)),
    "the model in the remote": (partial(exchange, REMOTE, MODEL), (MODEL,)),
}
JOBS = [
    ("release", "verify"),
    ("report", "report"),
    ("ci", "test"),
    ("deploy", "check"),
]
ACCEPTED = ("does not use it", "uses no table")
FAILURES = {"finds no attestation": "gh attestation verify"}


def check_row(folder: Path, row: str) -> None:
    """Compare a row of the page's table with what the jobs of the workflows do."""
    falsify, names = FALSIFICATIONS[row]
    falsify(folder)
    commit_all(folder / "project", "False")
    check_output(folder / "project", "gto register model --version v1.1.0")
    (line,) = [
        line for line in PAGES["docs/gate.md"].splitlines() if f"| {row} |" in line
    ]
    for cell, job in zip(line.strip("| ").split(" | ")[1:], JOBS, strict=True):
        checkout = new_clone(folder)
        result = run_job(checkout, folder / "services", *job, TARGET="HEAD~1")
        message = f"{row}, {job}: {cell}\n{result.output}\n{result.failed_step}"
        assert bool(result.failed_step) == (cell not in ACCEPTED), message
        assert FAILURES.get(cell, "") in message, message
        if "before anything runs" in cell:
            assert "Running stage" not in result.output
        if cell not in (*ACCEPTED, *FAILURES):
            pattern = r"(?m)^.* differs from .*|^error: These files are .*"
            lines = re.findall(pattern, result.output)
            if job == JOBS[1]:  # the comment names the files before the gate
                lines = [(checkout / "pr.md").read_text().split("## Gate")[0]]
            false_files = set(re.findall("`(.+?)`", cell)) or set(names)
            named_files = re.findall(r"[\w./]+\w", "\n".join(lines))
            assert false_files <= set(named_files), message


@pytest.mark.parametrize(
    ("falsify", "reason"),
    [
        (falsify_scores, "Somebody has edited them"),
        (falsify_scores_as_on_a_mac, MACHINE),
    ],
)
def test_a_run_that_changes_a_file_of_the_commit_fails(
    falsify: Callable[[Path], None],
    reason: str,
    folder: Path,
) -> None:
    project = folder / "project"
    call_main(project, "keras_tabular.cli", "verify", "--commit")
    falsify(folder)
    commit_all(project, "False")
    # As if the stages had run again.
    check_output(project, "git restore --source HEAD~1 dvc.lock metrics")
    (project / "metrics/plots/new.csv").touch()
    with pytest.raises(SystemExit) as end:
        call_main(project, "keras_tabular.cli", "verify", "--commit")
    message = str(end.value)
    assert reason in message
    for name in (*SCORES, "metrics/plots/new.csv"):
        assert name in message


@pytest.mark.slow
def test_the_same_bytes_are_verified_whatever_the_record_says(folder: Path) -> None:
    project = folder / "project"
    change_settings(project, train={"exact": False})
    reproduce(project, "train")
    assert read_scores(project).repeats == "same_cpu"
    commit_all(project, "Not exact")
    release = run_job(new_clone(folder), folder / "services", "release", "verify")
    assert release.failed_step == "", release.output


@pytest.mark.slow
def test_ci_trains_a_branch_and_commits_the_results(folder: Path) -> None:
    project = folder / "project"
    services = folder / "services"
    results = services / "temp/results"
    (project / "metrics/plots/old.csv").touch()
    falsify_scores_as_on_a_mac(folder)
    track_table(project)
    commit_all(project, "Code, and results of a Mac")
    model = (project / MODEL).read_bytes()
    stored = path_in(folder / REMOTE, model)
    stored.unlink()
    check_output(project, "git config core.bare true")
    for _ in range(2):
        trained = new_clone(folder)
        train = run_job(trained, services, "train", "train")
        assert train.failed_step == "", train.output
        workflow = yaml.safe_load((trained / ".github/workflows/train.yml").read_text())
        *_, upload = workflow["jobs"]["train"]["steps"]
        shutil.rmtree(results, ignore_errors=True)
        for name in upload["with"]["path"].split():
            hidden = shutil.ignore_patterns(".*")  # which the action leaves out
            shutil.copytree(trained / name, results / name, ignore=hidden)
        # A stage may have written more than its outputs.
        (results / "data/schema.yaml").write_text("target: another\n")
        checkout = new_clone(folder)
        commit = run_job(checkout, services, "train", "commit")
        assert commit.failed_step == "", commit.output
        assert (checkout / "dvc.lock").read_text() == (trained / "dvc.lock").read_text()
        assert check_output(checkout, "git status --porcelain") == ""
    assert stored.read_bytes() == model
    log = check_output(project, "git log --format=%s --max-count 2 main")
    assert log == "Train the model\nCode, and results of a Mac\n"
    # The results are those of the true run.
    changed = check_output(project, "git diff --name-only model@v1.0.0 main")
    assert changed == f"data/raw/.gitignore\n{TABLE}\n{TABLE}.dvc\n"


@pytest.mark.parametrize("key", ["relpath", "md5"])
def test_a_list_of_files_leads_nowhere_out_of_its_folder(
    key: str,
    folder: Path,
) -> None:
    """DVC would write a file there. The list may have its true hash."""
    project = folder / "project"
    commands = (
        "mkdir data/more; echo 1 > data/more/rows.csv; dvc add --quiet data/more; dvc"
        " push"
    )
    check_output(project, "bash", "-ec", commands)
    commit_all(project, "A folder")
    listings = folder.glob("storage/**/*.dir")
    (listing,) = [file for file in listings if "rows" in file.read_text()]
    (files,) = json.loads(listing.read_text())
    path = "aa/../../../false.py"
    (folder / "storage/false.py").touch()  # where the remote has the file of this hash
    (folder / REMOTE / "aa").mkdir(exist_ok=True)
    listing.chmod(0o644)
    listing.write_text(json.dumps([files | {key: path}]))
    release = run_job(new_clone(folder), folder / "services", "release", "verify")
    assert release.failed_step
    pulled = run_command(new_clone(folder), "make pull", **MAKE_VARIABLES)
    assert f"'{path}' leads out of its folder" in pulled.stderr
    assert [*folder.rglob("false.py")] == [folder / "storage/false.py"]


def test_make_repro_says_how_to_mend_a_lock_file_or_the_data_alone(
    folder: Path,
) -> None:
    project = folder / "project"
    lock = project / "dvc.lock"
    half, _, _ = lock.read_text().partition("missing_")
    causes: dict[str, Callable[[], object]] = {
        "network.py": (project / "network.py").unlink,
        "data": lambda: shutil.rmtree(project / "data"),
        "dvc.lock": lambda: lock.write_text(f"{half}missing_"),
    }
    for name, damage in causes.items():
        damage()
        failed = run_command(project, "make repro", **MAKE_VARIABLES)
        advice = re.findall("Run: git restore (.+)", failed.stdout)
        assert advice == ([] if name == "network.py" else [name])
        check_output(project, f"git restore {name}")


def test_make_pull_names_a_table_that_the_remote_lacks(folder: Path) -> None:
    project = folder / "project"
    track_table(project)
    commit_all(project, "Track the table")
    path_in(folder / REMOTE, (project / TABLE).read_bytes()).unlink()
    pulled = run_command(new_clone(folder), "make pull", **MAKE_VARIABLES)
    assert pulled.returncode != 0
    assert f"\n{TABLE} (missing) differs from dvc.lock\n" in pulled.stdout


@pytest.mark.slow
def test_two_retrained_branches_are_merged_as_the_page_says(folder: Path) -> None:
    project = folder / "project"
    epochs = {"networks": {"plain": {"epochs": 1}}}
    for branch, change in (("other-branch", {"folds": 3}), ("main", epochs)):
        check_output(project, f"git switch -q -C {branch} main")
        change_settings(project, train=change)
        reproduce(project, "train")
        commit_all(project, "Retrained")
    blocks = code_blocks("docs/gate.md", "console")
    (block,) = [block for block in blocks if "git merge" in block]
    merge, *resolve = block.replace("$ ", "").splitlines()

    merged = run_command(project, "bash", "-c", merge)
    assert "Merge conflict in dvc.lock" in merged.stdout
    assert "Merge conflict in params.yaml" not in merged.stdout
    check_output(project, "bash", "-ec", "\n".join(resolve), **MAKE_VARIABLES)
    assert len(check_output(project, "git log -1 --format=%P").split()) == 2
    assert check_output(project, "git status --porcelain") == ""
    assert "up to date" in check_output(project, "dvc status")
    lock = (project / "dvc.lock").read_text()
    assert "folds: 3" in lock
    assert "epochs: 1" in lock


def test_the_step_with_credentials_comes_first_and_runs_no_code_of_the_repository() -> (
    None
):
    """`make check` runs zizmor, which finds other dangers in workflows.

    The credentials are comments, which the owner of a remote uncomments.
    """
    pattern = ".github/workflows/*.yml"
    files = [*PROJECT.glob(pattern), *FILES.glob(pattern)]
    names = []
    for file in files:
        commented = file.read_text()
        text = re.sub(r"(?m)^( +)# (env:|  \w+: \$)", r"\1\2", commented)
        for job in yaml.safe_load(text)["jobs"].values():
            first, *later = [step for step in job["steps"] if "run" in step] or [{}]
            if "write" in job.get("permissions", {}).values():
                assert "actions/checkout" not in str(job) or file.name == "train.yml"
                assert not re.search(CODE, str(job["steps"]))
            if "secrets." in str(job):
                names.append(file.name)
                assert "secrets." not in str(job | {"steps": later})
                assert first["run"].startswith("rm -rf .venv\n")
                assert not re.search(CODE, first["run"])
    expected = ["ci.yml", "deploy.yml", "release.yml", "report.yml"]
    assert sorted(names) == [*expected, "train.yml", "train.yml"]


@pytest.mark.parametrize("name", ["ci", "release", "report", "train"])
def test_other_services_run_the_same_make_targets_as_the_workflows(name: str) -> None:
    files = FILES if name == "ci" else PROJECT
    text = (files / f".github/workflows/{name}.yml").read_text()
    job, *_ = yaml.safe_load(text)["jobs"].values()
    # The first step fetches the tables.
    _, *commands = [step["run"] for step in job["steps"] if "run" in step]
    for command in commands:
        assert command.startswith("make ") or '>> "$GITHUB_' in command
    targets = re.findall(r"(?m)^make ([a-z-]+)", "\n".join(commands))
    row = rf"(?m)^\| `{name}\.yml` \| `make ([a-z -]+)(?: [A-Z]|`)"
    assert re.findall(row, PAGES["docs/gate.md"]) == [" ".join(targets)]
