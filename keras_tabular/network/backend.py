"""TensorFlow and Keras, imported without their messages and set up for repeatable bits.

All code takes `keras` and `tf` from here, and only after the parameters were checked:
the import costs seconds. docs/reproducibility.md lists everything else that makes
two runs equal.
"""

import os
import sys

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
flags_of_user = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = " ".join([flags_of_user, *XLA_FLAGS])
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # oneDNN chooses its kernels by the CPU
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

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
    tf.config.threading.set_intra_op_parallelism_threads(1)
    if os.environ.get("TABULAR_GPU") != "1":
        tf.config.set_visible_devices([], "GPU")  # a GPU adds up in another order
    # With TensorFloat-32, a GPU would compute with 10 bits of the mantissa.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.config.list_logical_devices()  # starts the devices, which also write messages
finally:
    os.dup2(stderr, 2)
    os.close(devnull)
    os.close(stderr)

__all__ = ["KerasTensor", "Tensor", "keras", "tf"]
