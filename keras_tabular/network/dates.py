"""Parts of a datetime as number columns: of the calendar, and the time since a first day.

They are computed in whole numbers, which are the same on any CPU.
"""

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from keras_tabular.network.backend import keras
from keras_tabular.table.cells import time_zone

ops = keras.ops
SECONDS_PER_DAY = 86_400
OFFSET_YEARS = 1900, 2100  # between which the model knows the changes of a time zone's offset
# Parts that begin again after their last value, and the number of their values.
PERIODS = {"month": 12, "weekday": 7, "time of day": 24 * 60}


def compute_parts(seconds: Any, timezone: str | None, first: float) -> dict[str, Any]:
    """Compute the parts of datetimes.

    They are the `time` in days since `first`; `year`, `month` (from 1), `day` of the month and `day
    of the year` (from 1), `weekday` (from 0, a Monday) and the `time of day` in minutes, in the
    time zone. The formulas of the calendar are Hinnant's, "chrono-compatible low-level date
    algorithms" (2014).

    Args:
        seconds: Seconds since 1970 began, UTC, none of them missing: float64, shape (rows, 1).
        timezone: Name of the time zone; None for UTC.
        first: First day of the training rows, in seconds since 1970 began.

    Returns:
        Each part by its name: float64, shape (rows, 1).
    """
    timestamp = ops.cast(ops.floor(seconds), "int64")
    days_since_first = (seconds - first) * (1 / SECONDS_PER_DAY)
    if timezone:
        changes, offsets = zone_offsets(timezone)
        index = ops.searchsorted(changes, ops.reshape(timestamp, (-1,)), side="right")
        timestamp = timestamp + ops.reshape(ops.take(offsets, index), (-1, 1))
    days = timestamp // SECONDS_PER_DAY
    # Eras of 400 years, and years from March to February, so that a leap day is the last day.
    day_from_year_0 = days + 719_468
    era = day_from_year_0 // 146_097
    day = day_from_year_0 - era * 146_097
    year_of_era = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day_from_march = day - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_from_march + 2) // 153
    is_next_year = month_from_march // 10  # 1 in January and February
    year = year_of_era + era * 400 + is_next_year
    last_year = year - 1
    new_year = 365 * last_year + last_year // 4 - last_year // 100 + last_year // 400 - 719_162
    calendar = {
        "year": year,
        "month": month_from_march + 3 - 12 * is_next_year,
        "day": day_from_march - (153 * month_from_march + 2) // 5 + 1,
        "day of the year": days - new_year + 1,
        "weekday": (days + 3) % 7,
        "time of day": (timestamp - days * SECONDS_PER_DAY) // 60,
    }
    parts = {name: ops.cast(part, "float64") for name, part in calendar.items()}
    return {"time": days_since_first} | parts


@cache
def zone_offsets(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Find the times when the offset of a time zone from UTC changes.

    Returns:
        The times, in seconds since 1970 began, UTC: int64, shape (changes,). And the offsets before
        the first change, between changes and after the last one, in seconds: int64, shape
        (changes + 1,).
    """
    zone, epoch = time_zone(name), datetime(1970, 1, 1, tzinfo=UTC)

    def offset(seconds: int) -> int:
        difference = (epoch + timedelta(seconds=seconds)).astimezone(zone).utcoffset()
        return round((difference or timedelta()).total_seconds())

    first, last = (round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in OFFSET_YEARS)
    days = range(first, last + 1, SECONDS_PER_DAY)
    offsets = np.array([offset(day) for day in days], np.int64)
    days_before = np.flatnonzero(np.diff(offsets))

    def time_of_change(day: int) -> int:
        seconds, before = range(day, day + SECONDS_PER_DAY), offset(day)
        return day + bisect_left(seconds, True, key=lambda second: offset(second) != before)

    changes = np.array([time_of_change(days[number]) for number in days_before], np.int64)
    return changes, offsets[np.r_[0, days_before + 1]]


def cyclic_encoding(part: Any, name: str) -> Any:
    """Compute sine and cosine of a part that begins again after its last value.

    They are looked up in a table, since a sine may differ from CPU to CPU.

    Args:
        part: Values of the part, shape (rows, 1).
        name: Key of the part in `PERIODS`.

    Returns:
        Float32, shape (rows, 2).
    """
    period = PERIODS[name]
    angles = 2 * np.pi * np.arange(period + 1) / period
    table = np.stack([np.sin(angles), np.cos(angles)], axis=1).round(6).astype(np.float32)
    return ops.reshape(ops.take(table, ops.cast(part, "int32"), axis=0), (-1, 2))
