"""Parts of a datetime as number columns: of the calendar, and the time since a first day.

They are computed in whole numbers, which are the same on any CPU.
"""

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from keras_tabular.networks.backend import keras
from keras_tabular.table.cells import time_zone

ops = keras.ops
DAY = 86_400  # seconds
OFFSET_YEARS = 1900, 2100  # between which the model knows the changes of a time zone's offset
# Parts that begin again after their last value, and the number of their values.
PERIODS = {"month": 12, "weekday": 7, "time of day": 24 * 60}


def parts(seconds: Any, timezone: str | None, first: float) -> dict[str, Any]:
    """Compute the parts of datetimes, each float64, (rows, 1).

    `time` in days since `first`; `year`, `month` (from 1), `day` of the month and `day of the year`
    (from 1), `weekday` (from 0, a Monday) and the `time of day` in minutes, in the time zone.

    The calendar: Hinnant, "chrono-compatible low-level date algorithms" (2014).

    Args:
        seconds: Seconds since 1970 began, UTC, float64, (rows, 1), none of them missing.
        timezone: Name of the time zone; None for UTC.
        first: First day of the training rows, in such seconds.
    """
    moment = ops.cast(ops.floor(seconds), "int64")
    since = (seconds - first) * (1 / DAY)
    if timezone:
        changes, offsets = zone_offsets(timezone)
        place = ops.searchsorted(changes, ops.reshape(moment, (-1,)), side="right")
        moment = moment + ops.reshape(ops.take(offsets, place), (-1, 1))
    days = moment // DAY
    shifted = days + 719_468  # since the first of March of the year 0
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    from_march = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * from_march + 2) // 153
    late = month_from_march // 10  # 1 in January and February
    year = year_of_era + era * 400 + late
    before = year - 1
    new_year = 365 * before + before // 4 - before // 100 + before // 400 - 719_162
    calendar = {
        "year": year,
        "month": month_from_march + 3 - 12 * late,
        "day": from_march - (153 * month_from_march + 2) // 5 + 1,
        "day of the year": days - new_year + 1,
        "weekday": (days + 3) % 7,
        "time of day": (moment - days * DAY) // 60,
    }
    return {"time": since} | {name: ops.cast(part, "float64") for name, part in calendar.items()}


@cache
def zone_offsets(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Find the times when the offset of a time zone from UTC changes.

    Returns:
        The times, in seconds since 1970 began, UTC, int64, (changes,); and the offsets before, in
        between and after, in seconds, int64, (changes + 1,).
    """
    zone, epoch = time_zone(name), datetime(1970, 1, 1, tzinfo=UTC)

    def offset(seconds: int) -> int:
        difference = (epoch + timedelta(seconds=seconds)).astimezone(zone).utcoffset()
        return round((difference or timedelta()).total_seconds())

    first, last = (round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in OFFSET_YEARS)
    days = range(first, last + 1, DAY)
    offsets = np.array([offset(day) for day in days], np.int64)
    changed = np.flatnonzero(np.diff(offsets))

    def time_of_change(day: int) -> int:
        seconds, before = range(day, day + DAY), offset(day)
        return day + bisect_left(seconds, True, key=lambda second: offset(second) != before)

    times = [time_of_change(days[place]) for place in changed]
    return np.array(times, np.int64), offsets[np.r_[0, changed + 1]]


def cyclic_encoding(part: Any, name: str) -> Any:
    """Compute sine and cosine of a part that begins again after its last value.

    They are looked up in a table, since a sine may differ from CPU to CPU.

    Args:
        part: Values of the part, shape (rows, 1).
        name: Key of the part in `PERIODS`.

    Returns:
        Float32, (rows, 2).
    """
    period = PERIODS[name]
    angles = 2 * np.pi * np.arange(period + 1) / period
    table = np.stack([np.sin(angles), np.cos(angles)], axis=1).round(6).astype(np.float32)
    return ops.reshape(ops.take(table, ops.cast(part, "int32"), axis=0), (-1, 2))
