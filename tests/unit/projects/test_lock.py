"""The installed packages are compared with a lock file."""

from importlib.metadata import version

from keras_tabular.projects.lock import version_differences

HASH = " \\\n    --hash=sha256:0\n"


def test_missing_packages_and_other_versions_are_listed() -> None:
    numpy = version("numpy")
    pins = ["pandas==0", f"numpy=={numpy}", "none==1", "pywin32==1 ; sys_platform == 'win32'"]
    assert version_differences("".join(pin + HASH for pin in pins)) == [
        f"pandas: expected 0, got {version('pandas')}",
        "none: expected 1, got nothing",
    ]
