"""Large packages that others import only to see whether an object is one of theirs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder


class _Hidden(MetaPathFinder):
    def __init__(self, packages: tuple[str, ...]) -> None:
        self._packages = packages

    def find_spec(self, name: str, *_: object) -> None:
        if name in self._packages:
            raise ImportError(name)


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Let none of these packages be imported in the block, unless it was before."""
    finder = _Hidden(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
