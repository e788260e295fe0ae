"""Compare the environment of a project with its lock file, requirements.txt.

A bare Python imports this module, so it uses the standard library alone.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DISTRIBUTION = "keras-tabular"  # the name of the library
# A package in a lock file: its name, its version with a marker, and a line for each hash.
LOCKED_PACKAGE = re.compile(r"^([\w.-]+)==.*\n(?: +--hash=.*\n)+", re.MULTILINE)


def main() -> None:
    """Name the packages of the running Python that differ from requirements.txt, and fail."""
    differences = version_differences(Path("requirements.txt").read_text(encoding="utf-8"))
    if differences:
        sys.exit(f"{sys.prefix} differs from requirements.txt: {', '.join(differences)}")


def version_differences(lock: str) -> list[str]:
    """Compare the packages of the running Python with a lock file.

    A package with a marker may be missing, since the marker may not hold here.

    Returns:
        A text for each package that is missing, or has another version.
    """
    differences = []
    for name, lines in locked_packages(lock).items():
        locked = lines.split()[0].partition("==")[2]
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = locked if " ; " in lines else "is missing"
        if installed != locked:
            differences.append(f"{name} {installed} (expected {locked})")
    return differences


def locked_packages(lock: str) -> dict[str, str]:
    """Return the lines of each package in a lock file by the name of the package."""
    return {match[1]: match[0] for match in LOCKED_PACKAGE.finditer(lock)}


def lock_text(other_lines: str, packages: dict[str, str]) -> str:
    """Return a lock file, in the order and format of `uv pip compile`.

    Args:
        other_lines: Comments and options.
        packages: The lines of each package by name.
    """
    return other_lines + "".join(packages[name] for name in sorted(packages))


if __name__ == "__main__":
    main()
