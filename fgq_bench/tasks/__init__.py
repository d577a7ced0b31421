"""Tasks: predictions and ground truth to metrics; no task ever sees the model."""
