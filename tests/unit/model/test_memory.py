"""A network that cannot fit into memory is refused before it is built."""

import numpy as np
import pytest

from tabular.core.errors import UserError
from tabular.model.network import Columns
from tabular.model.training.architecture import check_memory
from tests.helpers import train_params


def test_a_network_that_does_not_fit_into_memory_is_named_with_its_units() -> None:
    units = [200_000, 200_000]
    train = train_params({"plain": {"units": units}}).resolved(500, "binary", 8)
    message = r"networks\.plain\.units is \[200000, 200000\]: .* GB of memory, .* Lower the units"
    with pytest.raises(UserError, match=message):
        check_memory(train, train.members[0], Columns(np.zeros((1, 8)), 0, 8), 1)
    small = train_params({"plain": {}}).resolved(10**8, "binary", 8)
    check_memory(small, small.members[0], Columns(np.zeros((1, 700)), 0, 0), 1)
