"""Modality <-> tokens, one file per modality."""
