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


def test_the_image_has_the_tensorflow_of_the_training_and_no_package_to_train() -> None:
    image = locked_packages((PROJECT / "requirements/image.txt").read_text())
    version, cpu_version = (image[name].split()[0] for name in ("tensorflow", "tensorflow-cpu"))
    assert cpu_version == version.replace("tensorflow", "tensorflow-cpu")
    left_out = {"dvc", "duckdb", "scikit-learn", "botocore", "sqlalchemy", "vl-convert-python"}
    assert left_out < {*locked_packages((PROJECT / "requirements.txt").read_text())} - {*image}
