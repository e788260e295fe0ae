"""TensorFlow as commands and stages set it up."""

import subprocess
import sys

import pytest

from tests.helpers import ENVIRONMENT, PROJECT

# As if TensorFlow had found a GPU, which it first looks for when it is asked.
SCRIPT = """
import tensorflow as tf
from tensorflow.python.eager.context import context
tf.config.list_physical_devices()
gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
for devices in (context()._physical_devices, context()._visible_device_list):
    devices.append(gpu)
context()._memory_growth_map[gpu] = None
from tabular.model import backend
print(*(device.name for device in tf.config.get_visible_devices("GPU")))
"""


@pytest.mark.parametrize(("asked", "used"), [("", ""), ("1", "/physical_device:GPU:0")])
def test_a_gpu_is_used_only_where_it_is_asked_for(asked: str, used: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=PROJECT,
        env=ENVIRONMENT | {"TABULAR_GPU": asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == used
