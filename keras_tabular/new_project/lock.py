"""Compare the installed packages with the lock file of a project, requirements.txt.

This module only needs the standard library, because it runs before any package is
installed.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

# A package in a lock file: its name, its version and perhaps a marker, and a line for
# each hash, if there is one.
LOCKED_PACKAGE = re.compile(r"^([\w.-]+)==.*\n(?: +--hash=.*\n)*", re.MULTILINE)


def main() -> None:
    """Fail if installed packages differ from requirements.txt, and list these."""
    lock = Path("requirements.txt").read_text("utf-8")
    differences = ", ".join(version_differences(lock))
    if differences:
        sys.exit(f"{sys.prefix} differs from requirements.txt: {differences}")


def version_differences(lock: str) -> list[str]:
    """Describe each package that is missing or has another version than in a lock file.

    A package with a marker, such as `; sys_platform == "win32"`, may be missing. Of the
    packages of TensorFlow, one has to be there: tensorflow, tensorflow-cpu or another
    one.
    """
    differences = []
    for name, lines in locked_packages(lock).items():
        locked = lines.split()[0].removeprefix(f"{name}==")
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "nothing"
            optional = not name.startswith("tensorflow") or find_spec("tensorflow")
            if optional and " ; " in lines:
                continue
        if installed != locked:
            differences.append(f"{name}: expected {locked}, got {installed}")
    return differences


def locked_packages(lock: str) -> dict[str, str]:
    """Return the lines of each package in a lock file, by its name."""
    return {match[1]: match[0] for match in LOCKED_PACKAGE.finditer(lock)}


def replace_packages(lock: str, packages: dict[str, str]) -> str:
    """Return a lock file with other packages, in the order of `uv pip compile`.

    Args:
        lock: The lock file, whose comments and options stay.
        packages: The lines of each package, by its name.
    """
    lines = [packages[name] for name in sorted(packages)]
    return LOCKED_PACKAGE.sub("", lock) + "".join(lines)


if __name__ == "__main__":
    main()
