"""The lock files agree on one version of each package, so that all can be installed together."""

import re
import tomllib
from collections import defaultdict

from tests.helpers import PROJECT

LOCK_FILES = [PROJECT / "requirements.txt", *PROJECT.glob("requirements/*.txt")]


def test_every_lock_file_has_the_same_version_of_a_package() -> None:
    versions = defaultdict(set)
    for file in LOCK_FILES:
        locked = re.findall(r"^([\w.-]+)==([^\s;]+)", file.read_text(), re.MULTILINE)
        for package, version in locked:
            versions[package].add(version)
    assert len(versions) > 150
    assert [package for package, locked in versions.items() if len(locked) > 1] == []


def test_no_lock_file_names_where_packages_come_from() -> None:
    for file in LOCK_FILES:
        assert re.findall("https?:|index-url", file.read_text()) == []


def test_the_extras_of_the_package_are_the_groups_that_are_locked() -> None:
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    extras, groups = pyproject["project"]["optional-dependencies"], pyproject["dependency-groups"]
    assert set(extras) == {"ray", "serve"}
    assert extras == {name: groups[name] for name in extras}
