"""The lock files agree on one version of each package, so that all can be installed together."""

from collections import defaultdict

from keras_tabular.projects.lock import locked_packages
from tests.helpers import PROJECT

LOCK_FILES = [PROJECT / "requirements.txt", *PROJECT.glob("requirements/*.txt")]


def test_every_lock_file_has_the_same_version_of_a_package() -> None:
    versions = defaultdict(set)
    for file in LOCK_FILES:
        text = file.read_text()
        assert "index-url" not in text
        assert "://" not in text
        for package, lines in locked_packages(text).items():
            versions[package].add(lines.split()[0])
    assert len(versions) > 150
    assert [package for package, locked in versions.items() if len(locked) > 1] == []
