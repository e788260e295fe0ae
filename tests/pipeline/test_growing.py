"""Tests that a model does not read what only grows with time, and of the advice about columns."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dvc.utils.hydra import apply_overrides

from tests.commands import call_command
from tests.projects import (
    LONGER_TRAINING,
    SHORT_TRAINING,
    change_settings,
    create_project,
    read_gate,
    read_json,
    run_stages,
)


@pytest.fixture(scope="module")
def seasonal_sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose prices have a season, with running numbers and a meter that drifts."""
    rng, rows = np.random.default_rng(2), 600
    day = np.sort(rng.integers(0, 1095, rows))
    size = rng.normal(size=rows)
    season = 5 * np.sin(2 * np.pi * day / 365)
    frame = pd.DataFrame(
        {
            "date": pd.Timestamp("2021-01-01") + pd.to_timedelta(day, unit="D"),
            "invoice": 1000 + np.arange(rows),
            "meter": (size + 2 * day / 365).round(2),
            "size": (size + rng.normal(size=rows) / 4).round(3),
            "price": (50 + 5 * size + season + rng.normal(size=rows)).round(2),
        }
    )
    folder = create_project(tmp_path_factory.mktemp("growing") / "sales", frame)
    schema = {"time": "date", "ignore": [], "columns": {"invoice": {"kind": "integer"}}}
    change_settings(folder, schema, split={"by": "time"}, train=LONGER_TRAINING)
    run_stages(folder)
    return folder


def read_steps(folder: Path) -> dict[str, str]:
    columns: dict[str, str] = read_json(folder / "metrics/networks.json")["columns"]
    return columns


def test_later_rows_need_nothing_that_only_grows(seasonal_sales: Path, tmp_path: Path) -> None:
    steps = read_steps(seasonal_sales)
    assert steps.keys() == {"date", "meter", "size"}
    assert steps["date"].startswith("month, day, day of the year, weekday, standardised")
    rows = pd.read_parquet(seasonal_sales / "data/split/test")[["date", "meter", "size"]]
    (tmp_path / "new.csv").write_text(rows.to_csv(index=False))
    rows["date"] += pd.Timedelta(days=4 * 365 + 1)  # the next day with the same calendar, nearly
    (tmp_path / "later.csv").write_text(rows.to_csv(index=False))
    predicted = []
    for name in ("new", "later"):
        output = tmp_path / f"{name}.parquet"
        call_command(seasonal_sales, "predict", tmp_path / f"{name}.csv", "-o", str(output))
        predicted.append(pd.read_parquet(output)["predicted"])
    assert (predicted[0] - predicted[1]).abs().mean() < 1


def test_the_first_advice_is_a_command_that_leaves_out_a_column(seasonal_sales: Path) -> None:
    advice = read_gate(seasonal_sales)["next_steps"][0]
    assert advice.startswith("Leave out column meter")
    assert re.search(r"is \d+% lower", advice)
    command = shlex.split(advice.partition("`")[2].partition("`")[0])
    assert command[:-1] == ["dvc", "exp", "run", "-S"]
    apply_overrides(seasonal_sales / "params.yaml", command[-1:])
    change_settings(seasonal_sales, train=SHORT_TRAINING)
    run_stages(seasonal_sales, first="train", last="train")
    assert read_steps(seasonal_sales).keys() == {"date", "size"}


def test_what_grows_is_read_if_asked_for(
    seasonal_sales: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_settings(seasonal_sales, train=SHORT_TRAINING | {"ignore": []})
    run_stages(seasonal_sales, first="train", last="train")
    message = "What only grows with time is not read: date: time, date: year, invoice"
    assert message in capsys.readouterr().err
    change_settings(seasonal_sales, train={"growing": "keep"})
    run_stages(seasonal_sales, first="train", last="train")
    steps = read_steps(seasonal_sales)
    assert steps["date"].startswith("time, year")
    assert "invoice" in steps
