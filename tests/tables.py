"""The tables that tests share."""

import numpy as np
import pandas as pd

POSITIVE_PHRASES = ["lovely", "great taste"]
NEGATIVE_PHRASES = ["stale", "bad smell"]


def load_table(name: str) -> pd.DataFrame:
    """Return a table of this module or of scikit-learn by its name."""
    tasks = {"mixed_binary": "binary", "mixed_regression": "regression"}
    if name in tasks:
        return make_mixed_table(tasks[name])
    if name == "shops":
        return make_shop_sales()
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")(as_frame=True).frame


def make_mixed_table(task: str) -> pd.DataFrame:
    """Make 600 rows with columns of all kinds and gaps.

    The target `y` depends on the columns `cast` and `colour`.
    """
    rng = np.random.default_rng(0)
    rows = 600
    frame = pd.DataFrame(
        {
            "id": np.arange(rows),
            "cast": rng.normal(size=rows).round(3),  # the name of a Keras operation
            "colour": rng.choice(["red", "green", "blue, dark"], rows),
            "zip/code": rng.choice(["00123", "00456"], rows),
            "flag": rng.random(rows) > 0.5,
            "count": rng.integers(0, 100, rows).astype(str),
        },
    )
    signal = frame["cast"] + (frame["colour"] == "red") + rng.normal(size=rows) / 2
    if task == "regression":
        frame["y"] = (1e6 + 1e4 * signal).round(1)
    else:
        frame["y"] = np.where(signal > 0.3, "pos", "neg")
    for column, gap in {
        "cast": np.nan,
        "colour": None,
        "count": "?",
    }.items():
        frame.loc[rng.random(rows) < 0.1, column] = gap
    return frame


def make_shop_sales(rows: int = 1200) -> pd.DataFrame:
    """Make daily sales that depend on the weekday, the review and the shop."""
    rng = np.random.default_rng(0)
    day = pd.Timestamp("2019-03-01") + pd.to_timedelta(
        rng.integers(0, 1500, rows),
        unit="D",
    )
    is_positive = rng.random(rows) > 0.5
    noise = [f"word{number}" for number in range(200)]
    reviews = [
        f"{' '.join(rng.choice(noise, 3))} {rng.choice(phrases)} {rng.choice(noise)}"
        for phrases in (
            POSITIVE_PHRASES if flag else NEGATIVE_PHRASES for flag in is_positive
        )
    ]
    shop = rng.integers(0, 60, rows)
    level = rng.normal(size=60)[shop] + 2.0 * (day.day_of_week >= 5) + 2.0 * is_positive
    return pd.DataFrame(
        {
            "day": day.strftime("%d.%m.%Y"),
            "review": reviews,
            "shop_id": shop + 1000,
            "sales": (10 + level + rng.normal(size=rows) / 3).round(2),
        },
    )
