"""An environment is compared with every package of a lock file."""

from importlib.metadata import version

from keras_tabular.projects.lock import version_differences

HASH = " \\\n    --hash=sha256:0\n"


def test_packages_in_another_version_and_missing_ones_are_named() -> None:
    numpy = version("numpy")
    pins = ["pandas==0", f"numpy=={numpy}", "none==1", "pywin32==1 ; sys_platform == 'win32'"]
    assert version_differences("".join(pin + HASH for pin in pins)) == [
        f"pandas {version('pandas')} (expected 0)",
        "none is missing (expected 1)",
    ]
