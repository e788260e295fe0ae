"""Experiments in the queue: run side by side, compared, applied, left again."""

import re
from pathlib import Path

from tests.commands import check_output


def test_a_value_stays_until_one_goes_back_and_what_changed_fits_a_terminal(
    workspace: Path,
) -> None:
    """As the pages say of `dvc exp run -S`; a comment in params.yaml changes no stage."""
    params = workspace / "params.yaml"
    params.write_text("# More to say\n" + params.read_text())
    assert "up to date" in check_output(workspace, "dvc", "status")
    check_output(workspace, "git", "commit", "-qam", "A comment")
    text, metrics = params.read_text(), (workspace / "metrics/metrics.json").read_text()

    def try_out(name: str, value: str) -> None:
        check_output(workspace, "dvc", "exp", "run", "--name", name, "-S", value)

    threshold, loss = "evaluate.threshold=0.4", "gate.worse_than_last.test.loss=0.1"
    try_out("one", threshold)
    try_out("both", loss)
    check_output(workspace, "git", "restore", "params.yaml", "dvc.lock", "metrics")
    check_output(workspace, "dvc", "checkout")
    assert "up to date" in check_output(workspace, "dvc", "status")
    assert params.read_text() == text
    assert (workspace / "metrics/metrics.json").read_text() == metrics
    try_out("other", loss)

    shown = check_output(workspace, "python", "-m", "keras_tabular", "exp-show").splitlines()
    assert max(map(len, shown)) <= 100
    header = r"experiment +test accuracy +test loss +cv accuracy +cv loss +changed"
    assert re.fullmatch(header, shown[0])
    scores = r"( +0\.\d{1,5}){4} +"
    changed = {line.split()[0]: re.sub(rf"^\w+{scores}", "", line) for line in shown[1:]}
    assert changed["one"] == changed["both"] == threshold
    assert changed["other"] == changed["workspace"] == loss
    assert shown[[line.split()[0] for line in shown].index("both") + 1].strip() == loss
