"""The verbs a user knows, one file each: they take a bundle and inputs and give answers. They hold no parameters."""
