"""Bytes on disk: safetensors in and out, and tables of foreign names. Knows no model."""
