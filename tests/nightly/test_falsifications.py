"""The rows of the table "What each check sees" in docs/gate.md."""

from pathlib import Path

import pytest

from tests.pipeline import test_chain as chain

# fixtures
folder = chain.folder
registered = chain.registered


@pytest.mark.parametrize("row", [*chain.FALSIFICATIONS])
def test_each_check_sees_what_the_page_says(row: str, folder: Path) -> None:
    chain.check_row(folder, row)
