"""What one person pushes to a remote, a colleague pulls, and no stage runs."""

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.helpers import clone, free_port, must, outs, run, wait_until

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
# What a colleague's own settings of an SSH remote look like; the address is in git.
Remote = tuple[str, dict[str, str]]


@contextmanager
def serving(log: Path, ready: Callable[[], bool], *command: str) -> Iterator[None]:
    """A server that is ready, and ends with the block."""
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        wait_until(lambda: ready() or server.poll() is not None)
        assert server.poll() is None, log.read_text()
        yield
    finally:
        server.terminate()
        server.wait(timeout=60)


@contextmanager
def ssh_server(folder: Path) -> Iterator[Remote]:
    """An SSH server on loopback, all of its files in `folder`."""
    assert SSHD
    folder.mkdir()
    for name in ("host_key", "user_key"):
        must(folder, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd asks root for it
    port, log = free_port(), folder / "log"
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/user_key.pub\nAuthenticationMethods publickey\n"
        "StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n"
    )
    command = (SSHD, "-D", "-e", "-f", str(folder / "config"))
    with serving(log, lambda: "listening" in log.read_text(), *command):
        settings = {"user": getpass.getuser(), "keyfile": str(folder / "user_key")}
        yield f"ssh://127.0.0.1:{port}{folder.parent}/storage", settings


@contextmanager
def s3_server(log: Path) -> Iterator[Remote]:
    """moto's S3 on loopback with a bucket named storage."""
    port = str(free_port())
    address = f"http://127.0.0.1:{port}"

    def makes_a_bucket() -> bool:
        with suppress(OSError):  # nobody listens yet
            urlopen(Request(f"{address}/storage", method="PUT"), timeout=10).close()
            return True
        return False

    moto = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port)
    with serving(log, makes_a_bucket, *moto):
        keys = {"access_key_id": "anna", "secret_access_key": "secret", "region": "eu-west-1"}
        yield "s3://storage/project", {"endpointurl": address} | keys


needs_sshd = pytest.mark.skipif(
    sys.platform != "linux" or SSHD is None, reason="no sshd here (Debian: openssh-server)"
)


@pytest.fixture(
    params=[
        "folder",
        pytest.param("ssh", marks=[needs_sshd, pytest.mark.slow]),
        pytest.param("s3", marks=pytest.mark.slow),
    ]
)
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    """The address of a remote, and the settings of it that each person makes for themselves."""
    if request.param == "folder":
        yield str(tmp_path / "storage"), {}
    else:
        start = {"ssh": ssh_server, "s3": s3_server}[request.param]
        with start(tmp_path / "server") as found:
            yield found


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of every output of the pipeline, by path."""
    paths = [path for out in outs(folder) for path in (folder / out, *(folder / out).rglob("*"))]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}


def test_a_colleague_pulls_what_was_pushed_and_no_stage_runs(
    workspace: Path, remote: Remote, tmp_path: Path
) -> None:
    """With a home of their own, so that nobody's `~/.ssh` is read."""
    address, settings = remote
    home = tmp_path / "home"
    home.mkdir()

    def quiet(folder: Path, *command: str) -> str:
        done = run(folder, *command, HOME=str(home))
        assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def set_up(folder: Path) -> None:
        for name, value in settings.items():
            quiet(folder, "dvc", "remote", "modify", "--local", "storage", name, value)

    quiet(workspace, "dvc", "remote", "add", "--default", "storage", address)
    set_up(workspace)
    assert "files pushed" in quiet(workspace, "dvc", "push")
    must(workspace, "git", "commit", "-qam", "Where the outputs are")

    colleague = clone(workspace, tmp_path / "colleague")
    set_up(colleague)
    quiet(colleague, "dvc", "pull")
    assert files(colleague) == files(workspace)
    output = quiet(colleague, "dvc", "repro")
    assert "Running stage" not in output
    assert "Data and pipelines are up to date." in output
    assert must(colleague, "git", "status", "--porcelain") == ""
