"""Scores as pure functions of predictions, labels and weights; they know no model and no task."""
