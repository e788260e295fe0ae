"""TensorFlow and Keras, imported without their start-up lines and set to repeat bit for bit.

All code takes `keras` and `tf` from here, and only after the parameters were checked: the import
costs seconds.
"""

import gc
import os
import sys

from keras_tabular.core.process import without_packages
from keras_tabular.table.parquet import hide_pandas

# The same bits on all CPUs: fused multiply-adds are turned off, since x86-64 and ARM64 would fuse
# different pairs. AVX has none of them, and all x86-64 CPUs have AVX. On ARM64 they come from a
# pass of LLVM and from SVE. Estimates of 1 / sqrt and kernels chosen by CPU are turned off, too.
# This costs no time. The next two flags halve the time of compiling. The last one keeps a step in
# one thread: a step of the tutorial's network then takes 7 instead of 11 µs.
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


# The objects of the imports stay until the process ends. Searching them for garbage, during the
# imports and once more at the end, would take 1.5 of 3.6 seconds.
gc.disable()
# Native code writes start-up lines to stderr.
sys.stderr.flush()
stderr, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(nothing, 2)
try:
    # Keras only asks whether something is an object of these, which take 0.7 of 2.1 seconds.
    with without_packages("pandas", "scipy", "sklearn"):
        import keras
        import tensorflow as tf

    hide_pandas()
    # TensorFlow divides a sum by the number of threads, so this number is the same everywhere.
    tf.config.threading.set_intra_op_parallelism_threads(4)
    if os.environ.get("TABULAR_GPU") != "1":
        tf.config.set_visible_devices([], "GPU")  # a GPU adds up in another order
    tf.config.list_logical_devices()  # starts the devices, which also write lines
finally:
    os.dup2(stderr, 2)
    os.close(nothing)
    os.close(stderr)
gc.freeze()
gc.enable()

__all__ = ["keras", "tf"]
