"""How good predictions are, beside baselines and with the uncertainty of few rows."""

import os

# Before scikit-learn loads OpenMP: threads that wait by spinning make its trees a hundred times
# slower where another process keeps the cores busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
