"""The layers compute the same calendar as pandas, in any time zone."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from keras_tabular.networks.backend import keras
from keras_tabular.preprocessing import dates


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"])
def test_the_parts_equal_those_of_pandas(zone: str | None) -> None:
    first, last = (-5_000_000_000, 8_000_000_000) if zone is None else (0, 4_000_000_000)
    drawn = np.random.default_rng(0).integers(first, last, 5_000)
    edges = pd.date_range("1999-12-31 23:59:59", "2024-03-01", freq="73D").astype("int64") // 10**9
    timestamps = np.concatenate([drawn, edges]).astype(float)
    seconds = keras.Input((1,), dtype="float64")
    model = keras.Model(seconds, dates.compute_parts(seconds, zone, first=86_400.0))
    parts = {name: np.asarray(part)[:, 0] for name, part in model(timestamps[:, None]).items()}
    local = pd.to_datetime(timestamps, unit="s", utc=True).tz_convert(zone or "UTC")
    expected: dict[str, Any] = {
        "time": timestamps / 86_400 - 1,
        "year": local.year,
        "month": local.month,
        "day": local.day,
        "day of the year": local.day_of_year,
        "weekday": local.day_of_week,
        "time of day": local.hour * 60 + local.minute,
    }
    assert parts.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(parts[name], np.asarray(values, float), rtol=1e-12, err_msg=name)
