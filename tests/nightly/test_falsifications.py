"""Falsified commits, such as the rows of "What each check sees" in docs/gate.md."""

from pathlib import Path

import pytest

from tests.pipeline import test_chain as chain
from tests.projects import commit_all
from tests.workflows import run_job

# fixtures
folder = chain.folder
registered = chain.registered


@pytest.mark.parametrize("row", [*chain.FALSIFICATIONS])
def test_each_check_sees_what_the_page_says(row: str, folder: Path) -> None:
    chain.check_row(folder, row)


def test_false_scores_of_another_machine_are_named_and_fail_and_nobody_is_accused(
    folder: Path,
) -> None:
    chain.falsify_scores_as_on_a_mac(folder)
    commit_all(folder / "project", "False")
    checkout = chain.new_clone(folder)
    texts = []
    failed_steps = []
    for job in chain.JOBS[:3]:
        result = run_job(checkout, folder / "services", *job, TARGET="HEAD~1")
        failed_steps.append(result.failed_step)
        texts.append(result.output)
    assert failed_steps == [
        "make verify OUT=model.keras",
        "make pr-report",
        "make check-commit",
    ]
    comment, _, _ = (checkout / "pr.md").read_text().partition("## Gate")
    for text in (*texts, comment):
        assert chain.MACHINE in text
        assert "edited" not in text
        assert all(name in text for name in chain.SCORES)
