"""What the layers read of a datetime: the parts of the calendar, and the time since a first day.

All in whole numbers, which are the same on any CPU.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from tabular.model.backend import keras
from tabular.table.cells import time_zone

ops = keras.ops
DAY = 86_400  # seconds
OFFSETS_TO = 2100  # the last year whose changes of a time zone's offset are known to the model
# How many different values a part has that begins again after the last one.
PERIODS = {"month": 12, "weekday": 7, "time of day": 24 * 60}


def parts(seconds: Any, timezone: str | None, first: float) -> dict[str, Any]:
    """Compute the parts of datetimes, each float64, (rows, 1).

    `time` in days since `first`; `year`, `month` (from 1), `day` of the month and `day of the year`
    (from 1), `weekday` (from 0, a Monday) and the `time of day` in minutes, in the time zone.

    The calendar: Hinnant, "chrono-compatible low-level date algorithms" (2014).

    Args:
        seconds: since 1970 began, UTC, float64, (rows, 1), none of them missing.
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
    """When the offset of a time zone from UTC changes, and the offsets before and after, int64.

    In seconds; of n changes there are n + 1 offsets.
    """
    zone, start = time_zone(name), datetime(1900, 1, 1, tzinfo=UTC)

    def offset(second: int) -> int:
        difference = (start + timedelta(seconds=second)).astimezone(zone).utcoffset()
        return round((difference or timedelta()).total_seconds())

    changes, offsets = [], [offset(0)]
    for day in range(0, (datetime(OFFSETS_TO, 1, 1, tzinfo=UTC) - start).days):
        low, high = day * DAY, (day + 1) * DAY
        if (after := offset(high)) != offsets[-1]:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if offset(middle) != offsets[-1] else (middle, high)
            changes.append(high + round(start.timestamp()))
            offsets.append(after)
    return np.array(changes, np.int64), np.array(offsets, np.int64)


def cyclic_encoding(part: Any, name: str) -> Any:
    """Sine and cosine of a part that begins again after its last value: float32, (rows, 2).

    From a table: a sine may differ from CPU to CPU.

    Args:
        part: shape (rows, 1).
    """
    period = PERIODS[name]
    angles = 2 * np.pi * np.arange(period + 1) / period
    table = np.stack([np.sin(angles), np.cos(angles)], axis=1).round(6).astype(np.float32)
    return ops.reshape(ops.take(table, ops.cast(part, "int32"), axis=0), (-1, 2))
