"""Scores, intervals, baselines, thresholds, and the result of the stage `evaluate`.

Explanations are in `explain`; whether a score is good enough is decided in `gate`.
"""

import os

# Before scikit-learn loads OpenMP: threads that wait by spinning make its trees a
# hundred times slower where another process keeps the cores busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
