"""What a model predicts: the tasks with their labels, losses and baselines, and names of metrics.

How scores are computed is in `scoring`.
"""
