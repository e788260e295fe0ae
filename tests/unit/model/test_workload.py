"""What no machine can train is said before it is tried."""

import pytest

from tabular.core.errors import UserError
from tabular.model.training.setup import check_workload
from tests.helpers import train_params


@pytest.mark.parametrize(
    ("changes", "rows", "message"),
    [
        ({"units": [100_000, 100_000]}, 500, "GB of memory"),
        ({"units": [512, 512], "epochs": 1_000_000}, 100_000, "days here"),
        ({"batch_size": 1, "epochs": 1_000_000, "units": [1]}, 10**6, "days here"),
    ],
)
def test_a_training_that_cannot_be_is_refused(
    changes: dict[str, object], rows: int, message: str
) -> None:
    train = train_params({"plain": changes}).resolved(rows, "binary", 8)
    with pytest.raises(UserError, match=rf"train\.networks\.plain: .* {message}"):
        check_workload(train, {"plain": 8}, rows, 1)


def test_a_large_job_is_not_refused() -> None:
    train = train_params({"plain": {}, "realmlp": {}}).resolved(10**8, "binary", 8)
    check_workload(train, {"plain": 100, "realmlp": 700}, 10**8, 1)
