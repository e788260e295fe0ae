"""What is predicted: tasks, the losses of rows, columns of predictions, names of metrics."""
