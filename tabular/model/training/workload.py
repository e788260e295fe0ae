"""Memory and time of a training, estimated before it begins."""

import os
import resource
from itertools import pairwise

from tabular.config.train import Resolved
from tabular.core.engine import workers
from tabular.core.errors import UserError

# Copies of its weights that a network in training takes: itself, the gradient, two slots of Adam,
# and what the compiled step moves.
COPIES = 6
SNAPSHOTS = 10  # copies of each network that cycles leave: a snapshot of each, and the last state
# Measured with exact products on one core of an AMD EPYC: multiply-adds a second, seconds a step.
SPEED, STEP = 5e9, 2e-5
MAX_DAYS = 7.0


def check_workload(train: Resolved, widths: dict[str, int], rows: int, outputs: int) -> None:
    """Refuse a training that this machine has not the memory for, or a week.

    Args:
        widths: of what the first layer of each network reads.
        rows: to learn from.

    Raises:
        UserError: the message names the network and what it would take.
    """
    cores = workers()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    memory = min(memory, limit) if limit >= 0 else memory
    for members in train.members:
        network, count = train.networks[members.network], members.count * train.folds
        layers = [widths[members.network], *network.units, outputs]
        weights = sum(read * units + units for read, units in pairwise(layers))
        kept = SNAPSHOTS if network.learning_rate_schedule == "cycles" else 1
        needed = 4 * weights * (count * kept + COPIES * min(cores, count))
        steps = network.epochs * max(rows / network.batch_size, 1)
        # A step takes three products: forward, and the gradients of its two factors.
        each = steps * (STEP + 3 * weights * min(rows, network.batch_size) / SPEED)
        days = each * count / min(cores, count) / 86400
        where = f"train.networks.{members.network}: {count} networks of {weights:,} weights"
        if needed > memory:
            raise UserError(
                f"{where} would take {needed / 2**30:,.0f} GiB of memory, and this process may use "
                f"{memory / 2**30:,.1f}; lower units, or the members and folds"
            )
        if days > MAX_DAYS:
            raise UserError(
                f"{where} and {network.epochs:,} epochs would take about {days:,.0f} days here; "
                f"expected {MAX_DAYS:.0f} at most: lower epochs, units, or the members and folds"
            )
