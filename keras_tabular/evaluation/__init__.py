"""How good predictions are: scores, their confidence intervals, and baselines.

`result` evaluates a model on all its rows, `scores` computes the scores, `uncertainty` their
intervals and differences, `baselines` trains the simple models, and `calibration` chooses the
threshold and the temperature.
"""

import os

# Before scikit-learn loads OpenMP: threads that wait by spinning make its trees a hundred times
# slower where another process keeps the cores busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
