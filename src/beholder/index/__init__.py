"""Vectors kept in a folder under the names of what they stand for, and searched by likeness."""
