"""The examples of docs/own-parts.md work: a network, a check, a metric and a stage."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.commands import check_output, stages_that_ran
from tests.documentation import PAGES
from tests.projects import (
    FEW_EPOCHS,
    STAGE_COMMANDS,
    change_settings,
    read_gate,
    read_json,
    read_scores,
)

PAGE = PAGES["docs/own-parts.md"]
# A test of the training runs the other networks of the page.
_, _, NETWORK, _, _, CHECK, METRIC, SCRIPT = re.findall(r"(?ms)^```python\n(.*?)^```", PAGE)
ARCHITECTURE, _, LIMIT, STAGE, SOURCE = re.findall(r"(?ms)^```yaml\n(.*?)^```", PAGE)


def replace_line(file: Path, start: str, lines: str) -> None:
    """Replace the only line of a file that begins with `start`."""
    text, count = re.subn(f"^{start}.*\n", lambda _: lines, file.read_text(), flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)


@pytest.mark.slow
def test_a_project_has_a_network_a_check_a_metric_and_a_stage_of_its_own(workspace: Path) -> None:
    (workspace / "network.py").write_text(NETWORK)
    replace_line(workspace / "params.yaml", "  networks:", f"  networks:\n{ARCHITECTURE}")
    members = [{"network": "plain"}, {"network": "cross"}]
    change_settings(workspace, train={"members": members, "networks": {"cross": FEW_EPOCHS}})
    replace_line(workspace / "custom.py", "CHECKS: ", CHECK)
    replace_line(workspace / "custom.py", "METRICS: ", METRIC)
    replace_line(workspace / "params.yaml", "  highest: ", LIMIT)
    (workspace / "stages/prepare.py").write_text(SCRIPT)
    replace_line(workspace / "dvc.yaml", "stages:", f"stages:\n{STAGE}")
    replace_line(workspace / "data/schema.yaml", "source: ", SOURCE)
    output = check_output(workspace, "dvc", "repro")
    assert stages_that_ran(output) == ["prepare", *STAGE_COMMANDS]

    metrics = workspace / "metrics"
    networks = read_json(metrics / "networks.json")["networks"]
    assert networks["cross"]["params"]["options"] == {"layers": "cross", "depth": 2}
    assert [networks[name]["stacked"] for name in ("plain", "cross")] == [True, True]
    validation = read_json(metrics / "validation.json")
    assert validation["rows"] == 763
    failed = validation["checks"]["Pregnancies and Age.pregnancies_for_age"]
    assert failed == {"verdict": "warn", "failed_rows": 1}
    assert ", got 8 and 22 (data/prepared.csv, line 728)" in output

    scores = read_scores(workspace)
    rows = pd.read_parquet(workspace / "data/predictions")
    actual, predicted = rows["actual"] == 1, rows["predicted"] == 1
    expected = np.mean(5.0 * (actual & ~predicted) + (~actual & predicted))
    cost = scores.score("test", "custom.cost")
    assert cost
    assert cost.interval
    assert cost.value == pytest.approx(expected, abs=1e-6)
    assert cost.interval[0] < cost.value < cost.interval[1]
    majority = scores.value("test", "custom.cost", "majority")
    assert majority == pytest.approx(5 * actual.mean(), abs=1e-6)
    assert read_json(metrics / "metrics.json")["test"]["custom"] == {"cost": cost.value}
    limit = read_gate(workspace)["checks"]["highest test.custom.cost"]
    assert (limit["value"], limit["allowed"]) == (cost.value, 0.9)
    assert limit["status"] == ("pass" if cost.value <= 0.9 else "fail")
    check_output(workspace, "python", "-m", "keras_tabular", "report")
    assert ">cost<" in (workspace / "report.html").read_text()
