"""TensorFlow and Keras, imported without their start-up lines and set to repeat bit for bit.

All code takes `keras` and `tf` from here, and only after the parameters were checked: the import
costs seconds.
"""

import gc
import os
import sys

from tabular.core.process import without_packages
from tabular.table.parquet import without_pandas

# No multiply-add in one rounding, for which x86-64 and ARM64 take other pairs. AVX has none, and is
# one instruction set for all x86-64 CPUs; on ARM64 a pass of LLVM makes them, and vectors of SVE.
# No estimate of 1 / sqrt either, nor kernels chosen by CPU. It costs nothing. Two flags halve the
# time of compiling, small steps run as fast. The last one keeps a step in one thread: of the
# tutorial's network it takes 7 µs, not 11.
LLVM = (
    "-aarch64-enable-mcr=false",
    "-scalable-vectorization=off",
    "xla_cpu_disable_platform_dependent_math",
)
FLAGS = (
    "--xla_cpu_max_isa=AVX",
    f"--xla_backend_extra_options={','.join(LLVM)}",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=2",
    "--xla_cpu_enable_concurrency_optimized_scheduler=false",
)
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS])
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


# The objects of the imports stay until the process ends: to search them for garbage, while they are
# made and once more at the end, takes 1.5 of 3.6 seconds.
gc.disable()
# Native code writes start-up lines to stderr.
sys.stderr.flush()
stderr, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(nothing, 2)
try:
    # Keras asks only whether something is an object of these, which take 0.7 of 2.1 seconds.
    with without_packages("pandas", "scipy", "sklearn"):
        import keras
        import tensorflow as tf

    without_pandas()
    # Sums are cut by the number of threads: one number everywhere, whatever the machine has.
    tf.config.threading.set_intra_op_parallelism_threads(4)
    if os.environ.get("TABULAR_GPU") != "1":
        tf.config.set_visible_devices([], "GPU")  # whose sums have orders of their own
    tf.config.list_logical_devices()  # starts the devices, which also write lines
finally:
    os.dup2(stderr, 2)
    os.close(nothing)
    os.close(stderr)
gc.freeze()
gc.enable()

__all__ = ["keras", "tf"]
