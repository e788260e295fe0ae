"""What one person pushes to a remote, a colleague pulls, and no stage runs."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.helpers import must, run

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
# What a colleague's own settings of an SSH remote look like; the address is in git.
Remote = tuple[str, dict[str, str]]


@contextmanager
def ssh_server(folder: Path) -> Iterator[tuple[int, Path]]:
    """An SSH server on loopback, all of its files in `folder`: its port, and the user's key."""
    assert SSHD
    folder.mkdir()
    for name in ("host_key", "user_key"):
        must(folder, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd asks root for it
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "config").write_text(
        f"""\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
AuthenticationMethods publickey
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
"""
    )
    log = folder / "log"
    server = subprocess.Popen([SSHD, "-D", "-f", folder / "config", "-E", log])
    try:
        deadline = time.monotonic() + 20
        while not (log.exists() and "listening" in log.read_text()):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "sshd does not listen"
            time.sleep(0.05)
        yield port, folder / "user_key"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """moto's S3 on loopback with a bucket named storage: its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 20
        while True:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "moto does not listen"
            with suppress(URLError):
                urlopen(Request(f"{address}/storage", method="PUT")).close()
                break
            time.sleep(0.05)
        yield address
    finally:
        server.terminate()
        server.wait()


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="OpenSSH as Linux sets it up")


@pytest.fixture(params=["folder", pytest.param("ssh", marks=needs_linux), "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    """The address of a remote, and the settings of it that each person makes for themselves."""
    if request.param == "folder":
        yield str(tmp_path / "storage"), {}
    elif request.param == "s3":
        with s3_server(tmp_path / "log") as address:
            keys = {"access_key_id": "anna", "secret_access_key": "secret", "region": "eu-west-1"}
            yield "s3://storage/project", {"endpointurl": address} | keys
    elif SSHD is None:
        pytest.skip("no sshd here (Debian: apt install openssh-server)")
    else:
        with ssh_server(tmp_path / "server") as (port, key):
            address = f"ssh://127.0.0.1:{port}{tmp_path}/storage"
            yield address, {"user": getpass.getuser(), "keyfile": str(key)}


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of every output of the pipeline, by path."""
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"].values()
    outs = [next(iter(out)) if isinstance(out, dict) else out for s in stages for out in s["outs"]]
    paths = [path for out in outs for path in (folder / out, *(folder / out).rglob("*"))]
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

    clone = tmp_path / "colleague"
    must(tmp_path, "git", "clone", "-q", str(workspace), str(clone))
    set_up(clone)
    quiet(clone, "dvc", "pull")
    assert files(clone) == files(workspace)
    output = quiet(clone, "dvc", "repro")
    assert "Running stage" not in output
    assert "Data and pipelines are up to date." in output
    assert must(clone, "git", "status", "--porcelain") == ""
