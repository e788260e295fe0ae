"""Benchmarks; like a stage, they compute in one thread of OpenBLAS."""

from keras_tabular.core.process import use_one_blas_thread

use_one_blas_thread()  # before a benchmark imports NumPy
