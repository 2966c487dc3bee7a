"""A usable model from a name or a folder."""
