"""The rows of the table "What each check sees" that `.ci/run` does not test."""

from pathlib import Path

import pytest

from tests.pipeline import test_chain as chain

folder, registered = chain.folder, chain.registered  # fixtures


@pytest.mark.parametrize("row", sorted({*chain.FALSIFICATIONS} - {chain.ROW_BEFORE_A_MERGE}))
def test_each_check_sees_what_the_page_says(row: str, folder: Path) -> None:
    chain.check_row(folder, row)
