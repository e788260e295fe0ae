"""Tests of the project; like a stage, they compute in one thread of OpenBLAS."""

from keras_tabular.core.process import use_one_blas_thread

use_one_blas_thread()  # before a test imports NumPy
