"""What the metrics of a model are called, in the order in which they are shown."""

from __future__ import annotations

NAMES = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "auc": "AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "macro_precision": "Precision, mean of classes",
    "macro_recall": "Recall, mean of classes",
    "macro_f1": "F1, mean of classes",
    "macro_auc": "AUC, mean of classes",
    "right_auc": "AUC of right answers",
    "rmse": "Root mean squared error",
    "mae": "Mean absolute error",
    "r2": "R²",
}
OF_GROUPS = {
    "error": "Share of errors",
    "false_positive_rate": "False positive rate",
    "false_negative_rate": "False negative rate",
    "selection_rate": "Predicted positive",
    **{name: NAMES[name] for name in ("rmse", "mae")},
}
