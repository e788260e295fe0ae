"""What no machine can train is said before it is tried."""

import json
import re

import pytest

from tabular.core.errors import UserError
from tabular.model.training.setup import check_workload
from tests.helpers import train_params


@pytest.mark.parametrize(
    ("changes", "rows", "message"),
    [
        ({"units": [200_000, 200_000]}, 500, "GB of memory, .* Lower the units, for example to "),
        ({"units": [512, 512], "epochs": 1_000_000}, 100_000, "days here"),
        ({"batch_size": 1, "epochs": 1_000_000, "units": [1]}, 10**6, "days here"),
    ],
)
def test_a_training_that_cannot_be_is_refused(
    changes: dict[str, object], rows: int, message: str
) -> None:
    train = train_params({"plain": changes}).resolved(rows, "binary", 8)
    with pytest.raises(UserError, match=rf"train\.networks\.plain\.units is \[.* {message}"):
        check_workload(train, train.members[0], 8, rows, 1)


def test_the_units_that_are_proposed_fit() -> None:
    train = train_params({"plain": {"units": [200_000, 200_000]}}).resolved(500, "binary", 8)
    with pytest.raises(UserError) as error:
        check_workload(train, train.members[0], 8, 500, 1)
    units = json.loads(re.findall(r"for example to (\[.*?\])", str(error.value))[0])
    assert units[0] == units[1] < 200_000
    train = train_params({"plain": {"units": units}}).resolved(500, "binary", 8)
    check_workload(train, train.members[0], 8, 500, 1)


def test_a_large_job_is_not_refused() -> None:
    train = train_params({"plain": {}, "realmlp": {}}).resolved(10**8, "binary", 8)
    for members, width in zip(train.members, (100, 700), strict=True):
        check_workload(train, members, width, 10**8, 1)
