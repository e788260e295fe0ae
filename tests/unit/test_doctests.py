"""The examples in the docstrings of the library."""

import doctest
import importlib
import re

import pytest

from tests.helpers import PROJECT

# The examples of `keras_tabular.api` need a trained model: see tests/pipeline.
MODULES = [
    ".".join(file.relative_to(PROJECT).with_suffix("").parts)
    for file in sorted(PROJECT.glob("keras_tabular/*/*.py"))
    if re.search("(?m)^ *>>> ", file.read_text())
]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted
    assert not result.failed
