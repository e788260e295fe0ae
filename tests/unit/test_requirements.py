"""The lock files agree on one version of each package, so that all can be installed together."""

import re
from collections import defaultdict

from tests.helpers import PROJECT


def read_versions(name: str) -> dict[str, str]:
    """Return the locked version of each package in a file."""
    text = (PROJECT / name).read_text()
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def test_every_lock_file_has_the_same_version_of_a_package() -> None:
    versions = defaultdict(set)
    for file in PROJECT.glob("requirements*.txt"):
        for package, version in read_versions(file.name).items():
            versions[package].add(version)
    assert len(versions) > 150
    assert [package for package, locked in versions.items() if len(locked) > 1] == []


def test_the_development_environment_holds_the_server() -> None:
    """`make test` starts it, and `make check` reads its types."""
    serve = read_versions("requirements-serve.txt")
    assert {"fastapi", "prometheus-client", "uvicorn"} <= {*serve}
    development = read_versions("requirements.txt") | read_versions("requirements-dev.txt")
    assert serve.items() <= development.items()


def test_no_lock_file_names_where_packages_come_from() -> None:
    for file in PROJECT.glob("requirements*.txt"):
        assert re.findall("https?:|index-url", file.read_text()) == []
