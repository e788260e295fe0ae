"""What is predicted: tasks, losses of rows, columns of predictions, names of metrics.

How scores are computed is in `evaluation`.
"""
