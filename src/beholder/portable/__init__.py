"""A finished model in a form that other programs run: bytes of pictures in, answers out, and checked."""
