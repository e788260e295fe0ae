"""Scores and baselines in the words of a reader."""

# The scores in the order in which they are shown.
SCORES = {
    "accuracy": "Accuracy",
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "brier": "Brier score",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "r2": "R²",
    "loss": "Loss",
}
BASELINES = {
    "majority": "majority class",
    "logistic_regression": "logistic regression",
    "mean": "the mean",
    "ridge": "ridge regression",
}
