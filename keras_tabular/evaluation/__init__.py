"""What the stages calibrate and evaluate compute: thresholds, baselines, and the result.

The scores themselves are in `scoring`, explanations in `inspection`.
"""

import os

# Before scikit-learn loads OpenMP: threads that wait by spinning make its trees a hundred times
# slower where another process keeps the cores busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
