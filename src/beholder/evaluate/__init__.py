"""What can truthfully be said about a model: label-efficiency curves, verdicts, labels saved, reports."""
