"""TensorFlow and Keras, imported without their messages and set up for repeatable bits.

All code takes `keras` and `tf` from here, and only after the parameters were checked:
the import costs seconds. docs/reproducibility.md lists everything else that makes
two runs equal.
"""

import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from keras_tabular.core.errors import UserError
from keras_tabular.core.process import hide_pandas, quick_imports

# Options of LLVM, which generates XLA's machine code.
LLVM_OPTIONS = (
    # ARM64: do not fuse a multiplication and an addition into one operation, which
    # rounds once.
    "-aarch64-enable-mcr=false",
    # ARM64: do not use SVE, whose vectors differ in length and whose loops fuse, too.
    "-scalable-vectorization=off",
)
# Option of XLA's own math functions: compute 1 / sqrt(x) by a division, not from an
# estimate, which differs between AMD and Intel.
MATH_OPTION = "xla_cpu_disable_platform_dependent_math"
EXTRA_OPTIONS = ",".join([*LLVM_OPTIONS, MATH_OPTION])
XLA_FLAGS = (
    # x86-64: use no instructions newer than AVX. CPUs with AVX2 also have FMA, which
    # fuses.
    "--xla_cpu_max_isa=AVX",
    f"--xla_backend_extra_options={EXTRA_OPTIONS}",
    # These three divide the time of compiling by three.
    "--xla_disable_hlo_passes=tree_reduction_rewriter",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=2",
    # Hand no reduction to YNNPACK. It chooses kernels by the CPU, and XLA builds them
    # without a lock when they are first executed: two threads that do so at once end
    # the process (SIGSEGV).
    "--xla_cpu_experimental_ynn_fusion_type=",
    # Run a step in one thread: a step of the tutorial's network takes 7 instead of 11
    # µs.
    "--xla_cpu_enable_concurrency_optimized_scheduler=false",
)
uses_gpu = os.environ.get("TABULAR_GPU") == "1"
was_imported = "keras" in sys.modules or "tensorflow" in sys.modules
flags_of_user = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = " ".join([flags_of_user, *XLA_FLAGS])
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # oneDNN chooses its kernels by the CPU
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

random_state = random.getstate()  # importing Keras draws a number
# Native code writes messages to stderr when it starts.
sys.stderr.flush()
stderr = os.dup(2)
devnull = os.open(os.devnull, os.O_WRONLY)
os.dup2(devnull, 2)
try:
    # Keras imports these only to ask whether an object is one of theirs.
    with quick_imports("pandas", "scipy", "sklearn"):
        import keras
        import tensorflow as tf
        from keras import KerasTensor
        from tensorflow import Tensor

    hide_pandas()
    # TensorFlow splits a sum into a piece for each thread, so their number is the same
    # everywhere. Networks and parts of a table are worked on at the same time. With
    # more threads for each, a step of training would take a third longer.
    with suppress(RuntimeError):  # TensorFlow has computed something before
        tf.config.threading.set_intra_op_parallelism_threads(1)
        if not uses_gpu:
            tf.config.set_visible_devices([], "GPU")  # a GPU adds up in another order
    # With TensorFloat-32, a GPU would compute with 10 bits of the mantissa.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.config.list_logical_devices()  # starts the devices, which also write messages
finally:
    random.setstate(random_state)
    os.dup2(stderr, 2)
    os.close(devnull)
    os.close(stderr)


def check_settings() -> None:
    """Warn if Keras or TensorFlow were used before, and do not have the settings above.

    Raises:
        UserError: Keras uses another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"Keras was imported with the backend {keras.backend.backend()}. Set"
            " KERAS_BACKEND=tensorflow in the environment, and restart Python.",
        )
    square = tf.function(lambda x: x * x - (1 + 2**-11), jit_compile=True)
    is_fused = square(tf.constant(1 + 2**-12)) != 0  # into one operation
    has_gpu = not uses_gpu and tf.config.get_visible_devices("GPU")
    if is_fused or has_gpu or tf.config.functions_run_eagerly():
        warnings.warn(
            "TensorFlow was used before keras_tabular could set it up, so the last"
            " digits of predictions may differ from those elsewhere. Load the model"
            " before other code compiles graphs.",
            stacklevel=2,
        )


if was_imported:
    check_settings()


@contextmanager
def keras_defaults() -> Iterator[None]:
    """Build layers with Keras's defaults in the block, and leave no trace of it.

    The settings and the random numbers of other code stay as they are.
    """
    policy = keras.config.dtype_policy()
    floatx = keras.config.floatx()
    random_state = random.getstate()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
        random.setstate(random_state)


__all__ = ["KerasTensor", "Tensor", "keras", "keras_defaults", "tf"]
