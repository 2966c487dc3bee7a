"""Checkpoints of the Hugging Face kind: each public family as a setting of ours, proven equal in tests/parity."""
